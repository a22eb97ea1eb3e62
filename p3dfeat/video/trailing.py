"""What follows a file's last part: players stop there, and so do we, where it is nothing of a video."""

from typing import BinaryIO, Final

from p3dfeat.video.limits import tick

PIECE: Final = 1 << 20  # bytes read at once


def only_zeros(file: BinaryIO, start: int, end: int) -> bool:
    """Whether all bytes from ``start`` to ``end`` are 0."""
    file.seek(start)
    while start < end:
        tick()
        piece = file.read(min(PIECE, end - start))
        if not piece or piece.strip(b"\0"):
            return False
        start += len(piece)
    return True


def holds(file: BinaryIO, start: int, *marks: bytes) -> bool:
    """Whether one of ``marks`` stands anywhere from ``start`` on."""
    file.seek(start)
    before = b""
    while piece := file.read(PIECE):
        tick()
        if any(mark in before + piece for mark in marks):
            return True
        before = piece[1 - max(map(len, marks)) :]
    return False
