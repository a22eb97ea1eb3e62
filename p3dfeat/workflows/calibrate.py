"""Calibrate int8 on clips of the run's own videos. Calibrations are kept in the cache folder."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from p3dfeat.engines import Calibration, CalibrationClips
from p3dfeat.errors import UsageError, VideoError
from p3dfeat.events import Calibrated, Calibrating
from p3dfeat.types import Clip, UInt8Array, Video, VideoStart
from p3dfeat.video import Decoders
from p3dfeat.zoo import Model
from p3dfeat.zoo.download.cache import cache_folder

CALIBRATION_CLIPS: Final = 16  # they take half a minute for P3D-199
HELD_OUT_EVERY: Final = 3  # every third clip: 8 clips to measure on, beside 16 to calibrate on
CLIPS: Final = CALIBRATION_CLIPS * HELD_OUT_EVERY // (HELD_OUT_EVERY - 1)


def calibration_for(
    precision: str,
    model: Model,
    videos: Sequence[Video],
    on_event: Callable[[Calibrating | Calibrated], None] = lambda event: None,
) -> Calibration | None:
    """The calibration of ``model`` on ``videos``; None if the precision needs none.

    Raises WeightsError if there is no folder to keep it in.
    """
    if precision != "int8":
        return None
    if not model.weights_sha256:
        raise UsageError("precision 'int8': this model's weights have no checksum to keep a calibration under")
    return Calibration(cache_folder() / "int8", model.weights_sha256, lambda: chosen_clips(model, videos), on_event)


def chosen_clips(model: Model, videos: Sequence[Video]) -> CalibrationClips:
    """Clips spread over all ``videos``, always the same ones. Unreadable videos are skipped.

    Every third clip is held out to measure on. Raises UsageError if there is no clip.
    """
    clips_a_video = -(-CLIPS // max(1, min(CLIPS, len(videos))))
    found: dict[bytes, UInt8Array] = {}
    with Decoders() as decoders:
        for video in spread(videos, CLIPS):
            for frames in _clips_of(video, model, clips_a_video, decoders):
                found.setdefault(frames.tobytes(), frames)  # clips of a short video can be identical
            if len(found) >= CLIPS:
                break
    clips = list(found.values())[:CLIPS]
    if not clips:
        why = "none of the videos can be read" if videos else "give videos to calibrate on"
        raise UsageError(f"precision 'int8': {model.name} is not calibrated yet; {why}")
    held_out = clips[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
    if not held_out:
        return CalibrationClips(clips, clips, held_out=False)
    rest = [clip for number, clip in enumerate(clips, 1) if number % HELD_OUT_EVERY]
    return CalibrationClips(rest, held_out, held_out=True)


def spread(videos: Sequence[Video], count: int) -> Iterator[Video]:
    """``count`` videos evenly spaced in their order, then all others."""
    if not videos:
        return
    first = {number * len(videos) // count for number in range(count)}
    yield from (videos[number] for number in sorted(first))
    yield from (video for number, video in enumerate(videos) if number not in first)


def _clips_of(video: Video, model: Model, count: int, decoders: Decoders) -> list[UInt8Array]:
    """Evenly spaced clips; none if the video cannot be read, which the run itself reports."""
    clips: list[UInt8Array] = []
    for _, item in decoders.read([video], model.card.input, model.sampling(clips=count)):
        if isinstance(item, Clip):
            clips.append(item.frames.copy())
        elif isinstance(item, VideoStart):
            clips.clear()
        elif isinstance(item, VideoError):
            return []
    return clips
