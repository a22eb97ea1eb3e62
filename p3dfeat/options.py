"""What commands are asked for. Each option is declared here, once: the command line and Python both follow from it.

A field of a settings class that is made by ``option`` is an option of the command: its name, type, default and help
are the field's. A settings object is checked when it is made, and then passed on as it is.
"""

import dataclasses
import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    Literal,
    ParamSpec,
    TextIO,
    TypeVar,
    get_args,
    get_origin,
    overload,
)

from p3dfeat.config import DECODER_MEMORY, DEFAULT_MODEL, MODEL_SETTING, Tail
from p3dfeat.errors import P3DFeatWarning, UsageError

if TYPE_CHECKING:
    from p3dfeat.zoo import Model

P = ParamSpec("P")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
S = TypeVar("S")
R = TypeVar("R")

EngineName = Literal["auto", "torch", "openvino"]
Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16", "int8"]
DecodeDevice = Literal["auto", "cpu", "cuda"]
OnError = Literal["skip", "partial", "stop"]
SegmentOrigin = Literal["first-frame", "clock"]

Inputs = str | Path | Sequence[str | Path]

MODEL_HELP: Final = "A name of `p3dfeat weights list`, a file, a folder, or user/repo on the Hugging Face hub."
Parse = Callable[[str], Any]
KEY: Final = "option"  # of a field's metadata


@dataclass(frozen=True)
class Option:
    """How a field is given on the command line.

    names: in place of ``--field-name``, or a short one beside it. former: what it was called; still understood.
    parse: makes the field's value of a text; text: the default, as such a text.
    """

    help: str
    names: tuple[str, ...] = ()
    former: str | None = None
    metavar: str | None = None
    minimum: int | None = None
    parse: Parse | None = None
    text: str = ""
    variable: str | None = None  # of the environment, that gives a default


def option(default: Any, *names: str, help: str, **about: Any) -> Any:
    """A field that is an option; see ``Option``."""
    return dataclasses.field(default=default, metadata={KEY: Option(help, names, **about)})


def options_of(settings: type) -> dict[str, tuple["dataclasses.Field[Any]", Option]]:
    """The fields of a settings class that are options, by their names."""
    fields = dataclasses.fields(settings)
    return {field.name: (field, field.metadata[KEY]) for field in fields if KEY in field.metadata}


def batch_size(text: str) -> int | None:
    """None for "auto". Raises UsageError."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"batch size {text!r}: must be auto or a number of at least 1")
    return int(text)


def layer_names(text: str) -> tuple[str, ...]:
    """The names in a list such as ``pool5,prob``, each once. Raises UsageError for none."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise UsageError("layers: none given; pool5 is the usual one")
    return names


def recompute_size(text: str) -> int | Literal["all"] | None:
    """Raises UsageError."""
    if text in ("", "all"):
        return "all" if text else None
    if not text.isdecimal():
        raise UsageError(f"recompute {text!r}: must be all or a number of at least 0")
    return int(text)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What all settings have in common: a value that an option does not take is a UsageError, in one line."""

    def __post_init__(self) -> None:
        for name, (field, about) in options_of(type(self)).items():
            value, words = getattr(self, name), name.replace("_", " ")
            known = get_args(field.type) if get_origin(field.type) is Literal else ()
            if known and value not in known:
                raise UsageError(f"{words} {value!r}: unknown; known are {', '.join(known)}")
            if about.minimum is not None and value is not None and value < about.minimum:
                raise UsageError(f"{words} {value}: must be at least {about.minimum}")


@dataclass(frozen=True, kw_only=True)
class ModelOptions(Options):
    """Which model."""

    model: "str | Path | Model | None" = option(
        None,
        "--model",
        "-m",
        metavar="NAME|PATH|REPO",
        parse=str,
        text=DEFAULT_MODEL,
        variable=MODEL_SETTING,
        help=MODEL_HELP,
    )


@dataclass(frozen=True, kw_only=True)
class SamplingOptions(Options):
    """Which clips are taken from a video."""

    clips: int | None = option(
        None, "--clips", "-n", minimum=1, metavar="N", help="Number of evenly spaced clips per video."
    )
    clip_stride: int | None = option(
        None, former="stride", minimum=1, metavar="S", help="Instead: one clip every S frames, from start to end."
    )
    frame_interval: int | None = option(
        None, former="step", minimum=1, metavar="K", help="Take every K-th frame; default: the model's own."
    )
    fps: float | None = option(None, metavar="RATE", help="Resample to this frame rate first, by timestamps.")


@dataclass(frozen=True, kw_only=True)
class FolderOptions(Options):
    """What is a video in a folder."""

    any_extension: bool = option(False, help="Find the videos of folders by their content, not by their extension.")
    frames: float | None = option(
        None, metavar="FPS", help="Read folders of numbered pictures as videos of FPS frames per second."
    )


@dataclass(frozen=True, kw_only=True)
class InputOptions(FolderOptions):
    """How inputs are read: what is a video, and what a segment's seconds mean."""

    segment_origin: SegmentOrigin = option(
        "first-frame", help="What the seconds of a CSV's segments are counted from: the first frame, or the clock."
    )


