"""ASF, the format of WMV files: objects, one of which holds packets of equal size (ASF specification, 3.2 and 5)."""

from dataclasses import replace
from typing import BinaryIO, Final

from p3dfeat.video.containers.record import Container, Delivered, judge_cut
from p3dfeat.video.findings import Findings

FILE_PROPERTIES: Final = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
DATA: Final = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
LARGEST_HEADER: Final = 1 << 24  # bytes
# Bytes in the file properties: number of packets; duration in units of 100 ns, including the preroll; preroll in ms;
# flags; size of a packet.
FIELDS: Final = ((56, 64), (64, 72), (80, 88), (88, 92), (96, 100))
BROADCAST: Final = 1  # a flag: the file's lengths in the header are not valid


def check(file: BinaryIO, found: Delivered, findings: Findings) -> None:
    """The packets that the header counts must lie inside the file."""
    head = file.read(24)
    header = file.read(max(0, min(int.from_bytes(head[16:], "little"), LARGEST_HEADER) - len(head)))
    place = header.find(FILE_PROPERTIES)
    properties = header[place : place + 100]
    if place < 0 or len(properties) < 100:
        return
    packets, duration, preroll, flags, length = (int.from_bytes(properties[a:b], "little") for a, b in FIELDS)
    data = file.tell()
    if flags & BROADCAST or file.read(16) != DATA:
        return
    end = data + 50 + packets * length
    if end > found.size_bytes:
        judge_cut(replace(found, listed_seconds=duration / 1e7 - preroll / 1e3), findings, end)


# It stores one time per packet. If some frames refer to later ones, this is the decoding time.
ASF: Final = Container("asf", shown="in order", check=check)
