"""What is known of a container, in one record: how far its times can be trusted, and how a missing end shows."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import BinaryIO, Final, Literal

import numpy as np

from p3dfeat.errors import VideoError
from p3dfeat.types import SecondsArray
from p3dfeat.video.findings import Findings
from p3dfeat.video.packets import NO_TIME, Packets

EVEN, NEARLY_ALL = 0.3, 0.8  # part of their usual length by which frames may differ; part of all frames
MISSING: Final = 8.5  # times the usual length: of a frame before many that are missing
SLACK_FRAMES: Final = 1.5  # by which the duration in a header may differ from the frames found, beside ...
SLACK: Final = 0.01  # ... this part of it


@dataclass(frozen=True)
class Delivered:
    """What FFmpeg delivered of a file's video stream, and what the file's header says of it."""

    packets: Packets
    tick_seconds: float
    seconds: SecondsArray  # when each frame is shown
    end_seconds: float  # when the last frame is gone
    frame_seconds: float  # from one frame to the next, usually
    stream_number: int
    stream_id: int  # by the container
    listed_frames: int  # by the header; 0 where it does not say
    listed_seconds: float | None  # by the header
    index_entries: int  # frames in FFmpeg's index, which it read or made while reading
    latest_end: Callable[[], float]  # when the last packet of any stream ends, in seconds; reads the file once more
    size_bytes: int = 0  # of the file

    @property
    def lacks_seconds(self) -> float:
        """How many seconds are missing at the end, by the header; 0 or less where none are."""
        if self.listed_seconds is None:
            return 0.0
        slack = max(SLACK_FRAMES * self.frame_seconds, SLACK * self.listed_seconds)
        missing = self.listed_seconds - slack - self.end_seconds
        return missing if missing <= 0 else self.listed_seconds - slack - max(self.end_seconds, self.latest_end())


Check = Callable[[BinaryIO, Delivered, Findings], None]


@dataclass(frozen=True)
class Container:
    """One container, or one kind of bare stream.

    name: what FFmpeg calls it.
    shown: when frames are shown is "stored"; it is stored as when they are decoded, which is the same where they are
    shown "in order"; or it is "made up" by FFmpeg, which is wrong wherever frames are not shown in order.
    stores_dts: whether it stores when frames are decoded.
    seekable: whether frames have the same times after a seek.
    is_recording: whether files may begin and end inside a packet, as broadcasts that were recorded.
    counts_as_duration: whether FFmpeg gives the header's count of frames as the duration.
    check: looks at the file's end, and at counts. ``failed`` is for files that end before their header says, and for
    nothing else; whatever else does not add up is a ``remark``.
    """

    name: str
    shown: Literal["stored", "in order", "made up"] = "stored"
    stores_dts: bool = True
    seekable: bool = True
    is_recording: bool = False
    counts_as_duration: bool = False
    check: Check | None = None

    def inspect(self, file: BinaryIO, found: Delivered, findings: Findings) -> None:
        """Report what is missing or does not add up in a file, which is open."""
        if found.packets.broken[-1] and not self.is_recording:
            findings.failed(VideoError("damaged or cut off: its last packet is incomplete"))
        if self.check is not None:
            file.seek(0)
            self.check(file, replace(found, size_bytes=os.fstat(file.fileno()).st_size), findings)
        untimed = int(((found.packets.presented == NO_TIME) & (found.packets.decoded == NO_TIME)).sum())
        if untimed and self.shown == "stored" and not self.is_recording:
            findings.remark(f"{untimed} of its packets have no time")
        lengths, usual = np.diff(found.seconds), found.frame_seconds
        even = bool(len(lengths)) and np.mean(abs(lengths - usual) < EVEN * usual) > NEARLY_ALL
        if even and lengths.max() > MISSING * usual:
            findings.remark(f"one of its frames lasts {lengths.max():.2f} s, the others {usual:.2f} s")
        if not self.is_recording and found.lacks_seconds > 0:
            announced = found.listed_seconds or 0.0
            findings.remark(f"{announced:.2f} s by its header, {found.end_seconds:.2f} s found")


def judge_cut(found: Delivered, findings: Findings, announced_bytes: int) -> None:
    """A file shorter than its header says is cut off where frames are missing, by the header's duration."""
    missing = found.listed_seconds is not None and found.end_seconds < found.listed_seconds - 1.5 * found.frame_seconds
    if missing:
        findings.failed(cut_off(found.size_bytes, announced_bytes))
    findings.remark(f"cut off behind its last frame: {found.size_bytes:,} bytes of {announced_bytes:,}")


def cut_off(size_bytes: int, announced_bytes: int) -> VideoError:
    """The file is shorter than its header says."""
    return VideoError(f"cut off: {size_bytes:,} bytes of at least {announced_bytes:,} that its header announces")


def read_at(file: BinaryIO, place: int, length: int) -> bytes:
    """Up to ``length`` bytes from ``place`` on; negative: counted from the end of the file."""
    file.seek(max(0, file.seek(0, os.SEEK_END) + place) if place < 0 else place)
    return file.read(length)
