"""Ogg: pages that are numbered, follow each other without a gap, and of which one is marked as a stream's last."""

from typing import BinaryIO, Final

from p3dfeat.errors import VideoError
from p3dfeat.video.limits import tick
from p3dfeat.video.trailing import holds

MARK: Final = b"OggS"
CONTINUES, FIRST, LAST = 1, 2, 4


def check(file: BinaryIO, size: int) -> None:
    """Raise VideoError where a page is missing, or a stream has no last one."""
    numbers: dict[bytes, int] = {}  # of each stream's last page so far
    open_streams: set[bytes] = set()
    place = 0
    while place < size:
        tick()
        file.seek(place)
        header = file.read(27)
        if len(header) < 27 or header[:4] != MARK:
            if numbers and not open_streams and not holds(file, place, MARK):
                return  # all streams have come to their ends, and what follows is none
            raise VideoError(f"damaged or cut off: no page at byte {place:,}")
        sizes = file.read(header[26])
        flags, stream, number = header[5], header[14:18], int.from_bytes(header[18:22], "little")
        if stream in numbers and not flags & FIRST and number != numbers[stream] + 1:
            raise VideoError(f"damaged: page {numbers[stream] + 1} of one of its streams is missing")
        numbers[stream] = number
        if flags & FIRST:
            open_streams.add(stream)
        if flags & LAST:
            open_streams.discard(stream)
        place += 27 + len(sizes) + sum(sizes)
    if place > size:
        raise VideoError(f"cut off: {size:,} bytes of at least {place:,} that its last page announces")
    if open_streams:
        raise VideoError("damaged or cut off: one of its streams has no last page")
