"""The settings of the commands of ``eval``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from p3dfeat.errors import UsageError
from p3dfeat.options.declaring import Options, option

LearnerName = Literal["svm", "logistic", "ridge"]
Normalisation = Literal["l2", "sqrt-l2", "none"]
PairNormalisation = Literal["l2", "zscore"]
ActivityNetProtocol = Literal["paper", "official"]

LABELS_HELP = "Labels: a CSV or JSON file of ids and labels, folders, or column:NAME for a column of the input CSV."


def _ignore(event: Any) -> None:
    """The default callback: it ignores events."""


def _path(text: str) -> str | None:
    return text or None


def numbers(text: str) -> tuple[int, ...]:
    """The numbers in a list such as ``500,100,10``. Raises UsageError."""
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"dimensions {text!r}: must be numbers such as 500,100,10") from None
    if min(found) < 1:
        raise UsageError(f"dimensions {text!r}: must be at least 1")
    return found


@dataclass(frozen=True, kw_only=True)
class ReportOptions(Options):
    """Options for the result of an experiment."""

    GROUP: ClassVar[str] = "Output"

    report: str | Path | None = option(
        None, metavar="FILE", parse=_path, help="Also write the tables and figures to FILE: .html, .pdf or .png."
    )
    strict: bool = option(False, group="Input", help="Stop if a video has no features, no label, or invalid numbers.")
    on_event: Callable[[Any], None] = _ignore


@dataclass(frozen=True, kw_only=True)
class LearnerOptions(ReportOptions):
    """Options for the classifier."""

    GROUP: ClassVar[str] = "Classifier"

    learner: LearnerName = option(
        "svm", metavar="NAME", help="Linear classifier. svm: the paper's, one class against the rest."
    )
    c: float | None = option(
        None,
        "--c",
        "-C",
        metavar="VALUE",
        help="Constant C of the classifier; a smaller one regularises more. Default: chosen by cross-validation on "
        "training data only.",
    )
    seed: int = option(0, minimum=0, metavar="N", help="Seed of the cross-validation.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.c is not None and not 0 < self.c < float("inf"):
            raise UsageError(f"c {self.c}: must be more than 0")
        if self.seed >= 2**32:
            raise UsageError(f"seed {self.seed}: must be below {2**32}")


@dataclass(frozen=True, kw_only=True)
class FeatureOptions(LearnerOptions):
    """Options for the descriptors that are classified."""

    GROUP: ClassVar[str] = "Features"

    layer: str = option("pool5", metavar="NAME", help="Stored layer. A video is the mean over clips and positions.")
    normalise: Normalisation = option(
        "l2", metavar="NAME", help="Of each descriptor. l2: unit length. sqrt-l2: signed square root, then unit length."
    )
    fuse: str | Path | Sequence[str | Path] = option(
        (),
        metavar="FILE.h5",
        many=True,
        help="Second feature file of the same videos, such as flow; may be repeated. Scores are averaged with weights "
        "found on training data.",
    )
    save: str | Path | None = option(
        None,
        metavar="FILE",
        parse=_path,
        group="Output",
        help="Also train on all labelled videos, and save the classifier: .safetensors, for classify --head.",
    )


@dataclass(frozen=True, kw_only=True)
class ListsSettings(FeatureOptions):
    """Settings of ``eval ucf101`` and ``eval hmdb51``."""


@dataclass(frozen=True, kw_only=True)
class ActivityNetSettings(FeatureOptions):
    """Settings of ``eval activitynet``."""

    GROUP: ClassVar[str] = "ActivityNet"

    predictions: str | Path | None = option(
        None, metavar="FILE", parse=_path, help="Score this result file instead of training a classifier."
    )
    protocol: ActivityNetProtocol = option(
        "paper",
        metavar="NAME",
        help="paper: videos without features are left out. official: they count as wrong, unless blocked.",
    )
    blocked: str | Path | None = option(
        None, metavar="FILE", parse=_path, help="JSON list of ids of videos that are not counted."
    )
    subset: str = option("validation", metavar="NAME", help="Subset of the annotations that is scored.")
    prefix: str = option("v_", metavar="TEXT", help="Text that ids of features may have in front of YouTube's id.")
    write_predictions: str | Path | None = option(
        None, metavar="FILE", parse=_path, group="Output", help="Also write the predictions as an official result file."
    )


@dataclass(frozen=True, kw_only=True)
class ScenesSettings(FeatureOptions):
    """Settings of ``eval scenes``."""

    labels: str | Path = option("folders", metavar="FILE", parse=str, text="folders", group="Input", help=LABELS_HELP)
    normalise: Normalisation = option(
        "sqrt-l2",
        metavar="NAME",
        group="Features",
        help="Of each descriptor. l2: unit length. sqrt-l2: signed square root, then unit length.",
    )


@dataclass(frozen=True, kw_only=True)
class FolderSettings(FeatureOptions):
    """Settings of ``eval folder``."""

    labels: str | Path = option("folders", metavar="FILE", parse=str, text="folders", group="Input", help=LABELS_HELP)
    groups: str | Path | None = option(
        None,
        metavar="FILE",
        parse=_path,
        group="Input",
        help="Recordings, so that none is in training and test: a CSV or JSON file of ids and groups, column:NAME, or "
        "re:PATTERN, whose first group is taken from the id. Default: by video file.",
    )
    folds: int = option(5, minimum=2, metavar="N", group="Classifier", help="Number of folds of the cross-validation.")


@dataclass(frozen=True, kw_only=True)
class PcaSettings(FolderSettings):
    """Settings of ``eval pca``."""

    splits: str | Path | None = option(
        None, metavar="DIR", parse=_path, group="Input", help="UCF101's lists, instead of --labels and --folds."
    )
    dimensions: Sequence[int] = option(
        (500, 300, 200, 100, 50, 10),
        metavar="N,...",
        parse=numbers,
        text="500,300,200,100,50,10",
        group="Features",
        help="Numbers of principal components.",
    )


@dataclass(frozen=True, kw_only=True)
class AslanSettings(LearnerOptions):
    """Settings of ``eval aslan``."""

    GROUP: ClassVar[str] = "ASLAN"

    test_pairs: str | Path | None = option(
        None, metavar="FILE", parse=_path, help="Pairs to test, such as test_pairs.mat of View 1; --pairs then trains."
    )
    layers: Sequence[str] = option(
        ("prob", "pool5", "res5c", "res4b35"),
        metavar="NAME,...",
        parse=lambda text: tuple(name.strip() for name in text.split(",") if name.strip()),
        text="prob,pool5,res5c,res4b35",
        help="Stored layers that are compared. Layers with positions are compared position by position.",
    )
    pair_normalise: PairNormalisation = option(
        "l2",
        metavar="NAME",
        help="Of the similarities of a pair. l2: unit length, the paper's. zscore: each with mean 0 and deviation 1 on "
        "training pairs, C3D's.",
    )
