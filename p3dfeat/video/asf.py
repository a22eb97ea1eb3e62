"""ASF, which WMV files are: packets of one size, in which pieces of numbered frames follow each other."""

import os
from dataclasses import dataclass
from typing import BinaryIO, Final

from p3dfeat.errors import VideoError
from p3dfeat.video.limits import tick

FILE_PROPERTIES: Final = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
DATA: Final = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
MOST_OBJECTS: Final = 1000
LARGEST_HEADER: Final = 1 << 24  # bytes
LARGEST_PACKET: Final = 1 << 20
BROADCAST: Final = 1  # a flag: what is said of the file's length means nothing
WIDTHS: Final = (0, 1, 2, 4)  # bytes of a number, by its two bits


@dataclass
class _Object:
    """A frame, or a piece of sound, of which so many bytes have come."""

    number: int
    size: int
    come: int


def check(file: BinaryIO, size: int) -> None:
    """Raise VideoError where the file is shorter than it says, or pieces of frames are missing."""
    header_end, properties = _properties(file, size)
    stated, count, flags, length = (
        int.from_bytes(properties[start:end], "little") for start, end in ((40, 48), (56, 64), (88, 92), (96, 100))
    )
    if not flags & BROADCAST and stated > size:
        raise VideoError(f"cut off: {size:,} bytes of {stated:,} that its header announces")
    data = _data(file, header_end, size)
    if data is None or not 0 < length <= LARGEST_PACKET:
        raise VideoError("damaged: its packets are not where its header says")
    end = size if flags & BROADCAST else min(size, data + count * length)
    objects: dict[int, _Object | None] = {}
    file.seek(data)
    for number in range((end - data) // length):
        tick()
        try:
            _Packet(file.read(length), objects).check()
        except (IndexError, ValueError):
            raise VideoError(f"damaged: packet {number:,} of its {count:,} is none, or lacks a piece") from None


def is_live(path: str) -> bool:
    """Whether a file says that its length was not known when its header was written, as in one written to a pipe."""
    with open(path, "rb") as file:
        _, properties = _properties(file, os.path.getsize(path))
        return bool(properties[88] & BROADCAST)


def _properties(file: BinaryIO, size: int) -> tuple[int, bytes]:
    """Where the header ends, and what it says of the file, which is at least 100 bytes."""
    header = _object(file, 0)
    if header is None or header[1] > min(size, LARGEST_HEADER):
        raise VideoError("damaged or cut off: its header is longer than itself")
    content = file.read(header[1])
    place = content.find(FILE_PROPERTIES)
    if place < 0 or len(content) < place + 100:
        raise VideoError("damaged: its header has no file properties")
    return header[1], content[place:]


def _object(file: BinaryIO, place: int) -> tuple[bytes, int] | None:
    """Kind and length of the object that begins at ``place``; its content comes next."""
    file.seek(place)
    head = file.read(24)
    return (head[:16], int.from_bytes(head[16:], "little")) if len(head) == 24 else None


def _data(file: BinaryIO, place: int, size: int) -> int | None:
    """Where the first packet begins."""
    for _ in range(MOST_OBJECTS):
        found = _object(file, place) if place < size else None
        if found is None or found[1] < 24:
            return None
        if found[0] == DATA:
            return place + 50
        place += found[1]
    return None


class _Packet:
    """Reads one packet from its beginning. Raises IndexError or ValueError where it is not whole."""

    def __init__(self, data: bytes, objects: dict[int, _Object | None]):
        self._data, self._objects, self._place = data, objects, 0

    def check(self) -> None:
        first = self._data[0]
        if first & 0x80:
            self._place = 1 + (first & 0x0F)
        lengths, properties = self._number(1), self._number(1)
        whole = self._number(WIDTHS[lengths >> 5 & 3]) or len(self._data)
        self._number(WIDTHS[lengths >> 1 & 3])
        padding = self._number(WIDTHS[lengths >> 3 & 3])
        self._place += 6  # when it is to be sent, and for how long
        end = min(whole, len(self._data)) - (padding if whole == len(self._data) else 0)
        if not lengths & 1:
            self._piece(properties, None, end)
            return
        several = self._number(1)
        for _ in range(several & 0x3F):
            self._piece(properties, WIDTHS[several >> 6], end)

    def _piece(self, properties: int, width: int | None, end: int) -> None:
        """A piece of a frame; width: of its length, if it is not the packet's only one, which fills it."""
        stream = self._number(1) & 0x7F
        number = self._number(WIDTHS[properties >> 4 & 3])
        offset = self._number(WIDTHS[properties >> 2 & 3])
        about = self._number(WIDTHS[properties & 3])
        size = int.from_bytes(self._data[self._place : self._place + 4], "little") if about >= 8 else None
        self._place += about
        length = end - self._place if width is None else self._number(width)
        self._place += length
        if length < 0 or self._place > len(self._data):
            raise ValueError
        if size is None:  # several small ones in one piece: they are numbered otherwise
            self._objects[stream] = None
        else:
            self._join(stream, _Object(number, size, offset + length), offset, 1 << (8 * WIDTHS[properties >> 4 & 3]))

    def _join(self, stream: int, piece: _Object, offset: int, numbers: int) -> None:
        """Hold a piece to the one before it in its stream."""
        before = self._objects.get(stream)
        if before is None:
            fits = True  # the first that is seen of this stream may be in the middle
        elif offset:
            fits = (piece.number, piece.size, offset) == (before.number, before.size, before.come)
        else:
            fits = before.come == before.size and piece.number == (before.number + 1) % numbers
        if not fits or piece.come > piece.size:
            raise ValueError
        self._objects[stream] = piece

    def _number(self, width: int) -> int:
        value = self._data[self._place : self._place + width]
        if len(value) < width:
            raise IndexError
        self._place += width
        return int.from_bytes(value, "little")
