"""Boxes of ISO/IEC 14496-12: a length, a kind, and content, which may consist of boxes (4.2)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from p3dfeat.video.heartbeat import tick

MOST_BOXES: Final = 100_000  # directly in one box; a file of ten hours in fragments of a second has 72,000
LARGEST_TABLE: Final = 48 << 20  # bytes
# The kinds of boxes in a file. If such a box ends beyond the file's end, the file was cut off. Another kind that does
# so is not a box, but data that a tagger, a server or a browser form wrote after the last box.
KINDS: Final = frozenset(
    {b"ftyp", b"styp", b"pdin", b"moov", b"moof", b"mfra", b"mdat", b"imda", b"free", b"skip", b"wide", b"udta"}
    | {b"uuid", b"meta", b"meco", b"sidx", b"ssix", b"prft", b"emsg", b"pnot", b"PICT"}
)


@dataclass(frozen=True)
class Box:
    """A box: its kind, and the bytes of its content from ``start`` to ``end``."""

    kind: bytes
    start: int
    end: int


def top_boxes(file: BinaryIO, size: int) -> Iterator[Box]:
    """The boxes of a file, until data that is not a box. The last box may end beyond the file if it is of KINDS."""
    for box in _boxes(file, 0, size):
        if box.kind not in KINDS and box.end > size:
            return
        yield box


def children(file: BinaryIO, parent: Box) -> Iterator[Box]:
    """The boxes in a box, until one that does not fit into it."""
    for box in _boxes(file, parent.start, parent.end):
        if box.end > parent.end:
            return
        yield box


def _boxes(file: BinaryIO, place: int, end: int) -> Iterator[Box]:
    for _ in range(MOST_BOXES):
        tick()
        file.seek(place)
        head = file.read(16)
        length, header, kind = int.from_bytes(head[:4], "big"), 8, head[4:8]
        if length == 1:
            length, header = int.from_bytes(head[8:], "big"), 16
        elif length == 0 and kind in KINDS:
            length = end - place
        if place + 8 > end or len(head) < 8 or length < header:
            return
        yield Box(kind, place + header, place + length)
        place += length


def content(file: BinaryIO, box: Box) -> bytes:
    """The bytes in a box, at most LARGEST_TABLE, which is enough for a table."""
    file.seek(box.start)
    return file.read(min(box.end - box.start, LARGEST_TABLE))
