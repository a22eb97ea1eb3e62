"""Containers of which little has to be known to see that their end is missing."""

import os
from typing import BinaryIO, Final

from p3dfeat.errors import VideoError
from p3dfeat.video.limits import tick

ASF_HEADER: Final = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_FILE_PROPERTIES: Final = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
ASF_HEADER_BYTES: Final = 1 << 16  # within which its properties stand
FLV_TAGS: Final = (8, 9, 18)
TS_SIZES: Final = (188, 192, 204)


def check_flv(file: BinaryIO, size: int) -> None:
    """Tags of sound, pictures and texts, each followed by its length."""
    place = 9 + 4
    while place < size:
        tick()
        file.seek(place)
        tag = file.read(11)
        length = int.from_bytes(tag[1:4], "big") + 11
        file.seek(place + length)
        if len(tag) < 11 or tag[0] & 0x1F not in FLV_TAGS or int.from_bytes(file.read(4), "big") != length:
            raise VideoError(f"damaged or cut off: its tag at byte {place:,} is not whole")
        place += length + 4


def check_asf(file: BinaryIO, size: int) -> None:
    """Its file properties say how long it is, unless it is a broadcast."""
    header = file.read(ASF_HEADER_BYTES)
    place = header.find(ASF_FILE_PROPERTIES)
    if place < 0 or len(header) < place + 104:
        raise VideoError("damaged: its header has no file properties")
    stated = int.from_bytes(header[place + 40 : place + 48], "little")
    flags = int.from_bytes(header[place + 88 : place + 92], "little")
    if not flags & 1 and stated > size:
        raise VideoError(f"cut off: {size:,} bytes of {stated:,} that its header announces")


def check_mpegts(file: BinaryIO, size: int) -> None:
    """It is made of packets of one size."""
    head = file.read(3 * max(TS_SIZES) + 1)
    for length in TS_SIZES:
        if len(head) > 2 * length and head[length] == head[2 * length] == 0x47 and size % length:
            raise VideoError(f"damaged or cut off: {size:,} bytes are no whole number of packets")


def check_gif(file: BinaryIO, size: int) -> None:
    """Blocks from the header to a last byte that says that there are no more."""
    header = file.read(13)
    place = 13 + _colours(header[10])
    while True:
        tick()
        file.seek(place)
        head = file.read(10)
        if head[:1] == b";":
            if head[1:].strip(b"\0"):
                raise VideoError(f"damaged: its last block ends at byte {place:,} of {size:,}")
            return
        if head[:1] == b"!":  # an extension: its kind, then pieces
            place += 2
        elif head[:1] == b"," and len(head) == 10:  # a picture: its place, its colours, its depth, then pieces
            place += 11 + _colours(head[9])
        else:
            raise VideoError(f"damaged or cut off: no block at byte {place:,} of its {size:,}")
        place = _after_pieces(file, place, size)


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
