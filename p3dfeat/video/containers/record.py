"""The record of a container: how reliable its times are, and how a missing end is detected."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import BinaryIO, Final, Literal

import numpy as np

from p3dfeat.errors import VideoError
from p3dfeat.text.counts import counted
from p3dfeat.types import Int64Array, SecondsArray
from p3dfeat.video.findings import Findings
from p3dfeat.video.packets import NO_TIME, Packets

EVEN, NEARLY_ALL = 0.3, 0.8  # allowed relative difference from the usual frame length; share of frames within it
MISSING: Final = 8.5  # times the usual length: a longer frame means that frames after it are missing
SLACK_FRAMES: Final = 1.5  # allowed difference between the header's duration and the frames found, in frames, or ...
SLACK: Final = 0.01  # ... as a share of the duration; the larger one counts


@dataclass(frozen=True)
class Delivered:
    """The data of a video stream as FFmpeg delivered it, and the values in the file's header."""

    packets: Packets
    tick_seconds: float
    seconds: SecondsArray  # display time of each frame
    end_seconds: float  # end time of the last frame
    frame_seconds: float  # usual time between two frames
    stream_number: int
    stream_id: int  # in the container
    listed_frames: int  # in the header; 0 if unknown
    listed_seconds: float | None  # in the header
    index_entries: int  # frames in FFmpeg's index, which it read or created while reading
    latest_end: Callable[[], float]  # end of the last packet of any stream, in seconds; reads the file once more
    size_bytes: int = 0  # size of the file

    @property
    def lacks_seconds(self) -> float:
        """Seconds missing at the end, compared with the header; 0 or less if none are missing."""
        if self.listed_seconds is None:
            return 0.0
        slack = max(SLACK_FRAMES * self.frame_seconds, SLACK * self.listed_seconds)
        missing = self.listed_seconds - slack - self.end_seconds
        return missing if missing <= 0 else self.listed_seconds - slack - max(self.end_seconds, self.latest_end())


Check = Callable[[BinaryIO, Delivered, Findings], None]
# Of an open file, its size and the number of a stream: durations of all packets, and the time between decoding and
# showing each, in ticks; None if the header does not list all packets in full.
HeaderTimes = Callable[[BinaryIO, int, int], tuple[Int64Array, Int64Array] | None]


@dataclass(frozen=True)
class Container:
    """One container, or one kind of bare stream.

    name: FFmpeg's name of it.
    shown: "stored": presentation times are stored. "in order": only decoding times are stored; they are the same if
    frames are shown in decoding order. "made up": FFmpeg invents the times; they are wrong if frames are not shown in
    decoding order.
    stores_dts: whether decoding times are stored.
    seekable: whether frames have the same times after a seek.
    is_recording: whether files may begin and end inside a packet, as recorded broadcasts do.
    counts_as_duration: whether FFmpeg gives the header's frame count as the duration.
    times_in_header: reads the times that its header lists; None if headers of this kind do not list them.
    check: checks the file's end and counts. It calls ``failed`` only for files that end before the end given in their
    header. Every other inconsistency is a ``remark``.
    """

    name: str
    shown: Literal["stored", "in order", "made up"] = "stored"
    stores_dts: bool = True
    seekable: bool = True
    is_recording: bool = False
    counts_as_duration: bool = False
    times_in_header: HeaderTimes | None = None
    check: Check | None = None

    def inspect(self, file: BinaryIO, found: Delivered, findings: Findings) -> None:
        """Report missing data and inconsistencies of an open file."""
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
    """Judge a file that is shorter than its header says: it failed if the header's duration shows missing frames."""
    missing = found.listed_seconds is not None and found.end_seconds < found.listed_seconds - 1.5 * found.frame_seconds
    if missing:
        findings.failed(cut_off(found.size_bytes, announced_bytes))
    findings.remark(f"cut off after its last frame: {counted(found.size_bytes, 'byte')} of {announced_bytes:,}")


def cut_off(size_bytes: int, announced_bytes: int) -> VideoError:
    """The error for a file that is shorter than its header says."""
    there = counted(size_bytes, "byte")
    return VideoError(f"cut off: {there} of at least {announced_bytes:,} that its header announces")


def read_at(file: BinaryIO, place: int, length: int) -> bytes:
    """Up to ``length`` bytes from ``place`` on. A negative place counts from the end of the file."""
    file.seek(max(0, file.seek(0, os.SEEK_END) + place) if place < 0 else place)
    return file.read(length)
