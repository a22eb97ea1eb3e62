"""Opening a video, and listing its frames from its packets without decoding."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial as with_arguments
from typing import BinaryIO, Final

import av
import numpy as np
from av.codec import codecs_available
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from p3dfeat.errors import NotAVideoError, VideoError
from p3dfeat.fingerprint import fingerprint_of, modified
from p3dfeat.text.counts import counted
from p3dfeat.types import Int64Array, SecondsArray, VideoInfo
from p3dfeat.video.containers import Delivered, container_of
from p3dfeat.video.containers.avi import AVI
from p3dfeat.video.containers.mp4 import MP4, coding_of
from p3dfeat.video.findings import Findings
from p3dfeat.video.heartbeat import tick
from p3dfeat.video.packets import Packets
from p3dfeat.video.ranged import RangedFile
from p3dfeat.video.reading.ffmpeg_log import Complaints
from p3dfeat.video.reading.header import packets_in_header
from p3dfeat.video.reading.listing import Listing
from p3dfeat.video.reading.opening import MAX_PIXELS, demuxed, open_container, opened, pass_on, reason
from p3dfeat.video.reading.timing import (
    MOST_REORDERED,
    frame_numbers,
    frame_times,
    presentation_times,
    usual_duration,
    with_leading_times,
)

# Video streams that are not videos: cover art, and thumbnails for seeking.
NO_VIDEO: Final = Disposition.attached_pic | Disposition.timed_thumbnails
PICTURES: Final = frozenset({"bmp", "gif", "mjpeg", "png", "webp"})  # codecs of cover art
MOST_READ: Final = 16  # bytes of packets per byte of the file: an index may list the same bytes any number of times
FROM_HEADER: Final = "header"  # how such a video was indexed
LONGEST_SECONDS: Final = 1e10  # 300 years: clocks that start in 1970 are far below


@dataclass(frozen=True)
class VideoIndex:
    """All frames of a video in display order, and their packets.

    seconds: (F,) display time of each frame; end_seconds: end time of the last frame.
    numbers: (P,) the frame of each packet, -1 for none. None if only decoding shows this; frames are then counted in
    decoding order, and seeking is not possible.
    timestamps: (F,) in units of the stream's clock, for seeking; None if frames are counted.
    keyframes: numbers of the frames at which decoding can begin; always contains 0.
    first: the packet at which decoding begins.
    left_out: packets that are not decoded: they are incomplete, or refer to frames that are not in the file.
    unusable: numbers of frames that do not decode. They are known only if ``recounted``.
    recounted: whether all frames were decoded to list them.
    from_header: whether the packets were listed from the file's header, without reading them.
    """

    seconds: SecondsArray
    end_seconds: float
    numbers: Int64Array | None
    timestamps: Int64Array | None
    keyframes: Int64Array
    tick_seconds: float
    info: VideoInfo
    packets: Packets
    first: int = 0
    left_out: frozenset[int] = frozenset()
    unusable: frozenset[int] = frozenset()
    recounted: bool = False
    from_header: bool = False

    def __len__(self) -> int:
        return len(self.seconds)

    def frame_ends(self, number: int) -> float:
        """End time of frame ``number`` in seconds."""
        return float(self.seconds[number + 1]) if number + 1 < len(self) else self.end_seconds


@contextmanager
def open_video(where: str | RangedFile, *, decoder: str = "cpu") -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its first real video stream. Raises VideoError with one line that does not name the path.

    decoder: "cpu", or "cuda": on a GPU if there is one that supports the codec, or else on the CPU.
    """
    with open_container(where, decoder=decoder) as container:
        stream = _first_real(container)
        if stream.codec_context is None:
            coding = _coding(where, stream.id) if container.format.name == MP4.name else ""
            raise VideoError(f"no decoder for its video stream{coding}; p3dfeat doctor lists the available codecs")
        if stream.width * stream.height > MAX_PIXELS:
            size, most = f"{stream.width} x {stream.height}", f"{MAX_PIXELS / 1e6:.0f} million pixels"
            raise VideoError(f"frames of {size} by its header; more than {most} are not read")
        yield container, stream


def _coding(where: str | RangedFile, track: int) -> str:
    with opened(where) as file:
        return coding_of(file, os.fstat(file.fileno()).st_size, track)


