"""A video as a stream of clips: indexed, planned, decoded once and cut, with one window of frames in memory."""

import os
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial as with_arguments
from typing import Any, Final

import av
import numpy as np

from p3dfeat.config import CENTRE, InputSpec, Sampling
from p3dfeat.errors import VideoError
from p3dfeat.types import Clip, Int64Array, UInt8Array, Video, VideoEnd, VideoStart
from p3dfeat.video.findings import Findings
from p3dfeat.video.pictures.flow import FLOW, FlowMaker, frames_for_flow
from p3dfeat.video.pictures.transform import PictureMaker
from p3dfeat.video.ranged import RangedFile
from p3dfeat.video.reading.decode import DoubtError, FrameReader
from p3dfeat.video.reading.index import VideoIndex, index_video, open_video
from p3dfeat.video.reading.recount import CountedReader, recounted
from p3dfeat.video.reading.sampling import ClipPlan, ClipPlans, plan_clips
from p3dfeat.video.reading.stills import StillsReader, index_stills

SPARSE: Final = 0.5  # share of a file's bytes; to read more of them saves little, and all can be checked


class LastIndex:
    """The index of the last file, for further segments of it: listing an hour of video takes some time."""

    def __init__(self) -> None:
        self._key: object = None
        self._kept: tuple[VideoIndex, Findings] | None = None

    def of(
        self,
        video: Video,
        where: str | RangedFile,
        findings: Findings,
        suffices: Callable[[VideoIndex], bool] | None = None,
    ) -> tuple[VideoIndex, Findings]:
        """The index of a file, and the findings about it. Raises VideoError. suffices: as for ``index_video``."""
        key = self._key_of(video, where, findings)
        kept = None if self._kept is None or key is None or key != self._key else self._kept[0]
        if kept is None or (kept.from_header and (suffices is None or not suffices(kept))):
            rate = video.frames_fps
            index = index_video(where, findings, suffices=suffices) if rate is None else index_stills(video.path, rate)
            self.keep(video, where, index, findings)
        assert self._kept is not None
        index, found = self._kept
        return index, found.copy()

    def keep(self, video: Video, where: str | RangedFile, index: VideoIndex, findings: Findings) -> None:
        """Use ``index`` for the video from now on."""
        self._key, self._kept = self._key_of(video, where, findings), (index, findings.copy())

    @staticmethod
    def _key_of(video: Video, where: str | RangedFile, findings: Findings) -> object:
        if isinstance(where, RangedFile):
            return where, findings.strict, findings.partial
        try:
            status = os.stat(where)
        except (OSError, ValueError):
            return None
        return (
            where,
            video.frames_fps,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            findings.strict,
            findings.partial,
        )


def read_clips(
    video: Video,
    spec: InputSpec,
    sampling: Sampling,
    *,
    where: str | RangedFile | None = None,
    threads: int | None = None,
    decoder: str = "cpu",
    room: Callable[[], UInt8Array] | None = None,
    partial: bool = False,
    strict: bool = False,
    distrust: bool = False,
    check: str = "read",
    indexes: LastIndex | None = None,
) -> Iterator[VideoStart | Clip | VideoEnd]:
    """Yield a VideoStart, the clips of ``video`` in time order, and a VideoEnd. Raises VideoError.

    Each clip gives one Clip per crop of ``spec``, in that order.

    If decoding shows that the frames differ from the file's index, the output restarts with another VideoStart. The
    caller must then discard all earlier items.

    where: the file, if it is not at the video's path.
    threads: number of decoder threads; None: one per core. decoder: "cpu" or "cuda", as for ``open_video``.
    room: called once per Clip; returns the (T, C, H, W) uint8 array for its pixels. None: a new array per Clip.
    partial: use the undamaged part of a damaged video; its VideoEnd reports the damage. Clips are left out if they
    need a frame that does not decode, or a frame between such a frame and the next keyframe.
    strict: an inconsistency counts as damage.
    distrust: list the frames by decoding them first, so that the output never restarts. This takes twice as long.
    check: "read": the frames may be listed from the file's header if the clips need less than half of the file. What
    no clip needs is then not read. "full": all packets are read.
    indexes: keeps the file's index for its next segment.
    Memory holds only the frames of one clip and of the clips that overlap it.
    """
    indexes, where = indexes or LastIndex(), video.path if where is None else where
    may_skip = check == "read" and not (strict or distrust)
    suffices = with_arguments(is_sparse, video=video, sampling=sampling) if may_skip else None
    index, findings = indexes.of(video, where, Findings(partial=partial, strict=strict), suffices)
    again = False
    if (distrust or (partial and strict and index.packets.broken.any())) and not index.recounted:
        index = recounted(where, index, findings)
    while True:
        plans = plan(index, video, sampling)
        yield VideoStart(len(plans), again)
        reading = _Reading(video, where, index, plans, findings.copy(), spec, threads or 0, decoder)
        try:
            yield from reading.items(room or (lambda: _new_clip(spec, sampling)))
            return
        except DoubtError:
            again = True
        if decoder == "cpu":  # only the CPU's result is final: a GPU may lack memory or not support the codec
            if index.from_header:
                findings = Findings(partial=partial, strict=strict)
                index = index_video(where, findings)
            else:
                index = recounted(where, index, findings)
            indexes.keep(video, where, index, findings)
        decoder = "cpu"


