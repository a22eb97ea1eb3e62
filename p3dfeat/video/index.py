"""Opening a video and listing its frames from its packets, without decoding any."""

import os
from array import array
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Final

import av
import numpy as np
from av.codec import codecs_available
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

from p3dfeat.errors import VideoError
from p3dfeat.fingerprint import fingerprint, modified
from p3dfeat.types import Int64Array, SecondsArray, VideoInfo
from p3dfeat.video.complaints import Complaints
from p3dfeat.video.completeness import check_whole
from p3dfeat.video.damage import Damage
from p3dfeat.video.delivered import Delivered, check_delivered
from p3dfeat.video.fields import fields_of
from p3dfeat.video.hidden import hidden_packets
from p3dfeat.video.limits import tick
from p3dfeat.video.trust import MAX_PIXELS, open_container, reason

# Containers that store no presentation times; what FFmpeg makes up for B-frames there is out of order.
CONTAINERS_WITHOUT_PTS: Final = frozenset({"avi", "h264", "hevc", "m4v", "mjpeg", "mpegvideo", "obu"})
# Containers that store no decoding times; what FFmpeg makes up for fields there goes back now and then.
CONTAINERS_WITHOUT_DTS: Final = frozenset({"matroska", "webm", "nut"})
# MPEG program streams time some frames only; after a seek FFmpeg guesses the others from another place.
CONTAINERS_NOT_SEEKABLE: Final = frozenset({"mpeg"})
# What else is listed among the video streams: cover art, and pictures to jump about by.
NO_VIDEO: Final = Disposition.attached_pic | Disposition.timed_thumbnails
PICTURES: Final = frozenset({"bmp", "gif", "mjpeg", "png", "webp"})  # codings that cover art has
MOST_READ: Final = 16  # bytes of packets for each byte of a file: an index may list the same ones any number of times
LONGEST_SECONDS: Final = 1e10  # 300 years: clocks that began in 1970 are well below
NO_TIME: Final = -(2**63)  # FFmpeg's AV_NOPTS_VALUE


@dataclass(frozen=True)
class VideoIndex:
    """Every frame of a video in the order shown.

    seconds: (F,) when each is shown; end_seconds: when the last is gone.
    timestamps: (F,) in units of the stream's clock, or None where frames can only be told apart by counting them.
    keyframes: numbers of the frames at which decoding can begin; always holds 0.
    """

    seconds: SecondsArray
    end_seconds: float
    timestamps: Int64Array | None
    keyframes: Int64Array
    tick_seconds: float
    info: VideoInfo
    has_keyframes: bool = True  # whether any packet is marked as one
    has_fields: bool = False  # whether there are frames of two packets each

    def __len__(self) -> int:
        return len(self.seconds)

    def frame_ends(self, number: int) -> float:
        """Seconds at which frame ``number`` gives way to the next."""
        return float(self.seconds[number + 1]) if number + 1 < len(self) else self.end_seconds

    def counted(self) -> "VideoIndex":
        """The same frames, found by counting instead of by timestamp; seeking is then out of the question."""
        return replace(self, timestamps=None, keyframes=np.zeros(1, np.int64))


