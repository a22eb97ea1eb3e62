"""Opening a video and listing its frames from its packets, without decoding any."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from p3dfeat.errors import VideoError
from p3dfeat.types import Int64Array, SecondsArray, VideoInfo
from p3dfeat.video.truncation import check_whole

# Containers that store no presentation times; what FFmpeg makes up for B-frames there is out of order.
CONTAINERS_WITHOUT_PTS = frozenset({"avi", "h264", "hevc", "m4v", "mjpeg", "mpegvideo", "obu"})


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

    def __len__(self) -> int:
        return len(self.seconds)

    def frame_ends(self, number: int) -> float:
        """Seconds at which frame ``number`` gives way to the next."""
        return float(self.seconds[number + 1]) if number + 1 < len(self) else self.end_seconds

    def keyframe_before(self, number: int) -> int:
        """Number of the last keyframe at or before frame ``number``."""
        return int(self.keyframes[np.searchsorted(self.keyframes, number, side="right") - 1])

    def counted(self) -> "VideoIndex":
        """The same frames, found by counting instead of by timestamp; seeking is then out of the question."""
        return replace(self, timestamps=None, keyframes=np.zeros(1, np.int64))


@contextmanager
def open_video(path: str) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its first real video stream. Raises VideoError in a line without the path."""
    try:
        # "file:" keeps FFmpeg from reading a protocol into a name with a colon.
        container = av.open("file:" + path, metadata_errors="replace")
    except FileNotFoundError:
        raise VideoError("no such file") from None
    except PermissionError:
        raise VideoError("not readable; check its permissions") from None
    except (av.FFmpegError, OSError, ValueError) as error:
        if os.path.isfile(path) and os.path.getsize(path) == 0:
            raise VideoError("empty file, 0 bytes") from None
        raise VideoError(f"not a video, or damaged beyond opening ({_reason(error)})") from None
    with container:
        for stream in container.streams.video:
            if not stream.disposition & Disposition.attached_pic:
                if stream.codec_context is None:
                    raise VideoError("no decoder for its video stream; see p3dfeat doctor for the codecs at hand")
                yield container, stream
                return
        raise VideoError("no video stream; is it an audio file?")


def index_video(path: str) -> VideoIndex:
    """List the frames of a video by reading its packets once. Raises VideoError."""
    with open_video(path) as (container, stream):
        check_whole(path)
        return _index(container, stream, path)


def _index(container: InputContainer, stream: VideoStream, path: str) -> VideoIndex:
    presented: list[int | None] = []
    decoded: list[int | None] = []
    keys: list[bool] = []
    last_duration = hidden = 0
    try:
        for packet in container.demux(stream):
            if packet.size == 0 or packet.is_discard:  # the end, or cut away by an edit list
                hidden += packet.is_discard
                continue
            if packet.is_corrupt:
                raise VideoError(f"damaged or cut off: packet {len(presented)} of its video stream is incomplete")
            presented.append(packet.pts)
            decoded.append(packet.dts)
            keys.append(packet.is_keyframe)
            last_duration = packet.duration or 0
    except av.FFmpegError as error:
        raise VideoError(f"unreadable after {len(presented)} frames ({_reason(error)})") from None
    if not presented:
        raise VideoError("no frames in its video stream")

    tick = float(stream.time_base or 0)
    keyframes = np.flatnonzero(keys)
    timestamps = _presentation_times(container.format.name, presented, int(keyframes[0]) if len(keyframes) else 0)
    if timestamps is None:
        seconds = _counted_times(decoded, stream, tick)
        numbers = np.zeros(1, np.int64)
    else:
        seconds = np.asarray(timestamps * tick, np.float64)
        key_times = np.array([presented[i] for i in keyframes], np.int64)
        numbers = np.unique(np.searchsorted(timestamps, key_times)) if len(key_times) else np.zeros(1, np.int64)
        if numbers[0] != 0:
            numbers = np.insert(numbers, 0, 0)
    typical = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
    last = typical or last_duration * tick or (1 / float(stream.average_rate) if stream.average_rate else 0.0)
    end = float(seconds[-1]) + (last_duration * tick if timestamps is not None and last_duration else last)
    _check_end(container, stream, num_packets=len(presented) + hidden, last_dts=decoded[-1], end_seconds=end)
    info = _info(stream, path, num_frames=len(seconds), duration=end - float(seconds[0]))
    return VideoIndex(seconds, end, timestamps, numbers, tick, info)


def _check_end(
    container: InputContainer, stream: VideoStream, *, num_packets: int, last_dts: int | None, end_seconds: float
) -> None:
    """Raise VideoError where the packets stop well before the header says: FFmpeg takes damage for the end."""
    kind, listed = container.format.name, stream.frames
    if "mp4" in kind and num_packets < listed:
        raise VideoError(f"cut off: its header lists {listed} frames, the file holds {num_packets}")
    # AVI counts its dropped frames, which are no packets, in its time stamps.
    if kind == "avi" and last_dts is not None and last_dts + 1 < listed - max(2, listed // 100):
        raise VideoError(f"damaged or cut off: its header lists {listed} frames, only {last_dts + 1} can be found")
    if "matroska" in kind and container.duration is not None:
        announced = container.duration / 1_000_000
        slack = max(0.5, 0.02 * announced)
        if end_seconds < announced - slack and _last_end(container) < announced - slack:
            raise VideoError(f"damaged or cut off: {announced:.1f} s by its header, only {end_seconds:.1f} s found")


def _last_end(container: InputContainer) -> float:
    """When the last packet of any stream ends, in seconds; sound may go on after the picture."""
    container.seek(0)
    ends = [
        float((packet.pts + (packet.duration or 0)) * packet.time_base)
        for packet in container.demux()
        if packet.pts is not None
    ]
    return max(ends, default=0.0)


def _presentation_times(container: str, presented: list[int | None], first_key: int) -> Int64Array | None:
    """The packets' presentation times in order, or None where they do not tell the frames apart."""
    if not CONTAINERS_WITHOUT_PTS.isdisjoint(container.split(",")) or None in presented:
        return None
    times = np.array(presented, np.int64)
    # Before the first keyframe, in the file or on screen, nothing can be decoded.
    times = np.sort(times[first_key:][times[first_key:] >= times[first_key]])
    return times if np.all(np.diff(times) > 0) else None


def _counted_times(decoded: list[int | None], stream: VideoStream, tick: float) -> SecondsArray:
    """When frames are shown in a file without presentation times: its decoding times in order, else its rate."""
    if None not in decoded:
        times = np.array(decoded, np.int64)
        if np.all(np.diff(times) > 0):
            return np.asarray(times * tick)
    rate = float(stream.average_rate or stream.guessed_rate or 25)
    return np.arange(len(decoded)) / rate


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
        modified=datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="seconds"),
    )


def _reason(error: Exception) -> str:
    """What FFmpeg says, without its number and the path."""
    text = getattr(error, "strerror", None) or str(error)
    return str(text).split(":")[0].strip() or type(error).__name__
