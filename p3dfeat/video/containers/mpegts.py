"""MPEG transport streams: packets of equal size. Recordings start and end anywhere (ISO/IEC 13818-1, 2.4.3)."""

from typing import BinaryIO, Final

from p3dfeat.video.containers.record import Container, Delivered
from p3dfeat.video.findings import Findings

SIZES: Final = {188: 0, 192: 4, 204: 0}  # bytes of a packet: bytes of the clock before it, as on Blu-rays
SYNC: Final = 0x47


def check(file: BinaryIO, found: Delivered, findings: Findings) -> None:
    """Add a remark if the file begins or ends inside a packet: it was cut there. Complete packets keep their frames."""
    head = file.read(3 * max(SIZES))
    size = next((size for size, clock in SIZES.items() if set(head[clock::size][:3]) == {SYNC}), None)
    if size is None:
        findings.remark("it does not begin with a packet: its beginning may be cut off")
    elif found.size_bytes % size:
        findings.remark("it ends inside a packet: its end may be cut off")


MPEGTS: Final = Container("mpegts", is_recording=True, check=check)
