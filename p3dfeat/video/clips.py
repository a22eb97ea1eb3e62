"""A video as a stream of clips: indexed, planned, decoded once, and cut, with one window of frames in memory."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import av
import numpy as np

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import VideoError
from p3dfeat.types import Clip, UInt8Array, Video, VideoInfo
from p3dfeat.video.decode import FrameReader, IrregularTimestampsError
from p3dfeat.video.index import VideoIndex, index_video, open_video
from p3dfeat.video.picture import Orientation, PictureMaker
from p3dfeat.video.sampling import ClipPlan, ClipPlans, plan_clips


@dataclass(frozen=True)
class VideoStart:
    """Comes before a video's first clip, as soon as its clips are planned."""

    num_clips: int


@dataclass(frozen=True)
class VideoEnd:
    """Comes after a video's last clip. frames_decoded counts every frame the decoder delivered."""

    info: VideoInfo
    frames_decoded: int


def read_clips(video: Video, spec: InputSpec, sampling: Sampling) -> Iterator[VideoStart | Clip | VideoEnd]:
    """Yield a VideoStart, the clips of ``video`` in time order, and a VideoEnd. Raises VideoError.

    Memory holds the frames of one clip and of those that overlap it, however long the video is.
    """
    index = index_video(video.path)
    plans = plan(index, video, sampling)
    yield VideoStart(len(plans))
    given = 0
    try:
        for item in _read(video.path, index, plans, spec):
            yield item
            given += 1
    except IrregularTimestampsError:
        # The packets' times do not name the frames: begin again and count them.
        for item in _read(video.path, index.counted(), plans, spec):
            if given:
                given -= 1
                continue
            yield item


def plan(index: VideoIndex, video: Video, sampling: Sampling) -> ClipPlans:
    """The clips ``sampling`` takes from an indexed video. Raises VideoError for a segment outside it."""
    return plan_clips(
        index.seconds,
        index.end_seconds,
        sampling,
        start_seconds=video.start_seconds,
        stop_seconds=video.end_seconds,
        tick_seconds=index.tick_seconds,
    )


def _read(path: str, index: VideoIndex, plans: ClipPlans, spec: InputSpec) -> Iterator[Clip | VideoEnd]:
    info = index.info
    wanted = plans.frames()
    with open_video(path) as (container, stream):
        reader = FrameReader(container, stream, index)
        make_picture = PictureMaker(spec)
        window: dict[int, UInt8Array] = {}
        done = 0
        clip = plans[0]
        for number, frame in reader.read(map(int, wanted)):
            if number == wanted[0]:
                info = _as_shown(info, Orientation(frame), frame)
            try:
                window[number] = make_picture(frame)
            except (av.FFmpegError, ValueError, MemoryError) as error:
                raise VideoError(f"frame {number} cannot be resized ({error})") from None
            while done < len(plans) and clip.frames[-1] <= number:
                yield _clip(clip, window, index)
                done += 1
                clip = plans[min(done, len(plans) - 1)]
            for old in [n for n in window if n < clip.frames[0]]:
                del window[old]
        yield VideoEnd(info, reader.decoded)


def _clip(clip_plan: ClipPlan, window: dict[int, UInt8Array], index: VideoIndex) -> Clip:
    first, last = int(clip_plan.frames[0]), int(clip_plan.frames[-1])
    frames = np.stack([window[int(number)] for number in clip_plan.frames])
    return Clip(frames, float(index.seconds[first]), index.frame_ends(last), clip_plan.padded_frames)


def _as_shown(info: VideoInfo, orientation: Orientation, frame: av.VideoFrame) -> VideoInfo:
    width, height = (frame.height, frame.width) if orientation.transposed else (frame.width, frame.height)
    return replace(info, width=width, height=height, rotation=orientation.rotation)
