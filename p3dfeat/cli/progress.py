"""One bar at a time, on stderr, only on a terminal: for weights on their way here, then for the whole run."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from p3dfeat.cli.output import out
from p3dfeat.events import Calibrated, Calibrating, Fetching

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

    from p3dfeat.workflows.extract import ExtractEvent
    from p3dfeat.zoo import Model


@contextmanager
def progress_bar() -> "Iterator[Callable[[ExtractEvent], None]]":
    """A handler of extraction events that keeps a bar up to date on a terminal, and tells of downloads and of int8."""
    with fetch_bar() as fetch:
        bar: _RunBar | None = None

        def show(event: "ExtractEvent") -> None:
            nonlocal bar
            if isinstance(event, Fetching):
                fetch(event)
            elif isinstance(event, Calibrating | Calibrated):
                fetch.close()
                say_calibration(event)
            elif on_terminal():
                if bar is None:
                    fetch.close()
                    bar = _RunBar(_run_progress())
                bar(event)

        try:
            yield show
        finally:
            if bar is not None:
                bar.close()


@contextmanager
def fetch_bar() -> "Iterator[_FetchBar]":
    """A handler of Fetching events: a line as each download begins, and a bar on a terminal."""
    bar = _FetchBar()
    try:
        yield bar
    finally:
        bar.close()


def loaded_model(name: "str | Path | Model | None") -> "Model":
    """The model of that name, fetched under a bar if need be; a model as it is."""
    from p3dfeat.zoo import Model, load_model

    with fetch_bar() as show:
        return name if isinstance(name, Model) else load_model(name, on_fetch=show)


def say_calibration(event: Calibrating | Calibrated) -> None:
    """That int8 is being calibrated, or how near it is to fp32."""
    if isinstance(event, Calibrating):
        finer = "calibrating int8 once more, correcting biases; some minutes for a large network"
        first = f"calibrating int8 on {event.num_clips} clips; about half a minute, once for this model"
        out.say(finer if event.finely else first)
        return
    where = (
        "clips held out of the calibration" if event.held_out else "clips of the calibration itself, for want of others"
    )
    text = f"int8: worst cosine to fp32 {event.cosine:.5f}, on {event.num_clips} {where}"
    out.say(f"{text}; calibrated by an earlier run" if event.kept else text)


def on_terminal() -> bool:
    """Whether bars may be drawn."""
    return not out.quiet and sys.stderr is not None and sys.stderr.isatty()


def _started(*columns: "ProgressColumn") -> "Progress":
    from rich.progress import Progress

    # What goes to stdout must get there, whoever reads it.
    redirect = sys.stdout is not None and sys.stdout.isatty()
    progress = Progress(*columns, console=out.console(sys.stderr), transient=True, redirect_stdout=redirect)
    progress.start()
    return progress


def _run_progress() -> "Progress":
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

    return _started(
        TextColumn("{task.fields[videos]}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[clips]}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("[red]{task.fields[failures]}"),
    )


class _FetchBar:
    """Bytes here of all bytes; while nothing comes, because of a slow server or another process, the bar pulses."""

    def __init__(self) -> None:
        self._shown = self._said = ""
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __call__(self, event: Fetching) -> None:
        if event.source != self._shown:
            self._begin(event)
        if event.source != self._said and (event.done_bytes or event.total_bytes):  # what gives nothing is no news
            self._said = event.source
            size = f" ({event.total_bytes / 1e6:,.1f} MB)" if event.total_bytes else ""
            out.say(f"fetching {event.name} from {event.source}{size}")
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=event.done_bytes, total=event.total_bytes)

    def _begin(self, event: Fetching) -> None:
        self.close()
        self._shown = event.source
        if on_terminal():
            from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

            self._progress = _started(
                BarColumn(bar_width=None), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
            )
            self._task = self._progress.add_task("", total=None)

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


class _RunBar:
    """Clips done of all clips; those of videos not yet opened are taken to be as many as in the ones that were."""

    def __init__(self, progress: "Progress"):
        self._progress = progress
        self._task = self._progress.add_task("", total=None, videos="opening", clips="", rate="", failures="")
        self._latest = 0, 0  # clips planned and described of the video begun last
        self._num_videos = self._done = self._failed = self._opened = self._planned = self._clips = 0

    def __call__(self, event: "ExtractEvent") -> None:
        from p3dfeat.workflows.extract import ToDo, VideoDone
        from p3dfeat.workflows.pipeline import Described, Started

        if isinstance(event, ToDo):  # what failed or was skipped before is not part of the bar
            self._num_videos, self._done = event.num_videos, 0
        elif isinstance(event, Started):
            if event.again:
                planned, described = self._latest
                self._planned -= planned
                self._clips -= described
            self._opened += not event.again
            self._planned += event.num_clips
            self._latest = event.num_clips, 0
        elif isinstance(event, Described):
            self._clips += len(event.features)
            self._latest = self._latest[0], self._latest[1] + len(event.features)
        elif isinstance(event, VideoDone) and event.status != "skipped":
            self._done += 1
            self._failed += event.status == "failed"
        if self._num_videos:
            self._draw()

    def _draw(self) -> None:
        unopened = self._num_videos - max(self._opened, self._done)
        expected = self._planned + unopened * self._planned / max(1, self._opened)
        speed = self._progress.tasks[0].speed
        total = max(round(expected), self._clips)
        self._progress.update(
            self._task,
            completed=self._clips,
            total=total or None,
            clips=f"{self._clips}/{total} clips",
            videos=f"{self._done}/{self._num_videos} videos",
            rate=f"{speed:.1f}/s" if speed else "",
            failures=f"{self._failed} failed" if self._failed else "",
        )

    def close(self) -> None:
        self._progress.stop()
