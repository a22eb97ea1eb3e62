"""The choice of frames for each clip: a plan from timestamps alone, before decoding."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Final, overload

import numpy as np

from p3dfeat.config import Sampling
from p3dfeat.errors import VideoError
from p3dfeat.types import Int64Array, SecondsArray

MOST_RESAMPLED: Final = 20_000_000  # frames: nine days at 25 per second; planning them takes 320 MB


@dataclass(frozen=True)
class ClipPlan:
    """One clip: the numbers of its frames in the file, (T,), and the number of repeated frames at its end."""

    frames: Int64Array
    padded_frames: int


class ClipPlans(Sequence[ClipPlan]):
    """All clips of a video, each created on access: the clips of a long video would take too much memory."""

    def __init__(self, numbers: Int64Array, starts: Int64Array, sampling: Sampling):
        """numbers: the frames to sample from, numbered as in the file; starts: index of each clip in ``numbers``."""
        self._numbers, self._starts, self._sampling = numbers, starts, sampling
        self._length = sampling.length
        self._offsets = np.arange(sampling.length) * sampling.step

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, clip: int) -> ClipPlan: ...
    @overload
    def __getitem__(self, clip: slice) -> list[ClipPlan]: ...
    def __getitem__(self, clip: int | slice) -> ClipPlan | list[ClipPlan]:
        if isinstance(clip, slice):
            return [self[i] for i in range(*clip.indices(len(self)))]
        wanted = self._starts[clip] + self._offsets
        padded = int((wanted >= len(self._numbers)).sum())
        # A clip with too few frames repeats its own last frame, not the last frame of the file.
        return ClipPlan(self._numbers[np.minimum(wanted, wanted[self._length - padded - 1])], padded)

    def less(self, unusable: Set[int]) -> "ClipPlans":
        """The plans without the clips that need one of these frames."""
        if not unusable:
            return self
        kept = [unusable.isdisjoint(clip.frames.tolist()) for clip in self]
        return ClipPlans(self._numbers, self._starts[np.array(kept, np.bool_)], self._sampling)

    def frames(self) -> Int64Array:
        """Numbers of all frames that a clip needs, ascending."""
        needed = np.zeros(self._numbers[-1] + 1, np.bool_)
        for clip in self:
            needed[clip.frames] = True
        return np.flatnonzero(needed)


def plan_clips(
    seconds: SecondsArray,
    end_seconds: float,
    sampling: Sampling,
    *,
    start_seconds: float | None = None,
    stop_seconds: float | None = None,
    tick_seconds: float = 0.0,
) -> ClipPlans:
    """The clips of a video, in the order of their first frames.

    seconds: (F,) display time of each frame, ascending; end_seconds: end time of the last frame.
    start_seconds, stop_seconds: the segment. Only frames that start in it are used, or, if there is none, the frame on
    screen at its start.
    tick_seconds: the unit of the file's clock, to which its timestamps were rounded.
    Raises VideoError if no frame lies in the segment.
    """
    slack = _slack(seconds, tick_seconds)
    first, last = 0, len(seconds)
    if start_seconds is not None:
        first = int(np.searchsorted(seconds, start_seconds - slack))
    if stop_seconds is not None:
        last = int(np.searchsorted(seconds, stop_seconds - slack))
    begin = seconds[0] if start_seconds is None else start_seconds
    if first >= last and seconds[0] <= begin < end_seconds:  # the segment is shorter than a frame
        first = int(np.searchsorted(seconds, begin + slack, side="right")) - 1
        last = first + 1
    if first >= last:
        asked = f"{start_seconds or 0:g} to {'the end' if stop_seconds is None else f'{stop_seconds:g} s'}"
        raise VideoError(f"no frame from {asked}; the video runs from {seconds[0]:g} to {end_seconds:g} s")
    if stop_seconds is not None:
        end_seconds = min(end_seconds, stop_seconds)
    numbers = np.arange(first, last)
    if sampling.fps is not None:
        begin = max(begin, seconds[first])
        numbers = first + resample(seconds[first:last] - begin, end_seconds - begin, sampling.fps, slack)
    return ClipPlans(numbers, clip_starts(len(numbers), sampling), sampling)


def resample(seconds: SecondsArray, duration_seconds: float, fps: float, slack: float) -> Int64Array:
    """Number of the frame on screen at 0, 1/fps, 2/fps, ... up to the end.

    Raises VideoError if the duration gives more than MOST_RESAMPLED frames.
    """
    wanted = float(np.ceil(duration_seconds * fps - 1e-6))
    if not wanted <= MOST_RESAMPLED:
        raise VideoError(f"runs {duration_seconds:,.0f} s; at {fps:g} frames a second that is too long to resample")
    count = max(1, int(wanted))
    times = np.arange(count) / fps
    return np.maximum(np.searchsorted(seconds, times + slack, side="right") - 1, 0)


def _slack(seconds: SecondsArray, tick_seconds: float) -> float:
    """Maximum rounding error of a timestamp: half a tick, but far less than a frame."""
    if len(seconds) < 2:
        return 0.0
    return min(0.5 * tick_seconds, 0.25 * float(np.median(np.diff(seconds)))) + 1e-9


def clip_starts(num_frames: int, sampling: Sampling) -> Int64Array:
    """First frame of each clip: ``clips`` starts from the first to the last possible one, or one per ``stride``."""
    room = num_frames - sampling.span
    if sampling.clips is not None:
        if room <= 0:
            return np.zeros(sampling.clips, np.int64)
        if sampling.clips == 1:
            return np.array([room // 2])
        gaps = sampling.clips - 1
        return np.asarray((2 * np.arange(sampling.clips) * room + gaps) // (2 * gaps))
    assert sampling.stride is not None
    if room < 0:  # shorter than a clip: it gives one padded clip with every tail rule
        return np.zeros(1, np.int64)
    starts = np.arange(0, room + 1, sampling.stride)
    following = starts[-1] + sampling.stride
    covered = starts[-1] + sampling.span >= num_frames
    if covered or following >= num_frames or sampling.tail == "drop":
        return starts
    return np.append(starts, following if sampling.tail == "pad" else room)
