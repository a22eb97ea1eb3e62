"""Boxes of ISO/IEC 14496-12: a length, a kind, and content, which may be boxes again (4.2)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from p3dfeat.video.heartbeat import tick

MOST_BOXES: Final = 100_000  # below one other; a file of ten hours in fragments of a second has 72,000
LARGEST_TABLE: Final = 48 << 20  # bytes
# What a file is made of. Where one of these goes on beyond the file, that was cut off; what else does is no box, but
# what a tagger, a server or a form in a browser wrote behind the last one.
KINDS: Final = frozenset(
    {b"ftyp", b"styp", b"pdin", b"moov", b"moof", b"mfra", b"mdat", b"imda", b"free", b"skip", b"wide", b"udta"}
    | {b"uuid", b"meta", b"meco", b"sidx", b"ssix", b"prft", b"emsg", b"pnot", b"PICT"}
)


@dataclass(frozen=True)
class Box:
    """Kind, and the bytes from ``start`` to ``end`` that are in it."""

    kind: bytes
    start: int
    end: int


def top_boxes(file: BinaryIO, size: int) -> Iterator[Box]:
    """The boxes of a file, as far as there are any. The last one may end beyond the file, if it is of KINDS."""
    for box in _boxes(file, 0, size):
        if box.kind not in KINDS and box.end > size:
            return
        yield box


def children(file: BinaryIO, parent: Box) -> Iterator[Box]:
    """The boxes in a box, as far as they fit into it."""
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
    """The bytes in a box, of which tables need no more than LARGEST_TABLE."""
    file.seek(box.start)
    return file.read(min(box.end - box.start, LARGEST_TABLE))
