"""The settings of each command."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TextIO

from p3dfeat.config import Tail
from p3dfeat.options.declaring import Options, option
from p3dfeat.options.parsing import layer_names, recompute_size
from p3dfeat.options.shared import (
    CropOptions,
    DecodingOptions,
    EngineOptions,
    FolderOptions,
    InputOptions,
    Inputs,
    ModelOptions,
    SamplingOptions,
    WorkerOptions,
)

if TYPE_CHECKING:
    from p3dfeat.zoo import Model

OnError = Literal["skip", "partial", "stop"]
OnChanged = Literal["fail", "replace"]
Pool = Literal["none", "mean"]


def _ignore(event: Any) -> None:
    """The default callback: it ignores events."""


@dataclass(frozen=True, kw_only=True)
class ExtractSettings(DecodingOptions, EngineOptions, ModelOptions, CropOptions, SamplingOptions, InputOptions):
    """Settings of ``extract``."""

    GROUP: ClassVar[str] = "Robustness"

    layers: str | Sequence[str] = option(
        ("pool5",),
        metavar="NAME,...",
        parse=layer_names,
        text="pool5",
        group="Output",
        help="Layers to store, such as pool5,prob,logits,res5c.",
    )
    tail: Tail = option(
        "pad",
        metavar="MODE",
        group="Sampling",
        help="With --clip-stride, the frames after the last whole clip: pad repeats the last frame, drop ignores "
        "them, align moves the last clip back.",
    )
    pool: Pool = option(
        "none",
        metavar="MODE",
        group="Output",
        help="Pooling of layers with time, height and width. mean: one number per channel.",
    )
    compress: bool = option(False, group="Output", help="Compress such layers in the file (gzip, one chunk per clip).")
    shard: str | None = option(
        None,
        metavar="K/N",
        parse=lambda text: text or None,
        group="Input",
        help="Part K of N of the videos, for N machines with the same inputs. p3dfeat merge joins the files.",
    )
    cluster: str | None = option(
        None,
        metavar="auto|ADDRESS",
        parse=lambda text: text or None,
        group="Speed",
        help="Compute on a Ray cluster: auto, the one that this machine belongs to; or the address of its head.",
    )
    max_videos: int | None = option(
        None, former="limit", minimum=1, metavar="N", group="Input", help="Maximum number of videos stored in this run."
    )
    on_error: OnError = option(
        "skip",
        metavar="ACTION",
        help="If a video cannot be read: skip it, store the readable part (partial), or stop the run.",
    )
    on_changed: OnChanged = option(
        "fail",
        metavar="ACTION",
        help="If the file of a stored video has changed: report it as failed, or replace its features.",
    )
    accept_failed: bool = option(
        False, help="Skip videos that failed before and have not changed. They do not make the exit code 3."
    )
    strict: bool = option(False, help="Count videos with remarks as failed.")
    overwrite: bool = option(False, group="Output", help="Recompute everything; replace the file when the run ends.")
    stdin: TextIO | None = None
    on_event: Callable[[Any], None] = _ignore

    @property
    def layer_names(self) -> tuple[str, ...]:
        return (self.layers,) if isinstance(self.layers, str) else tuple(self.layers)


@dataclass(frozen=True, kw_only=True)
class ClassifySettings(DecodingOptions, EngineOptions, ModelOptions, CropOptions, SamplingOptions, InputOptions):
    """Settings of ``classify``."""

    GROUP: ClassVar[str] = "Output"

    top_k: int = option(5, "--top-k", "-k", minimum=1, metavar="K", help="Number of labels per video.")
    timeline: bool = option(False, help="Also show how the top label changes over time.")
    html: str | Path | None = option(
        None,
        metavar="PAGE",
        parse=lambda text: text or None,
        help="Also write a page with frames, labels and the timeline of each video.",
    )
    head: str | Path | None = option(
        None,
        metavar="FILE",
        parse=lambda text: text or None,
        group="Model",
        help="Classifier of your own labels, as p3dfeat eval ... --save writes it. It brings its model.",
    )
    fuse: "str | Path | Model | None" = option(
        None,
        metavar="MODEL",
        parse=lambda text: text or None,
        group="Model",
        help="Second model with the same labels, such as a flow model. Probabilities of both are averaged.",
    )
    protocol: Literal["published"] | None = option(
        None,
        metavar="NAME",
        group="Sampling",
        help="published: the clips and crops with which the model's published accuracy was measured.",
    )
    on_failure: Callable[[Any], None] | None = None
    on_left_out: Callable[[Any], None] = _ignore
    on_calibration: Callable[[Any], None] = _ignore


@dataclass(frozen=True, kw_only=True)
class MergeSettings(Options):
    """Settings of ``merge``."""

    GROUP: ClassVar[str] = "Merge"

    partial: bool = option(False, help="Merge although shards are missing.")
    on_event: Callable[[Any], None] = _ignore


@dataclass(frozen=True, kw_only=True)
class VerifySettings(WorkerOptions, FolderOptions):
    """Settings of ``verify``."""

    GROUP: ClassVar[str] = "Check"

    against: Inputs | None = None
    recompute: int | Literal["all"] | None = option(
        None,
        former="sample",
        metavar="N|all",
        parse=recompute_size,
        help="Number of videos to recompute and compare. Default: 3 with --against, otherwise 0.",
    )
    model: str | Path | None = option(
        None,
        "--model",
        "-m",
        metavar="MODEL",
        parse=lambda text: text or None,
        help="Model to recompute with. Default: the one named in the file.",
    )
    stdin: TextIO | None = None
    on_event: Callable[[Any], None] = _ignore


@dataclass(frozen=True, kw_only=True)
class RemoveSettings(InputOptions):
    """Settings of ``remove``."""

    GROUP: ClassVar[str] = "Output"

    not_in: Inputs | None = None
    dry_run: bool = option(False, help="List the videos without removing them.")
    with_added: bool = option(
        False, help="Also remove arrays and attributes that other software added to these videos."
    )
    stdin: TextIO | None = None


@dataclass(frozen=True, kw_only=True)
class BenchSettings(EngineOptions, ModelOptions):
    """Settings of ``bench``."""

    GROUP: ClassVar[str] = "Measurement"

    clips: int = option(4, "--clips", "-n", minimum=1, metavar="N", help="Number of evenly spaced clips per video.")
    rounds: int = option(5, minimum=1, metavar="N", help="Number of rounds. The median is shown.")
    max_videos: int = option(8, former="limit", minimum=1, metavar="N", help="Maximum number of videos measured.")
    on_calibration: Callable[[Any], None] = _ignore


@dataclass(frozen=True, kw_only=True)
class CompareSettings(EngineOptions):
    """Settings of ``weights compare``."""

    GROUP: ClassVar[str] = "Comparison"

    clips: int = option(8, "--clips", "-n", minimum=1, metavar="N", help="Number of evenly spaced clips.")
    top_k: int = 5
