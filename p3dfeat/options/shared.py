"""Groups of options that several commands share. A command's settings inherit from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from p3dfeat.config import DECODER_MEMORY, DEFAULT_MODEL, FLOW_MODEL, MODEL_SETTING, Spacing
from p3dfeat.options.declaring import Options, option
from p3dfeat.options.parsing import batch_size

if TYPE_CHECKING:
    from p3dfeat.zoo import Model

EngineName = Literal["auto", "torch", "openvino"]
Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16", "int8"]
DecodeDevice = Literal["auto", "cpu", "cuda"]
SegmentOrigin = Literal["first-frame", "clock"]
Check = Literal["read", "full"]

Inputs = str | Path | Sequence[str | Path]

MODEL_HELP: Final = "A name from `p3dfeat weights list`, a file, a folder, or user/repo on the Hugging Face Hub."


@dataclass(frozen=True, kw_only=True)
class FolderOptions(Options):
    """Options for finding videos in folders."""

    GROUP: ClassVar[str] = "Input"

    any_extension: bool = option(
        False, help="Try every file in a folder, whatever its extension. Files that hold no video are counted."
    )
    frames: float | None = option(
        None, metavar="FPS", help="Read folders of numbered pictures as videos with FPS frames per second."
    )


@dataclass(frozen=True, kw_only=True)
class InputOptions(FolderOptions):
    """Options for inputs."""

    GROUP: ClassVar[str] = "Input"

    segment_origin: SegmentOrigin = option(
        "first-frame",
        metavar="ORIGIN",
        help="Zero of the times in a CSV of segments: the first frame, or the file's own clock.",
    )


@dataclass(frozen=True, kw_only=True)
class SamplingOptions(Options):
    """Options for the clips taken from a video."""

    GROUP: ClassVar[str] = "Sampling"

    clips: int | None = option(
        None, "--clips", "-n", minimum=1, metavar="N", help="Number of evenly spaced clips per video. Default: 20."
    )
    clip_stride: int | None = option(
        None,
        former="stride",
        minimum=1,
        metavar="FRAMES",
        help="Dense sampling instead of --clips: a clip starts every FRAMES frames.",
    )
    every: float | None = option(
        None, metavar="SECONDS", help="Instead of --clips: one clip in the middle of every interval of SECONDS seconds."
    )
    offset: int | None = option(
        None,
        minimum=0,
        metavar="FRAME",
        help="With --clip-stride: the centre of the first clip is at FRAME. Default: it begins at the first frame.",
    )
    spacing: Spacing = option(
        "ends",
        metavar="MODE",
        help="With --clips N: ends places clips from the very beginning to the very end, inside centres them at the "
        "inner ones of N + 2 evenly spaced points.",
    )
    frame_interval: int | None = option(
        None,
        former="step",
        minimum=1,
        metavar="K",
        help="Use every K-th frame of the video. Default: as the model was trained.",
    )
    fps: float | None = option(
        None, metavar="RATE", help="Resample to RATE frames per second first. Default: all frames."
    )


@dataclass(frozen=True, kw_only=True)
class CropOptions(Options):
    """Options for the parts of the picture that are computed."""

    GROUP: ClassVar[str] = "Sampling"

    crops: int = option(
        1,
        metavar="1|3|10",
        minimum=1,
        help="Crops per clip: 1, the centre; 3, along the longer side; 10, four corners and the centre, and the same "
        "mirrored.",
    )
    mirror: bool = option(False, help="Also compute each crop mirrored (left and right exchanged).")


@dataclass(frozen=True, kw_only=True)
class ModelOptions(Options):
    """Option for the model."""

    GROUP: ClassVar[str] = "Model"

    model: "str | Path | Model | None" = option(
        None,
        "--model",
        "-m",
        metavar="MODEL",
        parse=str,
        text=DEFAULT_MODEL,
        variable=MODEL_SETTING,
        help=MODEL_HELP,
    )
    flow: bool = option(
        False,
        help=f"Use a model that takes optical flow, which is slow to compute. Default model: {FLOW_MODEL}.",
    )


@dataclass(frozen=True, kw_only=True)
class EngineOptions(Options):
    """Options for running the network."""

    GROUP: ClassVar[str] = "Speed"

    engine: EngineName = option(
        "auto", metavar="NAME", help="Software that runs the network. auto: the fastest that is installed."
    )
    device: str = option(
        "auto",
        metavar="DEVICE",
        help="auto, cpu, cuda, cuda:N, mps; or several GPUs: cuda:0,cuda:1 or cuda:all.",
    )
    precision: Precision = option("auto", metavar="TYPE", help="Number format of the convolutions. auto: fp32.")
    batch_size: int | None = option(
        None,
        metavar="N",
        parse=batch_size,
        text="auto",
        help="Number of clips per batch. auto: on a GPU, the fastest size is measured once.",
    )


@dataclass(frozen=True, kw_only=True)
class WorkerOptions(Options):
    """Option for the number of decoder processes."""

    GROUP: ClassVar[str] = "Speed"

    workers: int | None = option(
        None,
        minimum=1,
        metavar="N",
        help="Number of decoder processes. Default: one per CPU core, at most 4.",
    )


@dataclass(frozen=True, kw_only=True)
class DecodingOptions(WorkerOptions):
    """Options for decoding."""

    GROUP: ClassVar[str] = "Robustness"

    decode_device: DecodeDevice = option(
        "auto",
        former="decoder",
        metavar="DEVICE",
        group="Speed",
        help="Device that decodes videos. auto: a CUDA GPU if a test shows that it is faster and exact.",
    )
    check: Check = option(
        "read",
        metavar="PART",
        help="Part of a file that is checked for damage. read: the part that the clips need, if the header lists all "
        "frames and this part is less than half. full: all of it.",
    )
    timeout: float | None = option(
        None, metavar="SECONDS", help="Maximum decoding time per video, download included. Default: no limit."
    )
    decoder_memory: float = option(
        DECODER_MEMORY, metavar="GB", help="Maximum memory that a video may take in its decoder process (Linux only)."
    )
