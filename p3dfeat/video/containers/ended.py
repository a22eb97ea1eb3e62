"""Containers with an end mark, and some with a frame count."""

from typing import BinaryIO, Final

from p3dfeat.errors import VideoError
from p3dfeat.text.counts import counted
from p3dfeat.video.containers.record import Check, Container, Delivered, cut_off, read_at
from p3dfeat.video.findings import Findings

TAIL: Final = 1 << 12  # bytes searched for an end mark: other bytes may follow it
GIF_END: Final = b"\0;"  # end of the last picture or extension, and of the file (GIF89a, 27)
GIF_PICTURE: Final = b"!\xf9\x04"  # first bytes of a picture in an animated GIF
MOST_BEHIND: Final = 1 << 20  # bytes searched after the last picture
Y4M_FRAME: Final = b"FRAME"  # first bytes of the line before a frame
LONGEST_LINE: Final = 256  # bytes; FFmpeg reads no longer lines of YUV4MPEG2
PAGE: Final = b"OggS"
LONGEST_PAGE: Final = 27 + 255 + 255 * 255  # bytes (RFC 3533, 6)
LAST: Final = 4  # page flag: last page of its stream


def check_ogg(file: BinaryIO, found: Delivered, findings: Findings) -> None:
    """The last page must be complete, and marked as the last of its stream."""
    tail = read_at(file, -LONGEST_PAGE, LONGEST_PAGE)
    page = tail[tail.rfind(PAGE) :]
    segments = page[27 : 27 + page[26]] if len(page) > 27 else b""
    if len(page) < 27 + len(segments) + sum(segments) or len(page) < 28 or not page[5] & LAST:
        findings.remark("its last page is incomplete, or not marked as the last: it may be cut off")


def check_gif(file: BinaryIO, found: Delivered, findings: Findings) -> None:
    """The end mark must exist and follow the last picture: FFmpeg adds data after the mark to its last packet."""
    if GIF_END not in read_at(file, -TAIL, TAIL):
        findings.remark("its end is not marked: it may be cut off")
    elif read_at(file, int(found.packets.positions[-1]), MOST_BEHIND).count(GIF_PICTURE) > 1:
        findings.remark("it continues after its end mark")


def check_y4m(file: BinaryIO, found: Delivered, findings: Findings) -> None:
    """The last frame must not be followed by the beginning of another frame."""
    last, length = int(found.packets.positions[-1]), int(found.packets.sizes[-1])
    behind = read_at(file, last + length, LONGEST_LINE)
    if behind and Y4M_FRAME.startswith(behind[: len(Y4M_FRAME)]):
        line = behind.find(b"\n") + 1
        findings.failed(cut_off(found.size_bytes, last + length + line + length))


def _checked_by(end_mark: bytes) -> Check:
    def check(file: BinaryIO, found: Delivered, findings: Findings) -> None:
        """If there are fewer frames than in the header and no end mark, the end is missing."""
        if len(found.packets) >= found.listed_frames:
            return
        reason = f"its header lists {counted(found.listed_frames, 'frame')}, {len(found.packets):,} can be found"
        if end_mark not in read_at(file, -TAIL, TAIL):
            findings.failed(VideoError(f"cut off: {reason}"))
        findings.remark(reason)

    return check


OGG: Final = Container("ogg", check=check_ogg)
GIF: Final = Container("gif", check=check_gif)
Y4M: Final = Container("yuv4mpegpipe", check=check_y4m)
APNG: Final = Container("apng", check=_checked_by(b"IEND"))  # PNG specification, 5.6
# SMPTE ST 377-1, 12.2: the key of the random index pack, which is the last element.
MXF: Final = Container(
    "mxf", counts_as_duration=True, check=_checked_by(bytes.fromhex("060e2b34020501010d01020101110100"))
)
