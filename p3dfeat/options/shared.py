"""Options that several commands have, in groups that the settings of a command are put together from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from p3dfeat.config import DECODER_MEMORY, DEFAULT_MODEL, MODEL_SETTING
from p3dfeat.options.declaring import Options, option
from p3dfeat.options.parsing import batch_size

if TYPE_CHECKING:
    from p3dfeat.zoo import Model

EngineName = Literal["auto", "torch", "openvino"]
Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16", "int8"]
DecodeDevice = Literal["auto", "cpu", "cuda"]
SegmentOrigin = Literal["first-frame", "clock"]

Inputs = str | Path | Sequence[str | Path]

MODEL_HELP: Final = "Model: a name from `p3dfeat weights list`, a file, a folder, or user/repo on the Hugging Face hub."


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
