"""MP4 and its relatives are made of boxes in boxes, which must fill each other, and the file."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from p3dfeat.errors import VideoError
from p3dfeat.video.limits import tick
from p3dfeat.video.trailing import only_zeros

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
    """As far as there are any: other bytes may trail. The last one may end beyond the file, if it is of KINDS."""
    place = 0
    while place + 8 <= size:
        tick()
        file.seek(place)
        length, kind = int.from_bytes(file.read(4), "big"), file.read(4)
        header = 8
        if length == 1:
            length, header = int.from_bytes(file.read(8), "big"), 16
        if length == 0 and kind in KINDS:
            length = size - place
        if length < header or (kind not in KINDS and place + length > size):
            return
        yield Box(kind, place + header, place + length)
        place += length


def children(file: BinaryIO, parent: Box) -> Iterator[Box]:
    """The boxes in a box, which must fill it but for zeros at its end."""
    place = parent.start
    for _ in range(MOST_BOXES):
        if place + 8 > parent.end:
            return
        file.seek(place)
        length, kind = int.from_bytes(file.read(4), "big"), file.read(4)
        header = 8
        if length == 1:
            length, header = int.from_bytes(file.read(8), "big"), 16
        if length == 0 and only_zeros(file, place, parent.end):
            return
        if length < header or place + length > parent.end:
            raise VideoError(f"damaged: its box {name(parent.kind)} holds one of {length:,} bytes, which does not fit")
        yield Box(kind, place + header, place + length)
        place += length
    raise VideoError(f"damaged: its box {name(parent.kind)} holds more than {MOST_BOXES:,} others")


def content(file: BinaryIO, box: Box) -> bytes:
    """The bytes in a box, of which tables need no more than LARGEST_TABLE."""
    file.seek(box.start)
    return file.read(min(box.end - box.start, LARGEST_TABLE))


def name(kind: bytes) -> str:
    """A kind of box as it is written."""
    return kind.decode("latin-1") if kind.isalnum() else kind.hex()
