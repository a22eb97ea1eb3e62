"""p3dfeat classify"""

import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from p3dfeat.cli import options
from p3dfeat.cli.left_out import say_left_out
from p3dfeat.cli.output import one_line, out
from p3dfeat.config import DECODER_MEMORY, DEFAULT_MODEL
from p3dfeat.errors import NothingReadError, UsageError

if TYPE_CHECKING:
    from p3dfeat.types import Classification, Failure, LeftOut, Video

Inputs = Annotated[
    list[str], typer.Argument(metavar="INPUT...", help=options.INPUTS_HELP.format(stdin="a video itself on stdin"))
]
TopK = Annotated[int, typer.Option("--top-k", "-k", min=1, metavar="K", help="So many labels a video.")]
Timeline = Annotated[bool, typer.Option("--timeline", help="Show how the top label changes over the video's time.")]


class Ways(TypedDict):
    """How the videos that the inputs name are found, as for ``look_for``."""

    any_extension: bool
    frames: float | None
    segment_origin: str


def classify(
    inputs: Inputs,
    model: options.Model = DEFAULT_MODEL,
    top_k: TopK = 5,
    timeline: Timeline = False,
    clips: options.Clips = None,
    stride: options.Stride = None,
    step: options.Step = None,
    fps: options.Fps = None,
    any_extension: options.AnyExtension = False,
    frames: options.Frames = None,
    segment_origin: options.SegmentOrigin = "first-frame",
    engine: options.Engine = "auto",
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    batch_size: options.BatchSize = "auto",
    workers: options.Workers = None,
    decoder: options.Decoder = "auto",
    timeout: options.Timeout = None,
    decoder_memory: options.DecoderMemory = DECODER_MEMORY,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Name what videos show: the model's best labels for each.

    ffmpeg ... -f matroska - | p3dfeat classify - reads the video itself from stdin.
    """
    size = options.batch_size(batch_size)
    from p3dfeat.video.workers.pool import Decoders

    # The first process starts while this one imports torch.
    with Decoders(workers, decoder=decoder, timeout=timeout, memory=decoder_memory) as decoders:
        from p3dfeat.cli.progress import loaded_model, say_calibration
        from p3dfeat.workflows import classify as classification

        loaded = loaded_model(model)
        sampling = classification.classify_sampling(
            loaded, timeline=timeline, clips=clips, stride=stride, step=step, fps=fps
        )
        ways: Ways = {"any_extension": any_extension, "frames": frames, "segment_origin": segment_origin}
        with _named_videos(inputs, ways) as (videos, failures, left_out):
            no_videos: list[Failure] = []
            results = classification.classify_videos(
                videos,
                model=loaded,
                sampling=sampling,
                top_k=top_k,
                engine=engine,
                device=device,
                precision=precision,
                batch_size=size,
                decoders=decoders,
                on_calibration=say_calibration,
                on_no_video=no_videos.append,
            )
            with closing(results):
                counts = _print_all(chain(failures, results), timeline=timeline, json=json, several=len(videos) > 1)
            say_left_out(replace(left_out, no_videos=len(no_videos)))
            _end(*counts)


def _print_all(
    results: "Iterable[Classification | Failure]", *, timeline: bool, json: bool, several: bool
) -> tuple[int, int]:
    """Print each result as it comes; how many there were, and how many failed."""
    from p3dfeat.types import Classification

    done = failed = 0
    for result in results:
        if isinstance(result, Classification):
            done += 1
            _print(result, timeline=timeline, json=json, several=several, first=done == 1)
        else:
            failed += 1
            out.say(f"failed: {result.source}: {result.error}")
    return done, failed


def _end(done: int, failed: int) -> None:
    """Exit 3 where some videos failed, 4 where nothing could be read."""
    if not done:
        raise NothingReadError(f"no video could be read, {failed} failed" if failed else "no videos given")
    if failed:
        raise typer.Exit(3)


@contextmanager
def _named_videos(inputs: Sequence[str], ways: Ways) -> "Iterator[tuple[list[Video], list[Failure], LeftOut]]":
    """The videos that the inputs name, and what is none of them; "-" is one whose bytes come on stdin."""
    from p3dfeat.sources import look_for
    from p3dfeat.types import Video

    found = look_for([text for text in inputs if text != "-"], **ways)
    videos, failures = found.named()
    if "-" not in inputs:
        yield videos, failures, found.left_out
        return
    if sys.stdin is None:
        raise UsageError("-: stdin is closed")
    if sys.stdin.isatty():
        raise UsageError("-: stdin is a terminal; pipe a video into it")
    # Clips spread over a video need its length, and most containers need seeking: the bytes are kept while it is read.
    with tempfile.NamedTemporaryFile(prefix="p3dfeat-stdin-") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
        file.flush()
        yield [*videos, Video(id="-", path=file.name, source="-")], failures, found.left_out


def _print(result: "Classification", *, timeline: bool, json: bool, several: bool, first: bool) -> None:
    if json:
        out.json(result.as_json(timeline=timeline))
        return
    from rich.table import Table
    from rich.text import Text

    if several:
        out.show(Text(("" if first else "\n") + one_line(result.source), style="bold"))
    table = Table("label", "probability", "", box=None, pad_edge=False)
    for prediction in result.predictions:
        bar = "█" * round(30 * prediction.probability)
        table.add_row(one_line(prediction.label), f"{prediction.probability:.3f}", Text(bar, style="cyan"))
    out.show(table)
    if timeline:
        spans = Table("from", "to", "label", "probability", box=None, pad_edge=False)
        for span in result.timeline:
            times = f"{span.start_seconds:.2f} s", f"{span.end_seconds:.2f} s"
            spans.add_row(*times, one_line(span.label), f"{span.probability:.3f}")
        out.show("", spans)
