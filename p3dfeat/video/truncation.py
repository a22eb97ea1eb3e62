"""Files that end before their own headers say they should.

FFmpeg reads what is there and calls it the end. Features of half a video would look like those of the whole.
"""

import os
from typing import BinaryIO, Final

from p3dfeat.errors import VideoError

EBML_HEADER: Final = b"\x1a\x45\xdf\xa3"
UNKNOWN_LENGTH: Final = 0xFFFFFFFF  # in an AVI written to a pipe
SEGMENT: Final = b"\x18\x53\x80\x67"


def check_whole(path: str) -> None:
    """Raise VideoError for a Matroska, AVI or MP4 file shorter than the sizes written in it.

    Other containers, MPEG-TS among them, do not say how long they are.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        start = file.read(12)
        file.seek(0)
        if start[:4] == EBML_HEADER:
            stated = _matroska_size(file)
        elif start[:4] == b"RIFF" and start[8:12] == b"AVI ":
            length = int.from_bytes(start[4:8], "little")
            stated = 0 if length == UNKNOWN_LENGTH else length + 8
        elif start[4:8] == b"ftyp":
            stated = _boxes_size(file, size)
        else:
            return
    if stated > size:
        raise VideoError(f"cut off: {size:,} bytes of at least {stated:,} that its header announces")


def _matroska_size(file: BinaryIO) -> int:
    """Where the first segment ends; 0 where its size is left open, as in live recordings."""
    file.seek(4)
    header = _ebml_number(file) or 0
    file.seek(header, os.SEEK_CUR)
    if file.read(4) != SEGMENT:
        return 0
    size = _ebml_number(file)
    return 0 if size is None else file.tell() + size


def _ebml_number(file: BinaryIO) -> int | None:
    """A variable-length number: as many leading zero bits as bytes follow. None for "unknown", all ones."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    following = 8 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & (0x7F >> following)]) + file.read(following), "big")
    return None if value == (1 << (7 * (following + 1))) - 1 else value


def _boxes_size(file: BinaryIO, size: int) -> int:
    """Where the last top-level box of an MP4 file ends."""
    end = 0
    while end + 8 <= size:
        file.seek(end)
        length = int.from_bytes(file.read(4), "big")
        kind = file.read(4)
        if not kind.isalnum() or length == 0:  # trailing bytes of another kind, or a box to the end of the file
            return end
        if length == 1:
            length = int.from_bytes(file.read(8), "big")
        if length < 8:
            return end
        end += length
    return end