@contextmanager
def open_video(path: str, *, decoder: str = "cpu") -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its first real video stream. Raises VideoError in a line without the path.

    decoder: "cpu", or "cuda": on a GPU where there is one that can, or else on the CPU.
    """
    with open_container(path, decoder=decoder) as container:
        stream = _first_real(container)
        if stream.codec_context is None:
            raise VideoError("no decoder for its video stream; see p3dfeat doctor for the codecs at hand")
        _check_size(stream)
        yield container, stream


def _first_real(container: InputContainer) -> VideoStream:
    """The first stream that moves: a picture may come before it, and is not always marked as such."""
    streams = [stream for stream in container.streams.video if not stream.disposition & NO_VIDEO]
    if not streams:
        raise VideoError("no video stream; is it an audio file?")
    longest = max(stream.frames for stream in streams)
    return next((stream for stream in streams if not _may_be_a_picture(stream, longest)), streams[0])


def _may_be_a_picture(stream: VideoStream, longest: int) -> bool:
    """longest: the most frames that any stream lists; of an animated AVIF, the first stream is a still one."""
    context = stream.codec_context
    is_picture = context is not None and context.codec.canonical_name in PICTURES
    return stream.frames == 1 < longest or (is_picture and stream.frames <= 1)


def _check_size(stream: VideoStream) -> None:
    """Raise VideoError for frames that are too large to be looked at."""
    if stream.width * stream.height > MAX_PIXELS:
        most = f"{MAX_PIXELS / 1e6:.0f} million pixels"
        raise VideoError(f"frames of {stream.width} x {stream.height} by its header; more than {most} are not read")


def index_video(path: str, *, partial: bool = False) -> VideoIndex:
    """List the frames of a video by reading its packets once. Raises VideoError.

    partial: a damaged one is listed as far as it can be; its info says what is wrong.
    """
    complaints, damage = Complaints(), Damage(tolerated=partial)
    with closing(complaints), complaints.listening(), open_video(path) as (container, stream):
        with damage.noted():
            check_whole(path, container.format.name)
        try:
            index = _index(container, stream, path, damage)
        except (av.FFmpegError, OSError, IndexError) as error:  # IndexError: of a stream that FFmpeg found late
            raise VideoError(f"unreadable ({reason(error)})") from None
        # Decoders say a thing or two of what comes before the first keyframe: they count where they are wanted.
        if said := complaints.damage(but_not=codecs_available - {container.format.name}):
            damage.found(VideoError(f"damaged ({said})"))
        return replace(index, info=replace(index.info, damage=damage.reason))


@dataclass(frozen=True)
class _Packets:
    """What the packets of a stream say, in the file's order; times in ticks, NO_TIME where there is none."""

    presented: Int64Array
    decoded: Int64Array
    durations: Int64Array
    keys: NDArray[np.bool_]
    shown: NDArray[np.bool_]  # neither cut away by an edit list nor hidden, nor the second half of a frame
    held_until: int  # when what shows nothing ends, and with it what was shown before; NO_TIME where there is nothing
    has_fields: bool  # whether some are halves of frames

    def decodable(self) -> "_Packets":
        """Less what comes before the first keyframe: of a recording cut anywhere it refers to what is lost."""
        keys = np.flatnonzero(self.keys)
        first = int(keys[0]) if len(keys) else 0
        place = np.arange(len(self.keys))
        kept = place >= first
        if self.presented[first] != NO_TIME:
            kept &= (self.presented >= self.presented[first]) | (self.presented == NO_TIME)
        if len(keys) > 1:  # from there on, what is shown "before" is another recording, joined on, or damage
            kept |= place >= keys[1]
        return replace(
            self,
            presented=self.presented[kept],
            decoded=self.decoded[kept],
            durations=self.durations[kept],
            keys=self.keys[kept],
            shown=self.shown[kept],
        )

    @property
    def run_back(self) -> bool:
        """Whether the clock by which they are decoded ever goes back, as where recordings were joined."""
        known = self.decoded[self.decoded != NO_TIME]
        return bool(np.any(np.diff(known) < 0))


class _Listing:
    """The packets of a stream as they are read; 26 bytes each, however long the video."""

    def __init__(self, stream: VideoStream):
        self.presented, self.decoded, self.durations = array("q"), array("q"), array("q")
        self.keys, self.shown = bytearray(), bytearray()
        self.held_until = NO_TIME
        self._hides, self._fields = hidden_packets(stream), fields_of(stream)

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, packet: "Packet[VideoStream]") -> None:
        hidden = self._hides is not None and self._hides(packet)
        if hidden:
            self.hold(packet)
        is_half = self._fields is not None and self._fields.is_second(packet)
        self.presented.append(NO_TIME if packet.pts is None else packet.pts)
        self.decoded.append(NO_TIME if packet.dts is None else packet.dts)
        self.durations.append(packet.duration or 0)
        self.keys.append(packet.is_keyframe and not is_half)
        self.shown.append(not (packet.is_discard or hidden or is_half))

    def hold(self, packet: "Packet[VideoStream]") -> None:
        """Note a packet for whose time what was shown before stays."""
        if packet.pts is not None and not packet.is_discard:
            self.held_until = max(self.held_until, packet.pts + (packet.duration or 0))

    def packets(self) -> _Packets:
        has_fields = self._fields is not None and self._fields.found
        if self._fields is not None and has_fields:
            # Of a recording cut anywhere the first and the last may lack their other half, and are not shown.
            for place in {0, len(self) - 1}.intersection(self._fields.alone()):
                self.keys[place] = self.shown[place] = False
        return _Packets(
            np.array(self.presented, np.int64),
            np.array(self.decoded, np.int64),
            np.array(self.durations, np.int64),
            np.array(self.keys, np.bool_),
            np.array(self.shown, np.bool_),
            self.held_until,
            has_fields,
        )


