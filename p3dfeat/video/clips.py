"""A video as a stream of clips: indexed, planned, decoded once, and cut, with one window of frames in memory."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import av
import numpy as np

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import VideoError
from p3dfeat.types import Clip, UInt8Array, Video, VideoEnd, VideoStart
from p3dfeat.video.damage import Damage
from p3dfeat.video.decode import FrameReader, IrregularTimestampsError
from p3dfeat.video.index import VideoIndex, index_video, open_video
from p3dfeat.video.picture import PictureMaker
from p3dfeat.video.sampling import ClipPlan, ClipPlans, plan_clips


def read_clips(
    video: Video,
    spec: InputSpec,
    sampling: Sampling,
    *,
    threads: int | None = None,
    decoder: str = "cpu",
    room: Callable[[], UInt8Array] | None = None,
    partial: bool = False,
) -> Iterator[VideoStart | Clip | VideoEnd]:
    """Yield a VideoStart, the clips of ``video`` in time order, and a VideoEnd. Raises VideoError.

    threads: of the decoder; None: one a core. decoder: "cpu" or "cuda", as for ``open_video``.
    room: called for each clip, gives the (T, C, H, W) uint8 array that its pixels go to; None: a new one each.
    partial: of a damaged video, use what is left, which its VideoEnd tells. From where a frame does not decode to the
    next keyframe nothing is used, and no clip that needs any of it.
    Memory holds the frames of one clip and of those that overlap it, however long the video is.
    """
    index = index_video(video.path, partial=partial)
    plans = plan(index, video, sampling)
    reading = _Reading(video.path, plans, spec, threads or 0, decoder, room or (lambda: _new_clip(spec, sampling)))
    yield VideoStart(len(plans))
    if partial:
        yield from _partial_items(reading, index)
        return
    try:
        yield from reading.items(index)
    except IrregularTimestampsError:
        # The packets' times do not name the frames: begin again and count them.
        yield from reading.items(index.counted())
    except VideoError:
        if decoder == "cpu":
            raise
        reading.decoder = "cpu"  # whose word is final: a GPU may be short of memory, or not know the coding
        yield from reading.items(index)


def read_plan(video: Video, sampling: Sampling, *, partial: bool = False) -> Iterator[VideoStart | VideoEnd]:
    """What ``read_clips`` yields but the clips, from the packets alone. Raises VideoError."""
    index = index_video(video.path, partial=partial)
    yield VideoStart(len(plan(index, video, sampling)))
    yield VideoEnd(index.info, 0)


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


def _new_clip(spec: InputSpec, sampling: Sampling) -> UInt8Array:
    return np.empty((sampling.length, spec.num_channels, *spec.size), np.uint8)


@dataclass
class _Reading:
    """The clips of one video; begun again, it goes on after those that it has given or left out.

    begin: a keyframe before which nothing is decoded; position: the frame that decoding had come to.
    """

    path: str
    plans: ClipPlans
    spec: InputSpec
    threads: int
    decoder: str
    room: Callable[[], UInt8Array]
    done: int = 0  # clips, given or left out
    begin: int = 0
    position: int = 0

    def items(self, index: VideoIndex) -> Iterator[Clip | VideoEnd]:
        plans = self.plans.from_clip(self.done)
        with (
            open_video(self.path, decoder=self.decoder) as (container, stream),
            closing(
                FrameReader(
                    container,
                    stream,
                    index,
                    plans.frames(),
                    threads=self.threads,
                    listens=self.decoder == "cpu",
                    begin=self.begin,
                )
            ) as reader,
        ):
            pictures = _Pictures(reader, PictureMaker(self.spec))
            try:
                for place, clip in enumerate(plans):
                    following = int(plans[place + 1].frames[0]) if place + 1 < len(plans) else len(index)
                    pixels = self.room()
                    pictures.fill(pixels, clip, kept_from=following)
                    self.done += 1
                    yield _clip(pixels, clip, index)
                reader.finish()
            finally:
                self.position = reader.position
            yield VideoEnd(replace(index.info, **pictures.shown), reader.decoded)


def _partial_items(reading: _Reading, index: VideoIndex) -> Iterator[Clip | VideoEnd]:
    """Clips whose frames all decode, beginning again at the next keyframe wherever one does not."""
    damage = Damage(tolerated=True)
    if index.info.damage is not None:
        damage.found(VideoError(index.info.damage))
    reading.threads = 1  # so that what is said of a frame is said when it is decoded
    given, info, decoded = 0, index.info, 0
    while reading.done < len(reading.plans):
        try:
            for item in reading.items(index):
                if isinstance(item, VideoEnd):
                    info, decoded = item.info, item.frames_decoded
                else:
                    given += 1
                    yield item
        except IrregularTimestampsError:
            if index.timestamps is None or reading.begin:
                damage.found(VideoError("damaged: a frame is shown when none is announced"))
                break
            index = index.counted()
        except VideoError as error:
            if reading.decoder == "cuda":
                reading.decoder = "cpu"  # whose word is final
                continue
            damage.found(error)
            if not _go_on(reading, index):
                break
    if not given:
        raise VideoError(f"{damage.reason}; none of its clips can be used")
    left_out = len(reading.plans) - given
    yield VideoEnd(replace(info, damage=damage.reason, clips_left_out=left_out), decoded)


def _go_on(reading: _Reading, index: VideoIndex) -> bool:
    """Let ``reading`` go on at the next keyframe, less the clips that need frames before it; whether there is one."""
    later = index.keyframes[index.keyframes > max(reading.position, reading.begin)]
    if not len(later):
        return False
    reading.begin = int(later[0])
    while reading.done < len(reading.plans) and reading.plans[reading.done].frames[0] < reading.begin:
        reading.done += 1
    return True


class _Pictures:
    """Pictures of a video's frames, each made once; those that later clips need too are kept.

    shown: the size and rotation that the frames turn out to have, once there is one.
    """

    def __init__(self, frames: Iterable[tuple[int, av.VideoFrame]], make: PictureMaker):
        self._frames, self._make = iter(frames), make
        self._kept: dict[int, UInt8Array] = {}
        self.shown: dict[str, Any] = {}

    def fill(self, pixels: UInt8Array, clip: ClipPlan, *, kept_from: int) -> None:
        """Put a clip's pictures into (T, C, H, W) ``pixels``; kept_from: the first frame that later clips need."""
        for place, number in enumerate(map(int, clip.frames)):
            if place and number == clip.frames[place - 1]:
                pixels[place] = pixels[place - 1]
            elif number in self._kept:
                pixels[place] = self._kept[number]
            else:
                self._read_to(number, pixels[place])
                if number >= kept_from:
                    self._kept[number] = pixels[place].copy()
        for number in [number for number in self._kept if number < kept_from]:
            del self._kept[number]

    def _read_to(self, wanted: int, room: UInt8Array) -> None:
        """Make the picture of frame ``wanted``; keep those on the way, which later clips ask for."""
        for number, frame in self._frames:
            picture = room if number == wanted else np.empty_like(room)
            try:
                self._make(frame, picture)
            except (av.FFmpegError, ValueError, MemoryError) as error:
                raise VideoError(f"frame {number} cannot be resized ({error})") from None
            self.shown = self.shown or self._make.as_shown(frame)
            if number == wanted:
                return
            self._kept[number] = picture


def _clip(pixels: UInt8Array, clip: ClipPlan, index: VideoIndex) -> Clip:
    first, last = int(clip.frames[0]), int(clip.frames[-1])
    seconds = float(index.seconds[first]), index.frame_ends(last)
    return Clip(pixels.transpose(0, 2, 3, 1), *seconds, clip.padded_frames)