@dataclass(frozen=True, kw_only=True)
class EngineOptions(Options):
    """What runs the network, and where."""

    engine: EngineName = option("auto", help="What runs the network; auto is the fastest one installed.")
    device: str = option(
        "auto",
        metavar="auto|cpu|cuda[:N]|mps",
        help="Where the network runs; cuda:0,cuda:1 or cuda:all for several GPUs.",
    )
    precision: Precision = option("auto", help="Precision of the network's arithmetic; auto is fp32.")
    batch_size: int | None = option(
        None,
        metavar="auto|N",
        parse=batch_size,
        text="auto",
        help="Number of clips per batch; auto tries sizes on a GPU, once.",
    )


@dataclass(frozen=True, kw_only=True)
class WorkerOptions(Options):
    """How many videos are decoded at once."""

    workers: int | None = option(
        None, minimum=1, metavar="N", help="Number of videos decoded at once; default: one per core, at most four."
    )


@dataclass(frozen=True, kw_only=True)
class DecodingOptions(WorkerOptions):
    """How videos are decoded."""

    decode_device: DecodeDevice = option(
        "auto", former="decoder", help="Where videos are decoded; auto tries a CUDA GPU against the CPU."
    )
    timeout: float | None = option(
        None, metavar="SECONDS", help="Longest decoding time per video, in seconds; default: no limit."
    )
    decoder_memory: float = option(
        DECODER_MEMORY, metavar="GB", help="Memory limit of a decoder process per video; on Linux only."
    )


def _ignore(event: Any) -> None:
    """What is not asked for is not told."""


@dataclass(frozen=True, kw_only=True)
class ExtractSettings(DecodingOptions, EngineOptions, InputOptions, SamplingOptions, ModelOptions):
    """What ``extract`` computes of videos, and how."""

    layers: str | Sequence[str] = option(
        ("pool5",),
        metavar="NAME,...",
        parse=layer_names,
        text="pool5",
        help="Layers to store: pool5, prob, logits, res5c ...",
    )
    tail: Tail = option("pad", help="With --clip-stride: what is made of the frames after the last whole clip.")
    max_videos: int | None = option(
        None, former="limit", minimum=1, metavar="N", help="Largest number of videos to store in this run."
    )
    overwrite: bool = option(False, help="Replace what FILE.h5 holds, when the run ends.")
    on_error: OnError = option(
        "skip",
        help="A video that fails: skip it, store what is left of a damaged one (partial), or stop the run.",
    )
    strict: bool = option(False, help="Count a video with remarks as failed.")
    stdin: TextIO | None = None
    on_event: Callable[[Any], None] = _ignore

    @property
    def layer_names(self) -> tuple[str, ...]:
        return (self.layers,) if isinstance(self.layers, str) else tuple(self.layers)


