"""Matroska and WebM: elements that must fill the file without a gap."""

import os
from typing import BinaryIO, Final

from p3dfeat.errors import VideoError
from p3dfeat.video.limits import tick

SEGMENT: Final = b"\x18\x53\x80\x67"
CLUSTER: Final = b"\x1f\x43\xb6\x75"
# What may stand in a segment: SeekHead, Info, Tracks, Cluster, Cues, Attachments, Chapters, Tags, Void, CRC-32.
IN_SEGMENT: Final = frozenset(
    {b"\x11\x4d\x9b\x74", b"\x15\x49\xa9\x66", b"\x16\x54\xae\x6b", CLUSTER, b"\x1c\x53\xbb\x6b"}
    | {b"\x19\x41\xa4\x69", b"\x10\x43\xa7\x70", b"\x12\x54\xc3\x67", b"\xec", b"\xbf"}
)
# And in a cluster: its time, blocks, groups of a block, where it lies, what has no meaning any more, Void, CRC-32.
IN_CLUSTER: Final = frozenset({0xE7, 0xA3, 0xA0, 0xA7, 0xAB, 0xAF, 0xEC, 0xBF})
SILENT: Final = b"\x58\x54"  # tracks of which a cluster holds nothing
UNKNOWN: Final = tuple((1 << 7 * (following + 1)) - 1 for following in range(8))  # sizes, by the bytes that follow


def check(file: BinaryIO, size: int) -> None:
    """Raise VideoError where the file ends before its segment does, or something in it is no element."""
    file.seek(4)
    header = _size(file) or 0
    file.seek(header, os.SEEK_CUR)
    if file.read(4) != SEGMENT:
        raise VideoError("damaged: no segment follows its header")
    length = _size(file)
    end = size if length is None else file.tell() + length
    if end > size:
        raise VideoError(f"cut off: {size:,} bytes of at least {end:,} that its header announces")
    while (place := file.tell()) < end:
        tick()
        kind = _id(file)
        if kind not in IN_SEGMENT:
            raise _no_element(place)
        length = _size(file)
        if length is None:  # a cluster of a live recording, which ends where the next begins
            return
        inside = file.tell()
        if inside + length > end:
            raise _too_long(place)
        if kind == CLUSTER and not _cluster_is_seen(file, inside, inside + length):
            return
        file.seek(inside + length)


def _cluster_is_seen(file: BinaryIO, place: int, end: int) -> bool:
    """Whether the elements of a cluster could be gone through. Written for speed: a long video has millions of them."""
    count = 0
    while place < end:
        count += 1
        if not count & 0xFF:
            tick()
        file.seek(place)
        head = file.read(10)
        at = 1 if head and head[0] in IN_CLUSTER else 2
        if len(head) < at + 1 or (at == 2 and head[:2] != SILENT) or not head[at]:
            raise _no_element(place)
        following = 8 - head[at].bit_length()
        length = int.from_bytes(head[at : at + 1 + following], "big") & UNKNOWN[following]
        if length == UNKNOWN[following]:
            return False
        start, place = place, place + at + 1 + following + length
        if place > end:
            raise _too_long(start)
    return True


def _no_element(place: int) -> VideoError:
    return VideoError(f"damaged or cut off: at byte {place:,} is no element of Matroska")


def _too_long(place: int) -> VideoError:
    return VideoError(f"damaged or cut off: its element at byte {place:,} goes on beyond its end")


def _id(file: BinaryIO) -> bytes:
    first = file.read(1)
    if not first or first[0] < 16:
        return b""
    return first + file.read(8 - first[0].bit_length())


def _size(file: BinaryIO) -> int | None:
    """A variable-length number: as many leading zero bits as bytes follow. None for "unknown", all ones."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    following = 8 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & (0x7F >> following)]) + file.read(following), "big")
    return None if value == (1 << (7 * (following + 1))) - 1 else value
