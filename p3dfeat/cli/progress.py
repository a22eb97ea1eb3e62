"""Progress bars on stderr, only on a terminal, one at a time: first for downloads of weights, then for the run."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from p3dfeat.cli.output import out
from p3dfeat.cli.tally import Tally, duration
from p3dfeat.errors import P3DFeatError
from p3dfeat.events import Calibrated, Calibrating, Fetching
from p3dfeat.text.counts import counted

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

    from p3dfeat.options import ModelOptions
    from p3dfeat.workflows.extract import ExtractEvent
    from p3dfeat.zoo import Model

LINE_SECONDS: Final = 60.0  # between two progress lines


@contextmanager
def progress_bar() -> "Iterator[Callable[[ExtractEvent], None]]":
    """A handler of extraction events that shows progress, downloads and int8 calibration.

    On a terminal it draws a bar; elsewhere, and in a log, it prints one line per minute.
    """
    with fetch_bar() as fetch:
        tally, bar = Tally(), None
        lines = _Lines(tally)

        def show(event: "ExtractEvent") -> None:
            nonlocal bar
            if isinstance(event, Fetching):
                fetch(event)
            elif isinstance(event, Calibrating | Calibrated):
                fetch.close()
                say_calibration(event)
            else:
                tally(event)
                if bar is None and on_terminal():
                    fetch.close()
                    bar = _RunBar(_run_progress(), tally)
                if bar is not None:
                    bar.draw()

        try:
            yield show
        finally:
            lines.close()
            if bar is not None:
                bar.close()


@contextmanager
def fetch_bar() -> "Iterator[_FetchBar]":
    """A handler of Fetching events: a line at the start of each download, and a bar on a terminal."""
    bar = _FetchBar()
    try:
        yield bar
    finally:
        bar.close()


@contextmanager
def counted_bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """A function that shows how many of a known number of things are done: a bar on a terminal, otherwise nothing."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    if not on_terminal():
        yield lambda done, total: None
        return
    progress = _started(BarColumn(bar_width=None), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    task = progress.add_task("", total=None)
    try:
        yield lambda done, total: progress.update(task, completed=done, total=total)
    finally:
        progress.stop()


def loaded_model(options: "ModelOptions") -> "Model":
    """The model of a command's options, downloaded with a bar if needed."""
    from p3dfeat.workflows.job import model_for

    with fetch_bar() as show:
        return model_for(options, show)


def say_calibration(event: Calibrating | Calibrated) -> None:
    """Print that int8 is being calibrated, or its cosine to fp32."""
    if isinstance(event, Calibrating):
        finer = "calibrating int8 once more, correcting biases; some minutes for a large network"
        first = f"calibrating int8 on {counted(event.num_clips, 'clip')}; about half a minute, once for this model"
        out.say(finer if event.finely else first)
        return
    where = (
        "clips held out of the calibration"
        if event.held_out
        else "clips of the calibration itself, as there are no others"
    )
    text = f"int8: worst cosine to fp32 {event.cosine:.5f}, on {event.num_clips} {where}"
    out.say(f"{text}; calibrated by an earlier run" if event.kept else text)


def on_terminal() -> bool:
    """Whether bars may be drawn."""
    return not out.quiet and sys.stderr is not None and sys.stderr.isatty()


def _started(*columns: "ProgressColumn") -> "Progress":
    from rich.progress import Progress

    out.clear_status()
    # If stdout is not a terminal, the bar must not redirect it.
    redirect = sys.stdout is not None and sys.stdout.isatty()
    progress = Progress(*columns, console=out.console(sys.stderr), transient=True, redirect_stdout=redirect)
    progress.start()
    return progress


def _run_progress() -> "Progress":
    from rich.progress import BarColumn, TextColumn

    return _started(
        TextColumn("{task.fields[videos]}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[clips]}"),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[left]}"),
        TextColumn("[red]{task.fields[failures]}"),
    )


class _FetchBar:
    """Bytes received of all bytes. If nothing comes, because of a slow server or another process, the bar pulses."""

    def __init__(self) -> None:
        self._shown = self._said = ""
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __call__(self, event: Fetching) -> None:
        if event.source != self._shown:
            self._begin(event)
        if event.source != self._said and (event.done_bytes or event.total_bytes):  # a source without bytes is skipped
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
    """Draws a tally as a bar."""

    def __init__(self, progress: "Progress", tally: Tally):
        self._progress, self._tally = progress, tally
        self._task = self._progress.add_task("", total=None, videos="opening", clips="", rate="", left="", failures="")

    def draw(self) -> None:
        tally = self._tally
        if not tally.num_videos:
            return
        left = tally.seconds_left
        self._progress.update(
            self._task,
            completed=tally.clips,
            total=tally.total or None,
            clips=tally.clips_text(),
            videos=tally.videos_text(),
            rate=f"{tally.clips_per_second:.1f}/s" if tally.clips else "",
            left="" if left is None else f"{duration(left)} left",
            failures=f"{tally.failed} failed" if tally.failed else "",
        )

    def close(self) -> None:
        self._progress.stop()


class _Lines:
    """Prints progress once a minute: in the log, and on stderr if it is not a terminal."""

    def __init__(self, tally: Tally):
        self._tally, self._ended = tally, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(LINE_SECONDS):
            if self._tally.num_videos:
                with suppress(P3DFeatError):  # the reader of stderr is gone; the run itself will notice
                    out.tell_progress(self._tally.line(), on_stderr=not on_terminal())

    def close(self) -> None:
        self._ended.set()
        self._thread.join(timeout=1.0)  # a stderr that nobody reads must not hold up the end
