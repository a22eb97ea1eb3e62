"""How far the decoding of one video is, whichever processes are at it."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from p3dfeat.errors import VideoError
from p3dfeat.types import Clip, Video, VideoEnd, VideoStart
from p3dfeat.video.workers.task import DecodeJob

MOST_BEGINNINGS: Final = 6  # after the first: two for each of the processes that may be tried

Read = VideoStart | Clip | VideoEnd | VideoError


@dataclass
class DecodeProgress:
    """A video that a process was given, and what it has said of it: items, with what to call when one is used up."""

    job: DecodeJob
    items: deque[tuple[Read, Callable[[], None]]] = field(default_factory=deque)
    num_clips: int | None = None  # once that is known
    clips_left: int | None = None  # still to be decoded by the process that is at it, once that is known
    heard: int = 0  # clips, from all processes that read it
    deaths: int = 0  # of processes that were to read it
    beginnings: int = 0  # after the first, by all of these

    @property
    def video(self) -> Video:
        return self.job.video

    def begins_again(self) -> bool:
        """Forget what was said; whether a decoder may begin again so often: from a GPU to a CPU, and to counting."""
        self.beginnings += 1
        self.num_clips, self.heard = None, 0
        return self.beginnings <= MOST_BEGINNINGS