def read_plan(
    video: Video,
    sampling: Sampling,
    *,
    where: str | RangedFile | None = None,
    partial: bool = False,
    strict: bool = False,
    check: str = "read",
    indexes: LastIndex | None = None,
) -> Iterator[VideoStart | VideoEnd]:
    """The items of ``read_clips`` without the clips, from the packets alone. Raises VideoError."""
    suffices = with_arguments(is_sparse, video=video, sampling=sampling) if check == "read" and not strict else None
    where = video.path if where is None else where
    index, findings = (indexes or LastIndex()).of(video, where, Findings(partial=partial, strict=strict), suffices)
    yield VideoStart(len(plan(index, video, sampling)))
    yield VideoEnd(replace(index.info, remarks=findings.remarks, damage=findings.damage), 0)


def plan(index: VideoIndex, video: Video, sampling: Sampling) -> ClipPlans:
    """The clips that ``sampling`` takes from an indexed video. Raises VideoError for a segment outside the video."""
    origin = float(index.seconds[0]) if video.is_segment and video.segment_origin == "first-frame" else 0.0
    return plan_clips(
        index.seconds - origin,
        index.end_seconds - origin,
        sampling,
        start_seconds=video.start_seconds,
        stop_seconds=video.end_seconds,
        tick_seconds=index.tick_seconds,
    )


def is_sparse(index: VideoIndex, video: Video, sampling: Sampling) -> bool:
    """Whether the clips that ``sampling`` takes need less than SPARSE of the video's bytes, each from a keyframe on."""
    if index.numbers is None:
        return False
    try:
        plans = plan(index, video, sampling)
    except VideoError:
        return False
    if len(plans) * sampling.length > SPARSE * len(index):  # nearly always more; a plan of this size takes long
        return False
    wanted = plans.frames()
    begins = index.keyframes[np.searchsorted(index.keyframes, wanted, side="right") - 1]
    edges = np.zeros(len(index) + 1, np.int64)
    np.add.at(edges, begins, 1)
    np.add.at(edges, wanted + 1, -1)
    numbers, sizes = index.numbers, index.packets.sizes
    needed = np.cumsum(edges)[np.maximum(numbers, 0)] > 0
    return bool(sizes[needed & (numbers >= 0)].sum() <= SPARSE * sizes.sum())


def _new_clip(spec: InputSpec, sampling: Sampling) -> UInt8Array:
    return np.empty((sampling.length, spec.num_channels, *spec.size), np.uint8)


