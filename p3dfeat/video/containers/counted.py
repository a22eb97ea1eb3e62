"""Containers whose header counts the frames, and whose end is marked."""

from typing import BinaryIO, Final

from p3dfeat.errors import VideoError
from p3dfeat.video.containers.record import Check, Container, Delivered, read_at
from p3dfeat.video.findings import Findings

TAIL: Final = 1 << 12  # bytes in which the end mark is looked for: others may trail it


def _checked_by(end_mark: bytes) -> Check:
    def check(file: BinaryIO, found: Delivered, findings: Findings) -> None:
        """Fewer frames than the header counts, in a file without an end, mean that the end is missing."""
        if len(found.packets) >= found.listed_frames:
            return
        reason = f"its header lists {found.listed_frames:,} frames, {len(found.packets):,} can be found"
        if end_mark not in read_at(file, -TAIL, TAIL):
            findings.failed(VideoError(f"cut off: {reason}"))
        findings.remark(reason)

    return check


APNG: Final = Container("apng", check=_checked_by(b"IEND"))  # PNG specification, 5.6
# SMPTE ST 377-1, 12.2: the key of the random index pack, which comes last.
MXF: Final = Container(
    "mxf", counts_as_duration=True, check=_checked_by(bytes.fromhex("060e2b34020501010d01020101110100"))
)