def _first_real(container: InputContainer) -> VideoStream:
    """The first stream with moving pictures: a still picture may precede it, and is not always marked."""
    streams = [stream for stream in container.streams.video if not stream.disposition & NO_VIDEO]
    if not streams:
        raise NotAVideoError("no video stream; is it an audio file?")
    longest = max(stream.frames for stream in streams)
    return next((stream for stream in streams if not _may_be_a_picture(stream, longest)), streams[0])


def _may_be_a_picture(stream: VideoStream, longest: int) -> bool:
    """longest: the largest number of frames in any stream. The first stream of an animated AVIF is a still picture."""
    context = stream.codec_context
    is_picture = context is not None and context.codec.canonical_name in PICTURES
    return stream.frames == 1 < longest or (is_picture and stream.frames <= 1)


def index_video(
    where: str | RangedFile, findings: Findings | None = None, *, suffices: Callable[[VideoIndex], bool] | None = None
) -> VideoIndex:
    """List the frames of a video, by reading its packets once or from its header. Raises VideoError.

    findings: collects findings about the file, and decides which of them end the reading.
    suffices: whether an index from the header suffices. It is asked if the header shows all frames and leaves no doubt;
    None: all packets are read.
    """
    findings = findings or Findings()
    complaints = Complaints()
    with closing(complaints), complaints.listening(), open_video(where) as (container, stream):
        try:
            with opened(where) as file:
                most_bytes = MOST_READ * os.fstat(file.fileno()).st_size
                listing = Listing(container, stream, findings, most_bytes=most_bytes)
                index = None if suffices is None else _index_from_header(container, stream, where, file, listing)
                if index is None or suffices is None or not suffices(index):
                    index = _index(container, stream, where, file, listing.read(), findings)
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"unreadable ({reason(error)})") from None
        # Decoders complain about packets before the first keyframe. Their messages count only when frames are read.
        if said := complaints.worst(but_not=codecs_available - {container.format.name}):
            findings.remark(said)
        return replace(index, info=replace(index.info, remarks=findings.remarks, damage=findings.damage))


def _index_from_header(
    container: InputContainer, stream: VideoStream, where: str | RangedFile, file: BinaryIO, listing: Listing
) -> VideoIndex | None:
    """The index of a video whose header lists its frames; None if that leaves a doubt."""
    record = container_of(container.format.name)
    if record.times_in_header is None:
        return None
    packets = packets_in_header(record, stream, file, listing.read(MOST_REORDERED))
    if packets is None:
        return None
    try:
        index = _index(container, stream, where, file, packets, Findings(strict=True), from_header=True)
    except VideoError:
        return None
    return replace(index, from_header=True, info=replace(index.info, indexed=FROM_HEADER))


def _index(
    container: InputContainer,
    stream: VideoStream,
    where: str | RangedFile,
    file: BinaryIO,
    packets: Packets,
    findings: Findings,
    *,
    from_header: bool = False,
) -> VideoIndex:
    record = container_of(container.format.name)
    if not len(packets):
        listed = len(stream.index_entries)
        elsewhere = f"lists {counted(listed, 'frame')}, but holds none; what it may refer to is not opened"
        raise VideoError(elsewhere if listed else "no frames in its video stream")
    if record.stores_dts and packets.parts[-1]:
        findings.remark("its clock goes back, as where recordings were joined: its frames are counted")
    packets = with_leading_times(packets)
    left_out = _lost(where, packets)
    if record.is_recording:
        left_out |= _broken_ends(packets, findings)
    if lost := int(packets.broken.sum()) - len(left_out & set(np.flatnonzero(packets.broken).tolist())):
        findings.remark(f"{lost} of its packets are incomplete or follow one that was lost")
    shown = packets.shown.copy()
    shown[: packets.first] = False
    shown[sorted(left_out)] = False
    if not shown.any():
        raise VideoError("no frames in its video stream")
    if packets.first:
        findings.remark(f"its first {packets.first} packets come before a keyframe, and are left out")
    tick_seconds = float(stream.time_base or 0)
    times = presentation_times(record, stream, packets, shown)
    if times is None:
        seconds, keyframes = frame_times(packets, np.flatnonzero(shown), stream), np.zeros(1, np.int64)
        numbers, timestamps, last_ticks = None, None, 0
        if record.shown == "stored" and not record.is_recording:
            findings.remark("its presentation times do not tell its frames apart: they are counted")
    else:
        numbers, timestamps = frame_numbers(packets, shown), times
        seconds = np.asarray(timestamps * tick_seconds, np.float64)
        keyframes = np.union1d([0], numbers[packets.keys & shown])
        if not record.seekable or packets.positions[packets.first] < 0:
            keyframes = keyframes[:1]
        last_ticks = int(packets.durations[shown & (packets.presented == timestamps[-1])][0])
        if packets.has_fields:  # the duration is that of one field
            last_ticks = 0
        last_ticks = max(last_ticks, packets.held_until - int(timestamps[-1]))
    usual = usual_duration(seconds, packets, stream)
    end = float(seconds[-1]) + (last_ticks * tick_seconds or usual)
    if not abs(end) < LONGEST_SECONDS:
        raise VideoError(f"damaged: by its times it runs to {end:.3g} s")
    info = _info(stream, file, num_frames=len(seconds), duration=end - float(seconds[0]))
    found = _delivered(container, stream, packets, seconds, end, usual)
    if from_header:
        found = replace(found, latest_end=_not_read)
    record.inspect(file, found, findings)
    return VideoIndex(
        seconds, end, numbers, timestamps, keyframes, tick_seconds, info, packets, packets.first, frozenset(left_out)
    )


