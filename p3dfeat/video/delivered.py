"""Whether FFmpeg delivered all the packets that a file announces: it takes damage for the end."""

import os
from dataclasses import dataclass
from typing import Final

from av.container import InputContainer
from av.video.stream import VideoStream

from p3dfeat.errors import VideoError
from p3dfeat.video import asf, riff
from p3dfeat.video.limits import tick

TIMED: Final = frozenset({"matroska,webm", "flv", "mov,mp4,m4a,3gp,3g2,mj2"})  # in which each packet has a time
LONGEST_LINE: Final = 256  # of YUV4MPEG2, of which FFmpeg reads no longer ones


@dataclass(frozen=True)
class Delivered:
    """What came of a video stream's packets."""

    packets: int
    size_bytes: int
    last_decoding_time: int  # in ticks
    end_seconds: float  # when the last frame is gone
    frame_seconds: float  # from one frame to the next, usually
    without_time: int  # packets, neither for decoding nor for showing
    begins_with_key: bool  # whether the first packet is marked as a keyframe


def check_delivered(path: str, container: InputContainer, stream: VideoStream, found: Delivered) -> None:
    """Raise VideoError where the packets are fewer than the header says, or stop well before."""
    kind, listed = container.format.name, stream.frames
    # MP4's index, less what an edit list cuts away, is read before its packets are.
    if "mp4" in kind and found.packets < len(stream.index_entries):
        entries = len(stream.index_entries)
        raise VideoError(f"damaged or cut off: its index lists {entries} frames, only {found.packets} can be read")
    if kind == "avi":
        _check_avi(path, stream, found)
    elif (
        "mp4" in kind
        and len(stream.index_entries)
        and stream.index_entries[0].is_keyframe
        and not found.begins_with_key
    ):
        raise VideoError("damaged: its first frame is no keyframe, as its index says it is")
    elif found.without_time and container.format.name in TIMED:
        raise VideoError(f"damaged: {found.without_time} of its frames have no time")
    elif kind == "yuv4mpegpipe":
        _check_y4m(path, found)
    elif kind == "mxf" and found.packets < (stream.duration or 0):
        raise VideoError(f"damaged: its header lists {stream.duration} frames, {found.packets} can be found")
    elif kind == "apng" and listed and found.packets != listed:
        raise VideoError(f"damaged or cut off: its header lists {listed} frames, {found.packets} can be found")
    elif kind == "asf" and asf.is_live(path):
        return  # its duration is FFmpeg's estimate
    elif ("matroska" in kind or kind in ("flv", "mxf", "asf", "ivf")) and container.duration is not None:
        announced = container.duration / 1_000_000
        slack = max(1.5 * found.frame_seconds, 0.01 * announced)
        if found.end_seconds < announced - slack and _last_end(container) < announced - slack:
            end = found.end_seconds
            raise VideoError(f"damaged or cut off: {announced:.1f} s by its header, only {end:.1f} s found")


def _check_avi(path: str, stream: VideoStream, found: Delivered) -> None:
    index = riff.listed_frames(path, stream.index)
    if index is not None and (index.frames, index.size_bytes) != (found.packets, found.size_bytes):
        text = f"{index.frames} frames of {index.size_bytes:,} bytes"
        raise VideoError(f"damaged: its index lists {text}, found are {found.packets} of {found.size_bytes:,}")
    if riff.is_open(path):
        return
    # AVI counts its dropped frames, which are no packets, in its time stamps.
    counted, listed = found.last_decoding_time + 1, stream.frames
    slots_a_frame = -(-counted // max(1, found.packets))  # those of the last one are not seen
    slack = 0 if index is None else max(2, listed // 100, slots_a_frame)
    if counted < listed - slack:
        raise VideoError(f"damaged or cut off: its header lists {listed} frames, only {counted} can be found")


def _last_end(container: InputContainer) -> float:
    """When the last packet of any stream ends, in seconds; sound may go on after the picture."""
    container.seek(0)
    end = 0.0
    for packet in container.demux():
        tick()
        if packet.pts is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return end


def _check_y4m(path: str, found: Delivered) -> None:
    """Frames of one size, each after a line of its own, up to the end."""
    length = found.size_bytes // found.packets
    with open(path, "rb") as file:
        file.readline(LONGEST_LINE)
        for _ in range(found.packets):
            tick()
            file.readline(LONGEST_LINE)
            file.seek(length, os.SEEK_CUR)
        if file.tell() != os.path.getsize(path):
            raise VideoError(f"damaged or cut off: its last bytes are no whole frame, after {found.packets}")
