"""The settings of each command."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from p3dfeat.config import Tail
from p3dfeat.options.declaring import option
from p3dfeat.options.parsing import layer_names, recompute_size
from p3dfeat.options.shared import (
    DecodingOptions,
    EngineOptions,
    FolderOptions,
    InputOptions,
    Inputs,
    ModelOptions,
    SamplingOptions,
    WorkerOptions,
)

OnError = Literal["skip", "partial", "stop"]


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
