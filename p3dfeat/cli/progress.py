"""One bar for a whole run, on stderr, only on a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from p3dfeat.cli.output import out
from p3dfeat.extraction import ExtractEvent, ToDo, VideoDone
from p3dfeat.pipeline import Described, Started

if TYPE_CHECKING:
    from rich.progress import Progress


@contextmanager
def progress_bar() -> Iterator[Callable[[ExtractEvent], None]]:
    """A handler of extraction events that keeps a bar up to date; it only counts where no terminal is there."""
    if out.quiet or not sys.stderr.isatty():
        yield lambda event: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.fields[videos]}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[clips]}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("[red]{task.fields[failures]}"),
    )
    # What goes to stdout must get there, whoever reads it.
    redirect = sys.stdout is not None and sys.stdout.isatty()
    with Progress(*columns, console=out.console(sys.stderr), transient=True, redirect_stdout=redirect) as progress:
        yield _Bar(progress)


class _Bar:
    """Clips done of all clips; those of videos not yet opened are taken to be as many as in the ones that were."""

    def __init__(self, progress: "Progress"):
        self._progress = progress
        self._task = progress.add_task("", total=None, videos="opening", clips="", rate="", failures="")
        self._num_videos = self._done = self._failed = self._opened = self._planned = self._clips = 0

    def __call__(self, event: ExtractEvent) -> None:
        if isinstance(event, ToDo):  # what failed or was skipped before is not part of the bar
            self._num_videos, self._done = event.num_videos, 0
        elif isinstance(event, Started):
            self._opened += 1
            self._planned += event.num_clips
        elif isinstance(event, Described):
            self._clips += len(event.features)
        elif isinstance(event, VideoDone) and event.status != "skipped":
            self._done += 1
            self._failed += event.status == "failed"
        if not self._num_videos:
            return
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