@dataclass(frozen=True, kw_only=True)
class ClassifySettings(DecodingOptions, EngineOptions, InputOptions, SamplingOptions, ModelOptions):
    """What ``classify`` tells of videos, and how."""

    top_k: int = option(5, "--top-k", "-k", minimum=1, metavar="K", help="Number of labels per video.")
    timeline: bool = option(False, help="Show how the top label changes over the video's time.")
    on_failure: Callable[[Any], None] | None = None
    on_left_out: Callable[[Any], None] = _ignore
    on_calibration: Callable[[Any], None] = _ignore


@dataclass(frozen=True, kw_only=True)
class VerifySettings(WorkerOptions, FolderOptions):
    """How a feature file is checked."""

    against: Inputs | None = None
    recompute: int | Literal["all"] | None = option(
        None,
        former="sample",
        metavar="N|all",
        parse=recompute_size,
        help="Number of videos to compute again and compare; default: 3 with --against, else 0.",
    )
    model: str | Path | None = option(
        None,
        "--model",
        "-m",
        metavar="NAME|PATH|REPO",
        parse=lambda text: text or None,
        help="In place of the model named in the file.",
    )
    stdin: TextIO | None = None
    on_event: Callable[[Any], None] = _ignore


@dataclass(frozen=True, kw_only=True)
class BenchSettings(EngineOptions, ModelOptions):
    """What ``bench`` measures."""

    clips: int = option(4, "--clips", "-n", minimum=1, metavar="N", help="Number of evenly spaced clips per video.")
    rounds: int = option(5, minimum=1, metavar="N", help="Number of rounds; medians are shown.")
    max_videos: int = option(8, former="limit", minimum=1, metavar="N", help="Largest number of videos measured.")
    on_calibration: Callable[[Any], None] = _ignore


@dataclass(frozen=True, kw_only=True)
class CompareSettings(EngineOptions):
    """How two models are compared."""

    clips: int = option(8, "--clips", "-n", minimum=1, metavar="N", help="Number of evenly spaced clips.")
    top_k: int = 5


class with_options(Generic[P, S]):  # noqa: N801  # a decorator
    """Make a function of a settings object one of the options themselves, given by name; types are checked as well.

        extract = with_options(ExtractSettings)(run_extract)
        extract("videos/", "feats.h5", clips=10)  # run_extract("videos/", "feats.h5", ExtractSettings(clips=10))

    Former names of options are understood, with a warning.
    """

    def __init__(self, settings: Callable[P, S]):
        self._settings = settings

    @overload
    def __call__(self, function: Callable[[A, B, C, S], R]) -> Callable[Concatenate[A, B, C, P], R]: ...
    @overload
    def __call__(self, function: Callable[[A, B, S], R]) -> Callable[Concatenate[A, B, P], R]: ...
    @overload
    def __call__(self, function: Callable[[A, S], R]) -> Callable[Concatenate[A, P], R]: ...
    def __call__(self, function: Callable[..., R]) -> Callable[..., R]:
        *subjects, _ = inspect.signature(function).parameters.values()
        names = [subject.name for subject in subjects]
        make: Any = self._settings

        @wraps(function)
        def call(*arguments: Any, **options: Any) -> R:
            named = {name: options.pop(name) for name in names if name in options}
            return function(*arguments, **named, settings=make(**_renamed(make, options)))

        accepted = [*subjects, *inspect.signature(make).parameters.values()]
        call.__signature__ = inspect.Signature(accepted)  # type: ignore[attr-defined]
        call.__name__ = call.__qualname__ = function.__name__.removeprefix("run_")
        return call


def _renamed(settings: type, options: dict[str, Any]) -> dict[str, Any]:
    """Options by the names that they have now."""
    names = {about.former: name for name, (_, about) in options_of(settings).items() if about.former is not None}
    for former in names.keys() & options.keys():
        warnings.warn(f"option {former}: is called {names[former]} now", P3DFeatWarning, stacklevel=3)
    return {names.get(name, name): value for name, value in options.items()}
