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
    """One clip: the numbers of its frames in the file, (T,), and the number of repeated frames at its ends."""

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
        there = wanted[(wanted >= 0) & (wanted < len(self._numbers))]
        if not len(there):  # with an interval between frames, a very short video can lie between two of them
            there = np.clip(wanted[:1], 0, len(self._numbers) - 1)
        # A clip with too few frames repeats its own first or last frame, not that of the file.
        return ClipPlan(self._numbers[np.clip(wanted, there[0], there[-1])], self._length - len(there))

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
    if sampling.every is None:
        return ClipPlans(numbers, clip_starts(len(numbers), sampling), sampling)
    begin = max(begin, seconds[first])
    shown = seconds[numbers] - begin if sampling.fps is None else np.arange(len(numbers)) / sampling.fps
    return ClipPlans(numbers, timed_starts(shown, end_seconds - begin, sampling), sampling)


def timed_starts(seconds: SecondsArray, duration_seconds: float, sampling: Sampling) -> Int64Array:
    """First frame of each clip: one in the middle of each interval of ``every`` seconds. It may be before the video.

    seconds: (F,) display time of each frame, from 0. With tail "drop", the last interval must be complete.
    Otherwise its middle must be in the video. The frame that begins nearest to the middle is the clip's centre.
    Raises VideoError as ``num_intervals``.
    """
    assert sampling.every is not None
    times = (np.arange(num_intervals(len(seconds), duration_seconds, sampling)) + 0.5) * sampling.every
    middles = (seconds[1:] + seconds[:-1]) / 2
    return np.asarray(np.searchsorted(middles, times, side="right") - sampling.half)


def num_intervals(num_frames: int, duration_seconds: float, sampling: Sampling) -> int:
    """Number of intervals of ``every`` seconds, each with a clip. Half a frame may lack at the end.

    Raises VideoError if there are more than MOST_RESAMPLED.
    """
    assert sampling.every is not None
    seconds = duration_seconds + 0.5 * duration_seconds / num_frames
    count = seconds / sampling.every + (0.0 if sampling.tail == "drop" else 0.5)
    if not count <= MOST_RESAMPLED:
        raise VideoError(f"runs {duration_seconds:,.0f} s; a clip every {sampling.every:g} s is too many")
    return max(1, int(count))


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
    """First frame of each clip: ``clips`` starts from the first to the last possible one, or one per ``stride``.

    With an offset, and with spacing "inside", a clip may begin before the video; it then repeats the first frame.
    """
    room = num_frames - sampling.span
    if sampling.clips is not None and sampling.spacing == "inside":
        centres = num_frames * np.arange(1, sampling.clips + 1) // (sampling.clips + 1)
        return np.asarray(centres - sampling.half)
    if sampling.clips is not None:
        if room <= 0:
            return np.zeros(sampling.clips, np.int64)
        if sampling.clips == 1:
            return np.array([room // 2])
        gaps = sampling.clips - 1
        return np.asarray((2 * np.arange(sampling.clips) * room + gaps) // (2 * gaps))
    assert sampling.stride is not None
    if sampling.offset is not None:
        last = room + sampling.half if sampling.tail == "drop" else num_frames - 1  # possible centre
        return np.arange(sampling.offset, max(sampling.offset, last) + 1, sampling.stride) - sampling.half
    if room < 0:  # shorter than a clip: it gives one padded clip with every tail rule
        return np.zeros(1, np.int64)
    starts = np.arange(0, room + 1, sampling.stride)
    following = starts[-1] + sampling.stride
    covered = starts[-1] + sampling.span >= num_frames
    if covered or following >= num_frames or sampling.tail == "drop":
        return starts
    return np.append(starts, following if sampling.tail == "pad" else room)
