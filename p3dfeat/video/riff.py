"""AVI: chunks that must fill the file, and the index that lists them."""

import os
import re
from dataclasses import dataclass
from typing import BinaryIO, Final

import numpy as np

from p3dfeat.errors import VideoError
from p3dfeat.video.limits import tick

UNKNOWN_LENGTHS: Final = (0, 0xFFFFFFFF)  # in an AVI written to a pipe
LARGEST_INDEX: Final = 1 << 28  # bytes: 16 million frames and pieces of sound
HAS_INDEX: Final = 0x10  # a flag of its header
MOST_CHUNKS: Final = 100_000  # of which two or three are usual: frames are all in one of them
NO_FRAMES: Final = (b"wb", b"tx", b"pc", b"ix")  # kinds of chunks: sound, text, colours, an index; others hold a frame
_NAMES: Final = re.compile(rb"(?:\d\d[a-zA-Z_]{2}|ix\d\d|rec |LIST|JUNK|7Fxx)*")  # of chunks in an index
HEADER: Final = 8  # bytes of a chunk's; some programs count the file's own into its length


@dataclass(frozen=True)
class Listed:
    """What an AVI's index lists of a stream's frames, those of no bytes left out, which stand for the one before."""

    frames: int
    size_bytes: int


def check(file: BinaryIO, size: int) -> None:
    """Raise VideoError for an AVI shorter than the sizes written in it, or whose chunks do not follow each other."""
    length = _length(file)
    if length is None:
        return
    if length > size:
        raise VideoError(f"cut off: {size:,} bytes of at least {length:,} that its header announces")
    seen = {kind for kind, _, _ in _chunks(file, 12, min(length + HEADER, size))}
    if b"movi" not in seen:
        raise VideoError("damaged: its frames are not where its header says (no movi list)")
    file.seek(24)
    header = file.read(24)
    if len(header) == 24 and header[:4] == b"avih" and header[20] & HAS_INDEX and b"idx1" not in seen:
        raise VideoError("damaged or cut off: its index is missing")


def listed_frames(path: str, number: int) -> Listed | None:
    """What the index at the file's end lists of stream ``number``; None where there is none, or it is not for all."""
    with open(path, "rb") as file:
        length = _length(file)
        if length is None:
            return None
        end = min(length + HEADER, os.path.getsize(path))
        file.seek(end)
        if file.read(4) == b"RIFF":  # what goes on beyond a gigabyte has another index
            return None
        for kind, place, length in _chunks(file, 12, end):
            if kind == b"idx1":
                file.seek(place)
                return _listed(file.read(min(length, LARGEST_INDEX)), number)
    return None


def is_open(path: str) -> bool:
    """Whether an AVI's length was left open, as in one written to a pipe; then its count of frames was, too."""
    with open(path, "rb") as file:
        return _length(file) is None


def _length(file: BinaryIO) -> int | None:
    """What its header says, in bytes; None where that was left open, or it is of another kind."""
    kind, length = file.read(4), int.from_bytes(file.read(4), "little")
    return length if kind == b"RIFF" and length not in UNKNOWN_LENGTHS else None


def _listed(index: bytes, number: int) -> Listed:
    entries = np.frombuffer(index[: len(index) // 16 * 16], np.uint8).reshape(-1, 16)
    sizes = np.ascontiguousarray(entries[:, 12:]).view("<u4").reshape(-1)
    names = np.ascontiguousarray(entries[:, :4]).view("S4").reshape(-1)
    if not _NAMES.fullmatch(names.tobytes()):
        raise VideoError("damaged: its index lists what is no chunk")
    of_stream = (entries[:, :2] == np.frombuffer(b"%02d" % number, np.uint8)).all(axis=1) & (sizes > 0)
    of_stream &= ~np.isin(names, [b"%02d" % number + kind for kind in NO_FRAMES])
    return Listed(int(of_stream.sum()), int(sizes[of_stream].sum(dtype=np.int64)))


def _chunks(file: BinaryIO, start: int, end: int) -> list[tuple[bytes, int, int]]:
    """(name, first byte, length) of the chunks from ``start`` to ``end``; of a list, its own name."""
    found: list[tuple[bytes, int, int]] = []
    while start + 8 <= end and len(found) < MOST_CHUNKS:
        tick()
        file.seek(start)
        kind, length = file.read(4), int.from_bytes(file.read(4), "little")
        if start + 8 + length > end:
            raise VideoError(f"damaged or cut off: its chunk at byte {start:,} goes on beyond its end")
        found.append((file.read(4) if kind == b"LIST" else kind, start + 8, length))
        start += 8 + length + length % 2
    return found
