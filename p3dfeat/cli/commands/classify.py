"""p3dfeat classify"""

import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from p3dfeat.cli.left_out import say_left_out
from p3dfeat.cli.options import INPUTS_HELP, command
from p3dfeat.cli.output import one_line, out
from p3dfeat.errors import NothingReadError, UsageError
from p3dfeat.options import ClassifySettings

if TYPE_CHECKING:
    from p3dfeat.config import Sampling
    from p3dfeat.types import Classification, Failure, LeftOut, Video

Inputs = Annotated[list[str], typer.Argument(metavar="INPUT", help=INPUTS_HELP.format(stdin="a video itself on stdin"))]


@command(ClassifySettings)
def classify(inputs: Inputs, settings: ClassifySettings) -> None:
    """Print the top labels of each video.

    Examples:
        p3dfeat classify clip.mp4
        p3dfeat classify videos/ --top-k 1 --json > labels.jsonl
        p3dfeat classify videos/ --html report.html
        p3dfeat classify new.mp4 --head mylabels.safetensors
        ffmpeg -i clip.mp4 -t 5 -f matroska - | p3dfeat classify -
    """
    out.status(f"loading model {settings.model} ...")
    from p3dfeat.video.workers.pool import Decoders

    # The first process starts while this one imports torch.
    with Decoders(
        settings.workers,
        decoder=settings.decode_device,
        timeout=settings.timeout,
        memory=settings.decoder_memory,
        check=settings.check,
    ) as decoders:
        from p3dfeat.cli.progress import fetch_bar, loaded_model, say_calibration
        from p3dfeat.workflows.classify import (
            classify_sampling,
            classify_videos,
            second_model,
            timeline_sampling,
            with_protocol,
        )
        from p3dfeat.workflows.job import with_heads_model
        from p3dfeat.workflows.reports.classify import reported

        settings = with_heads_model(settings)
        model = loaded_model(settings)
        with fetch_bar() as show:
            second = second_model(settings, show)
        settings = with_protocol(replace(settings, on_calibration=say_calibration), model)
        with _named_videos(inputs, settings) as (videos, failures, left_out):
            if settings.timeline:
                labels, over_time = classify_sampling(settings, model), timeline_sampling(settings, model)
                out.say(f"labels: mean over {_clips(labels)}; timeline: {_clips(over_time)}")
            no_videos: list[Failure] = []
            results = classify_videos(
                videos, model=model, second=second, settings=settings, decoders=decoders, on_no_video=no_videos.append
            )
            with closing(results):
                found = reported(chain(failures, results), videos, model, settings, on_page=out.say)
                counts = _print_all(found, timeline=settings.timeline, several=len(videos) > 1)
            say_left_out(replace(left_out, no_videos=len(no_videos)))
            _end(*counts)


def _clips(sampling: "Sampling") -> str:
    """The clips of a sampling, in words."""
    if sampling.clips is not None:
        return f"{sampling.clips} evenly spaced clips"
    if sampling.every is not None:
        return f"one clip every {sampling.every:g} s"
    return f"one clip every {sampling.stride} frames"


def _print_all(results: "Iterable[Classification | Failure]", *, timeline: bool, several: bool) -> tuple[int, int]:
    """Print each result as it comes; return the number of results and of failures."""
    from p3dfeat.types import Classification

    done = failed = 0
    for result in results:
        if isinstance(result, Classification):
            done += 1
            _print(result, timeline=timeline, several=several, first=done == 1)
        else:
            failed += 1
            out.say(f"failed: {result.source}: {result.error}")
    return done, failed


def _end(done: int, failed: int) -> None:
    """Exit with 3 if some videos failed, with 4 if nothing could be read."""
    if not done:
        raise NothingReadError(f"no video could be read, {failed} failed" if failed else "no videos given")
    if failed:
        raise typer.Exit(3)


@contextmanager
def _named_videos(
    inputs: Sequence[str], settings: ClassifySettings
) -> "Iterator[tuple[list[Video], list[Failure], LeftOut]]":
    """The videos that the inputs name, the failures, and the files left out; "-" is a video on stdin."""
    from p3dfeat.types import Video
    from p3dfeat.workflows.job import found_by

    found = found_by(settings, [text for text in inputs if text != "-"], output=None, stdin=None)
    videos, failures = found.named()
    if "-" not in inputs:
        yield videos, failures, found.left_out
        return
    if sys.stdin is None:
        raise UsageError("-: stdin is closed")
    if sys.stdin.isatty():
        raise UsageError("-: stdin is a terminal; pipe a video into it")
    # Evenly spaced clips need the length of a video, and most containers need seeking: so it is copied to a file.
    with tempfile.NamedTemporaryFile(prefix="p3dfeat-stdin-") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
        file.flush()
        yield [*videos, Video(id="-", path=file.name, source="-")], failures, found.left_out


def _print(result: "Classification", *, timeline: bool, several: bool, first: bool) -> None:
    if out.wants_json:
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
