"""Containers of which little has to be known to see that their end is missing."""

import os
from typing import BinaryIO, Final

from p3dfeat.errors import VideoError
from p3dfeat.video.limits import tick
from p3dfeat.video.trailing import holds, only_zeros

FLV_TAGS: Final = (8, 9, 18)
FLV_COUNTED: Final = (11, 10, 0)  # bytes of a tag's header, in its length: as should be, and as others write
PICTURE: Final = b"!\xf9\x04"  # how pictures of moving GIFs begin
END: Final = b"\0;"  # of a picture, and of a GIF
TS_SIZES: Final = (188, 192, 204)


def check_flv(file: BinaryIO, size: int) -> None:
    """Tags of sound, pictures and texts, each followed by its length, which some programs count otherwise."""
    place = 9 + 4
    while place < size:
        tick()
        file.seek(place)
        tag = file.read(11)
        content = int.from_bytes(tag[1:4], "big")
        end = place + 11 + content
        file.seek(end)
        follows = file.read(4)
        if end <= size < end + 4:  # all of the last one but its length
            return
        if len(tag) == 11 and tag[0] & 0x1F in FLV_TAGS and int.from_bytes(follows, "big") - content in FLV_COUNTED:
            place = end + 4
        elif only_zeros(file, place, size):
            return
        else:
            raise VideoError(f"damaged or cut off: its tag at byte {place:,} is not whole")


def check_mpegts(file: BinaryIO, size: int) -> None:
    """It is made of packets of one size, from its first byte on."""
    head = file.read(3 * max(TS_SIZES))
    length = next((length for length in TS_SIZES if set(head[_sync(length) :: length][:3]) == {0x47}), None)
    if length is None:
        raise VideoError("damaged: it does not begin with a packet of a transport stream")
    if not only_zeros(file, size - size % length, size):
        raise VideoError(f"damaged or cut off: {size:,} bytes are no whole number of packets")


def _sync(length: int) -> int:
    """The byte of a packet that is always the same; Blu-rays put a clock before it."""
    return 4 if length == 192 else 0


def check_gif(file: BinaryIO, size: int) -> None:
    """Blocks from the header to a last byte that says that there are no more."""
    header = file.read(13)
    if len(header) < 13:
        raise VideoError(f"cut off: {size:,} bytes are no header")
    place = 13 + _colours(header[10])
    while True:
        tick()
        file.seek(place)
        head = file.read(10)
        if head[:1] == b";":
            if _goes_on(file, place + 1):
                raise VideoError(f"damaged: its last block ends at byte {place:,} of {size:,}")
            return
        if head[:1] == b"!":  # an extension: its kind, then pieces
            place += 2
        elif head[:1] == b"," and len(head) == 10:  # a picture: its place, its colours, its depth, then pieces
            place += 11 + _colours(head[9])
        else:
            raise VideoError(f"damaged or cut off: no block at byte {place:,} of its {size:,}")
        place = _after_pieces(file, place, size)


def _goes_on(file: BinaryIO, place: int) -> bool:
    """Whether what follows a GIF's last block is more of it, and not a line's end or a comment."""
    if holds(file, place, PICTURE):
        return True
    file.seek(max(place, file.seek(0, os.SEEK_END) - len(END)))
    return file.read() == END


def _colours(flags: int) -> int:
    """How many bytes a table of colours takes."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_pieces(file: BinaryIO, place: int, size: int) -> int:
    """Where pieces of up to 255 bytes, each after its length, come to an end."""
    file.seek(place)
    while length := file.read(1):
        tick()
        place += 1 + length[0]
        if not length[0]:
            return place
        file.seek(length[0], os.SEEK_CUR)
    raise VideoError(f"cut off: {size:,} bytes, and a block goes on beyond them")
