"""Options that several commands share."""

from typing import Annotated

import typer

from p3dfeat.cli.output import out
from p3dfeat.config import MODEL_SETTING
from p3dfeat.errors import UsageError


def _set_quiet(value: bool) -> bool:
    out.quiet = value
    return value


def _set_debug(value: bool) -> bool:
    out.debug = value
    return value


INPUTS_HELP = "Videos, folders, globs, @list.txt, a CSV of segments, http(s) addresses, or - for {stdin}."

MODEL_HELP = "A name of `p3dfeat weights list`, a file, a folder, or user/repo on the Hugging Face hub."
Model = Annotated[
    str,
    typer.Option("--model", "-m", envvar=MODEL_SETTING, metavar="NAME|PATH|REPO", help=MODEL_HELP),
]
Engine = Annotated[
    str, typer.Option(metavar="auto|torch|openvino", help="What runs the net; auto is the fastest installed.")
]
Device = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda[:N]|mps", help="Where the net runs; cuda:0,cuda:1 or cuda:all for several GPUs."
    ),
]
Precision = Annotated[
    str, typer.Option(metavar="auto|fp32|tf32|bf16|fp16|int8", help="What it computes in; auto is fp32.")
]
BatchSize = Annotated[
    str, typer.Option(metavar="auto|N", help="Clips that go through the net together; auto tries sizes on a GPU, once.")
]
Workers = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Videos decoded at once; default: one a core, four at most.")
]
Decoder = Annotated[
    str, typer.Option(metavar="auto|cpu|cuda", help="What decodes; auto tries a CUDA GPU against the CPU.")
]
Timeout = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="Decoding that a video may take, in seconds; default: no limit.")
]
DecoderMemory = Annotated[
    float, typer.Option(metavar="GB", help="Memory that a video may take in its decoder process; on Linux only.")
]
Clips = Annotated[
    int | None, typer.Option("--clips", "-n", min=1, metavar="N", help="So many uniformly spaced clips a video.")
]
Stride = Annotated[int | None, typer.Option(min=1, metavar="S", help="Instead: a clip every S frames, start to end.")]
Step = Annotated[int | None, typer.Option(min=1, metavar="K", help="Take every K-th frame; default: the model's.")]
Fps = Annotated[float | None, typer.Option(metavar="RATE", help="Resample to this frame rate first, by timestamps.")]
AnyExtension = Annotated[
    bool, typer.Option("--any-extension", help="Find the videos of folders by their content, not by their extension.")
]
Frames = Annotated[
    float | None,
    typer.Option(metavar="FPS", help="Read folders of numbered pictures as videos of FPS frames per second."),
]
SegmentOrigin = Annotated[
    str,
    typer.Option(metavar="first-frame|clock", help="What the seconds of a CSV's segments are counted from."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", callback=_set_quiet, help="Nothing on stderr but errors.")]
Debug = Annotated[bool, typer.Option("--debug", callback=_set_debug, help="Show tracebacks.")]


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