def _broken_ends(packets: Packets, findings: Findings) -> set[int]:
    """Incomplete packets at the ends of a recording, which may start and end anywhere."""
    shown = np.flatnonzero(packets.shown)
    broken = {int(place) for place in shown[[0, -1]] if packets.broken[place]} if len(shown) else set()
    if broken:
        findings.remark("its first or last packet is incomplete, and its frame left out")
    return broken


def _lost(where: str | RangedFile, packets: Packets) -> set[int]:
    """Packets of frames that are shown before the first keyframe and do not decode, found by decoding the beginning.

    Such frames decode if the group of pictures is closed, or if they are RADL pictures.
    """
    leading = packets.leading()
    if not len(leading):
        return set()
    lost = set(leading.tolist())
    with open_video(where) as (container, stream):
        stream.thread_type = "SLICE"
        last = int(leading[-1])
        ahead = MOST_REORDERED
        for number, packet in enumerate(packet for packet in demuxed(container, stream) if packet.size):
            tick()
            if number < packets.first or not ahead:
                continue
            ahead -= number > last
            packet.pts, packet.dts = number, None
            try:
                lost -= {frame.pts for frame in stream.codec_context.decode(packet) if not frame.is_corrupt}
            except av.FFmpegError as error:
                pass_on(error)
            if not lost:
                break
        stream.codec_context.flush_buffers()
    return lost


def _delivered(
    container: InputContainer, stream: VideoStream, packets: Packets, seconds: SecondsArray, end: float, usual: float
) -> Delivered:
    record = container_of(container.format.name)
    own = stream.duration and record is MP4 and stream.duration * float(stream.time_base or 0)
    return Delivered(
        packets=packets,
        tick_seconds=float(stream.time_base or 0),
        seconds=seconds,
        end_seconds=end,
        frame_seconds=usual,
        stream_number=stream.index,
        stream_id=stream.id,
        listed_frames=stream.frames or (record.counts_as_duration and stream.duration) or 0,
        listed_seconds=own or (container.duration / 1e6 if container.duration and record is not AVI else None),
        index_entries=len(stream.index_entries),
        latest_end=with_arguments(_latest_end, container),
    )


def _not_read() -> float:
    raise VideoError("only reading all of it shows where it ends")


def _latest_end(container: InputContainer) -> float:
    """The end of the last packet of any stream, in seconds; sound may be longer than the video."""
    end = 0.0
    with suppress(av.FFmpegError, IndexError):
        container.seek(0)
        for packet in container.demux():
            tick()
            if packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return end


def _info(stream: VideoStream, file: BinaryIO, *, num_frames: int, duration: float) -> VideoInfo:
    status = os.fstat(file.fileno())
    aspect = stream.sample_aspect_ratio
    context = stream.codec_context
    return VideoInfo(
        duration_seconds=duration,
        frame_rate=num_frames / duration if duration > 0 else float(stream.average_rate or 0),
        num_frames=num_frames,
        width=stream.width,
        height=stream.height,
        rotation=0,  # unknown until a frame is decoded
        sample_aspect_ratio=f"{aspect.numerator}:{aspect.denominator}" if aspect else "1:1",
        codec=context.codec.canonical_name,
        pixel_format=stream.pix_fmt or "unknown",
        size_bytes=status.st_size,
        fingerprint=fingerprint_of(file),
        modified=modified(status),
    )