@dataclass(frozen=True)
class _Reading:
    """One pass through a video."""

    video: Video
    where: str | RangedFile
    index: VideoIndex
    plans: ClipPlans
    findings: Findings
    spec: InputSpec
    threads: int
    decoder: str

    def items(self, room: Callable[[], UInt8Array]) -> Iterator[Clip | VideoEnd]:
        index = self.index
        plans = self.plans.less(self._unusable()) if self.findings.partial else self.plans
        left_out = len(self.plans) - len(plans)
        if left_out:
            number = min(index.unusable)
            where = f"frame {number} at {index.seconds[number]:.2f} s"
            self.findings.failed(VideoError(f"damaged: {where} does not decode"))
        if not len(plans):
            raise VideoError(f"{self.findings.damage}; none of its clips can be used")
        wanted = plans.frames()
        with self._reader(self._decoded(wanted)) as reader:
            pictures = self._pictures(reader, wanted)
            for place, clip in enumerate(plans):
                following = int(plans[place + 1].frames[0]) if place + 1 < len(plans) else len(index)
                for pixels in pictures.crops(clip, room, kept_from=following):
                    yield _clip(pixels, clip, index)
            reader.finish()
        found = self.findings
        info = replace(index.info, remarks=found.remarks, damage=found.damage, clips_left_out=left_out)
        info = replace(info, first_seconds=float(index.seconds[0]))
        yield VideoEnd(replace(info, **pictures.shown), reader.decoded)

    def _unusable(self) -> Set[int]:
        """Frames without a picture. Flow also needs the next frame."""
        unusable = self.index.unusable
        return unusable if self.spec.channels != FLOW else {n for number in unusable for n in (number - 1, number)}

    def _decoded(self, wanted: Int64Array) -> Int64Array:
        return wanted if self.spec.channels != FLOW else frames_for_flow(wanted, len(self.index))

    def _pictures(self, reader: Iterable[tuple[int, av.VideoFrame]], wanted: Int64Array) -> "_Pictures":
        if self.spec.channels != FLOW:
            return _Pictures(reader, PictureMaker(self.spec))
        make = FlowMaker(self.spec)
        return _Pictures(make.pictures(reader, wanted.tolist()), make)

    @contextmanager
    def _reader(self, wanted: Int64Array) -> Iterator[FrameReader | CountedReader | StillsReader]:
        index, findings = self.index, self.findings
        if self.video.frames_fps is not None:
            yield StillsReader(self.video.path, wanted, findings)
            return
        with open_video(self.where, decoder=self.decoder) as (container, stream):
            reader: FrameReader | CountedReader
            if index.recounted:
                reader = CountedReader(container, stream, index, findings, wanted, threads=self.threads)
            else:
                listens = self.decoder == "cpu"
                reader = FrameReader(container, stream, index, wanted, findings, threads=self.threads, listens=listens)
            with closing(reader):
                yield reader


class _Pictures:
    """Pictures of a video's frames, each computed once. Pictures that later clips need are kept.

    With one crop, the kept pictures are cropped; with several, they are whole.

    shown: the actual size and rotation of the frames; empty until the first frame.
    """

    def __init__(self, frames: Iterable[tuple[int, Any]], make: PictureMaker | FlowMaker):
        self._frames, self._make = iter(frames), make
        self._kept: dict[int, UInt8Array] = {}
        self.shown: dict[str, Any] = {}

    def crops(self, clip: ClipPlan, room: Callable[[], UInt8Array], *, kept_from: int) -> Iterator[UInt8Array]:
        """Yield a clip's pictures once per crop, (T, C, H, W), each in a new ``room``.

        kept_from: the first frame that later clips need.
        """
        spec = self._make.spec
        if spec.crops == CENTRE:
            pixels = room()
            self._fill(pixels, clip, kept_from=kept_from)
            yield pixels
            return
        for number in map(int, clip.frames):
            if number not in self._kept:
                self._read_to(number, None)
        for name in spec.crops:
            pixels = room()
            for place, number in enumerate(map(int, clip.frames)):
                pixels[place] = self._make.crop(self._kept[number], name)
            yield pixels
        self._drop_before(kept_from)

    def _fill(self, pixels: UInt8Array, clip: ClipPlan, *, kept_from: int) -> None:
        """Write a clip's centre crops into (T, C, H, W) ``pixels``."""
        for place, number in enumerate(map(int, clip.frames)):
            if place and number == clip.frames[place - 1]:
                pixels[place] = pixels[place - 1]
            elif number in self._kept:
                pixels[place] = self._kept[number]
            else:
                self._read_to(number, pixels[place])
                if number >= kept_from:
                    self._kept[number] = pixels[place].copy()
        self._drop_before(kept_from)

    def _drop_before(self, kept_from: int) -> None:
        for number in [number for number in self._kept if number < kept_from]:
            del self._kept[number]

    def _read_to(self, wanted: int, room: UInt8Array | None) -> None:
        """Write the picture of frame ``wanted`` into ``room``. Keep the pictures before it, which later clips need.

        room: None keeps the whole picture of ``wanted``, too.
        """
        for number, frame in self._frames:
            try:
                if room is None:
                    picture = self._make.whole(frame)
                else:
                    picture = room if number == wanted else np.empty_like(room)
                    self._make(frame, picture)
            except (av.FFmpegError, ValueError, MemoryError) as error:
                raise VideoError(f"frame {number} cannot be resized ({error})") from None
            self.shown = self.shown or self._make.as_shown(frame)
            if room is None or number != wanted:
                self._kept[number] = picture
            if number == wanted:
                return


def _clip(pixels: UInt8Array, clip: ClipPlan, index: VideoIndex) -> Clip:
    first, last = int(clip.frames[0]), int(clip.frames[-1])
    seconds = float(index.seconds[first]), index.frame_ends(last)
    return Clip(pixels.transpose(0, 2, 3, 1), *seconds, clip.padded_frames, first)
