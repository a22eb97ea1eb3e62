"""The decoding progress of one video, over all processes that work on it."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from p3dfeat.errors import VideoError
from p3dfeat.types import Clip, Video, VideoEnd, VideoStart
from p3dfeat.video.workers.task import DecodeJob

MOST_BEGINNINGS: Final = 6  # restarts: two for each process that may be tried

Read = VideoStart | Clip | VideoEnd | VideoError


@dataclass
class DecodeProgress:
    """A video given to a process, and the received items, each with a function to call after its use."""

    job: DecodeJob
    items: deque[tuple[Read, Callable[[], None]]] = field(default_factory=deque)
    num_clips: int | None = None  # None until known
    clips_left: int | None = None  # clips that the current process has still to decode; None until known
    heard: int = 0  # clips received from all processes
    deaths: int = 0  # number of processes that died while they had to read it
    beginnings: int = 0  # restarts, in all processes

    @property
    def video(self) -> Video:
        return self.job.video

    def begins_again(self) -> bool:
        """Note a restart. True if the decoder may restart that often: from a GPU to a CPU, and to counting frames."""
        self.beginnings += 1
        self.num_clips, self.heard = None, 0
        return self.beginnings <= MOST_BEGINNINGS