def _read_packets(
    container: InputContainer, stream: VideoStream, damage: Damage, *, most_bytes: int
) -> tuple[_Packets, int]:
    """The packets, and how many bytes they hold."""
    read_bytes = 0
    listing = _Listing(stream)
    try:
        for packet in container.demux(stream):
            tick()
            if packet.size == 0:  # the end, or that nothing changes
                listing.hold(packet)
                continue
            if packet.is_corrupt:
                damage.found(VideoError(f"damaged or cut off: packet {len(listing)} of its video stream is incomplete"))
            read_bytes += packet.size
            if read_bytes > most_bytes:
                raise VideoError(f"damaged: lists the same bytes over and over, as {len(listing):,} frames so far")
            listing.add(packet)
    except av.FFmpegError as error:
        damage.found(VideoError(f"unreadable after {len(listing)} frames ({reason(error)})"))
    return listing.packets(), read_bytes


def _index(container: InputContainer, stream: VideoStream, path: str, damage: Damage) -> VideoIndex:
    packets, size_bytes = _read_packets(container, stream, damage, most_bytes=MOST_READ * os.path.getsize(path))
    whole = packets
    num_packets = len(packets.keys)
    if num_packets:
        packets = packets.decodable()
    elif listed := len(stream.index_entries):
        raise VideoError(f"none of the {listed} frames it lists is in it; what it may refer to is not opened")
    if not packets.shown.any():
        raise VideoError("no frames in its video stream")
    tick = float(stream.time_base or 0)
    timestamps = _presentation_times(container.format.name, packets)
    if timestamps is None:
        seconds, keyframes = _counted_times(packets, stream, tick), np.zeros(1, np.int64)
        last_ticks = 0
    else:
        seconds = np.asarray(timestamps * tick, np.float64)
        key_times = packets.presented[packets.keys & packets.shown]
        keyframes = np.union1d([0], np.searchsorted(timestamps, key_times))
        if container.format.name in CONTAINERS_NOT_SEEKABLE:
            keyframes = keyframes[:1]
        last_ticks = int(packets.durations[packets.shown & (packets.presented == timestamps[-1])][0])
        if packets.has_fields:  # that is a half's
            last_ticks = 0
        last_ticks = max(last_ticks, packets.held_until - int(timestamps[-1]))
    typical = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
    usual = typical or float(packets.durations[-1]) * tick or 1 / float(stream.average_rate or 25)
    end = float(seconds[-1]) + (last_ticks * tick or usual)
    if not abs(end) < LONGEST_SECONDS:
        raise VideoError(f"damaged: by its times it runs to {end:.3g} s")
    timeless = int(((packets.presented == NO_TIME) & (packets.decoded == NO_TIME)).sum())
    found = Delivered(num_packets, size_bytes, int(packets.decoded[-1]), end, usual, timeless, bool(whole.keys[0]))
    with damage.noted():
        check_delivered(path, container, stream, found)
    info = _info(stream, path, num_frames=len(seconds), duration=end - float(seconds[0]))
    return VideoIndex(seconds, end, timestamps, keyframes, tick, info, bool(packets.keys.any()), packets.has_fields)


def _presentation_times(container: str, packets: _Packets) -> Int64Array | None:
    """The frames' presentation times in order, or None where they do not tell the frames apart."""
    times, kinds = packets.presented[packets.shown], container.split(",")
    if not CONTAINERS_WITHOUT_PTS.isdisjoint(kinds) or NO_TIME in times:
        return None
    if packets.run_back and not (packets.has_fields and not CONTAINERS_WITHOUT_DTS.isdisjoint(kinds)):
        return None
    times = np.sort(times)
    return times if np.all(np.diff(times) > 0) else None


def _counted_times(packets: _Packets, stream: VideoStream, tick: float) -> SecondsArray:
    """When frames are shown in a file without presentation times: its decoding times in order, else its rate."""
    times = packets.decoded[packets.shown]
    if NO_TIME not in times and np.all(np.diff(times) > 0):
        return np.asarray(times * tick, np.float64)
    return np.arange(len(times)) / float(stream.average_rate or stream.guessed_rate or 25)


def _info(stream: VideoStream, path: str, *, num_frames: int, duration: float) -> VideoInfo:
    status = os.stat(path)
    aspect = stream.sample_aspect_ratio
    context = stream.codec_context
    return VideoInfo(
        duration_seconds=duration,
        frame_rate=num_frames / duration if duration > 0 else float(stream.average_rate or 0),
        num_frames=num_frames,
        width=stream.width,
        height=stream.height,
        rotation=0,  # known once a frame is decoded
        sample_aspect_ratio=f"{aspect.numerator}:{aspect.denominator}" if aspect else "1:1",
        codec=context.codec.canonical_name,
        pixel_format=stream.pix_fmt or "unknown",
        size_bytes=status.st_size,
        fingerprint=fingerprint(path),
        modified=modified(status),
    )
