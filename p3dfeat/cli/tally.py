"""Progress and remaining time of a run: only numbers, without display."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from p3dfeat.text.counts import counted

if TYPE_CHECKING:
    from p3dfeat.workflows.extract import ExtractEvent


class Tally:
    """Counts clips and videos of a run from its events.

    The number of clips is known for opened videos. For the others, it is estimated from their file sizes, by the clips
    per byte of the opened videos; without sizes, by the clips per video.

    clock: gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.num_videos = self.done = self.failed = self.clips = 0
        self._clock = clock
        self._opened: dict[str, int] = {}  # clips planned, by id
        self._latest = "", 0  # id of the video started last, and the number of its clips that are done
        self._sizes: Mapping[str, int] = {}
        self._fixed: int | None = None  # clips of every video
        self._started: float | None = None

    def __call__(self, event: "ExtractEvent") -> None:
        from p3dfeat.workflows.extract import ToDo, VideoDone
        from p3dfeat.workflows.pipeline import Described, Started

        if isinstance(event, ToDo):  # earlier failed or skipped videos are not part of the run
            self.num_videos, self.done, self._opened = event.num_videos, 0, {}
            self._sizes, self._fixed = event.size_bytes, event.clips_per_video
            self._started = self._clock()
        elif isinstance(event, Started):
            if event.again:
                self.clips -= self._latest[1]
            self._opened[event.video.id] = event.num_clips
            self._latest = event.video.id, 0
        elif isinstance(event, Described):
            self.clips += len(event.features)
            self._latest = self._latest[0], self._latest[1] + len(event.features)
        elif isinstance(event, VideoDone) and event.status not in ("skipped", "accepted"):
            self.done += 1
            self.failed += event.status == "failed"
            if event.status != "stored":
                self._opened.setdefault(event.id, 0)

    @property
    def _unopened(self) -> int:
        return max(0, self.num_videos - max(len(self._opened), self.done))

    @property
    def is_estimate(self) -> bool:
        """Whether the total is estimated: some videos are not opened yet, and their number of clips may differ."""
        return self._unopened > 0 and self._fixed is None

    @property
    def total(self) -> int:
        """Number of clips in the whole run."""
        planned = sum(self._opened.values())
        return max(round(planned + self._expected(planned)), self.clips)

    def _expected(self, planned: int) -> float:
        """Expected clips of the videos that are not opened yet."""
        if self._fixed is not None:
            return self._unopened * self._fixed
        seen = sum(self._sizes.get(id, 0) for id in self._opened)
        if seen:
            left = sum(self._sizes.values()) - seen
            return planned * left / seen if self._unopened else 0
        return self._unopened * planned / max(1, len(self._opened))

    @property
    def clips_per_second(self) -> float:
        """Since the ToDo event; 0 before the first clip."""
        seconds = self._seconds
        return self.clips / seconds if seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """None if not known yet."""
        rate = self.clips_per_second
        return (self.total - self.clips) / rate if rate else None

    @property
    def _seconds(self) -> float:
        return 0.0 if self._started is None else self._clock() - self._started

    def clips_text(self) -> str:
        """Such as ``120/~280 clips``; ~ marks an estimate."""
        return f"{self.clips:,}/{'~' if self.is_estimate else ''}{counted(self.total, 'clip')}"

    def videos_text(self) -> str:
        return f"{self.done:,}/{counted(self.num_videos, 'video')}"

    def line(self) -> str:
        """All values, for a log."""
        parts = [self.videos_text(), self.clips_text(), f"{self.clips_per_second:.1f} clips/s"]
        if self.seconds_left is not None:
            parts.append(f"about {duration(self.seconds_left)} left")
        if self.failed:
            parts.append(f"{self.failed} failed")
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """Readable duration: ``45 s``, ``12 min``, ``3 h 05 min``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{round(seconds)} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"
