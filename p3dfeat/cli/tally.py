"""Progress and remaining time of a run: only numbers, without display."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from p3dfeat.text.counts import counted

if TYPE_CHECKING:
    from p3dfeat.workflows.extract import ExtractEvent

FINENESS: Final = 256  # times that are kept of a run, at least


class Tally:
    """Counts clips and videos of a run from its events.

    The number of clips is known for opened videos. For the others, it is the number expected from a sample; without a
    sample, it is estimated from their file sizes, by the clips per byte of the opened videos; without sizes, by the
    clips per video.

    The rate is that of the latter half of the time since the first clips: loading the network does not count, and
    neither do videos of another kind for long.

    clock: gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.num_videos = self.done = self.failed = self.clips = 0
        self._clock = clock
        self._opened: dict[str, int] = {}  # clips planned, by id
        self._planned = 0  # clips of the opened videos
        self._latest = "", 0  # id of the video started last, and the number of its clips that are done
        self._sizes: Mapping[str, int] = {}
        self._sample: Mapping[str, float] = {}  # expected clips, by id
        self._fixed: int | None = None  # clips of every video
        self._bytes_left, self._expected_left = 0, 0.0  # of the videos that are not opened yet
        self._started: float | None = None
        self._first: float | None = None  # time of the first clips
        self._past: deque[tuple[float, int]] = deque()  # times, and the clips done by then

    def __call__(self, event: "ExtractEvent") -> None:
        from p3dfeat.workflows.extract import ToDo, VideoDone
        from p3dfeat.workflows.pipeline import Described, Started

        if isinstance(event, ToDo):  # earlier failed or skipped videos are not part of the run
            self.num_videos, self.done, self._planned, self._opened = event.num_videos, 0, 0, {}
            self._sizes, self._fixed, self._sample = event.size_bytes, event.clips_per_video, event.expected_clips
            self._bytes_left, self._expected_left = sum(self._sizes.values()), sum(self._sample.values())
            self._started = self._clock()
        elif isinstance(event, Started):
            if event.again:
                self.clips -= self._latest[1]
            self._open(event.video.id, event.num_clips)
            self._latest = event.video.id, 0
        elif isinstance(event, Described):
            self.clips += len(event.features)
            self._latest = self._latest[0], self._latest[1] + len(event.features)
            self._note()
        elif isinstance(event, VideoDone) and event.status not in ("skipped", "accepted"):
            self.done += 1
            self.failed += event.status == "failed"
            if event.status != "stored" and event.id not in self._opened:
                self._open(event.id, 0)

    def _open(self, id: str, clips: int) -> None:
        if id not in self._opened:
            self._bytes_left -= self._sizes.get(id, 0)
            self._expected_left -= self._sample.get(id, 0.0)
        self._planned += clips - self._opened.get(id, 0)
        self._opened[id] = clips

    def _note(self) -> None:
        """Keep the clips done by now, at growing distances; forget the first half of the time, but for its end."""
        now = self._clock()
        if self._first is None:
            self._first = now
        if not self._past or now - self._past[-1][0] >= (now - self._first) / FINENESS:
            self._past.append((now, self.clips))
        middle = (self._first + now) / 2
        while len(self._past) > 1 and self._past[1][0] <= middle:
            self._past.popleft()

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
        return max(round(self._planned + self._expected()), self.clips)

    def _expected(self) -> float:
        """Expected clips of the videos that are not opened yet."""
        if self._fixed is not None or not self._unopened:
            return self._unopened * (self._fixed or 0)
        if self._sample:
            return self._expected_left
        seen = sum(self._sizes.values()) - self._bytes_left
        if seen:
            return self._planned * self._bytes_left / seen
        return self._unopened * self._planned / max(1, len(self._opened))

    @property
    def clips_per_second(self) -> float:
        """In the latter half of the time since the first clips; 0 before them."""
        if self._started is None:
            return 0.0
        since, before = self._past[0] if self._past else (self._started, 0)
        if self.clips <= before:
            since, before = self._started, 0
        seconds = self._clock() - since
        return (self.clips - before) / seconds if seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """None if not known yet."""
        rate = self.clips_per_second
        return (self.total - self.clips) / rate if rate else None

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
