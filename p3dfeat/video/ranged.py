"""A remote file of which only the parts that are read are fetched."""

import io
import os
from collections.abc import Callable
from typing import IO, Final

from p3dfeat.errors import VideoError

BLOCK_BYTES: Final = 64 << 10
FIRST_BLOCKS: Final = 4  # fetched at a new place; doubled for each fetch that continues there
MOST_BLOCKS: Final = 128


class RangedFile:
    """Fetched parts of a file of known size. They are kept in a sparse temporary file.

    name: the address, for the index of the last file. fetch(begin, end): gives these bytes; its errors are passed on.
    """

    def __init__(self, name: str, room: IO[bytes], size_bytes: int, fetch: Callable[[int, int], bytes]):
        self.name, self.size_bytes = name, size_bytes
        self._room, self._fetch = room, fetch
        room.truncate(size_bytes)
        self._count = -(-size_bytes // BLOCK_BYTES)
        self._there = bytearray(self._count)
        self._next, self._ahead = -1, FIRST_BLOCKS
        self._error: VideoError | None = None  # the first one

    @property
    def failed(self) -> bool:
        """Whether a part could not be fetched."""
        return self._error is not None

    def opened(self) -> "RangedReader":
        return RangedReader(self)

    def read(self, place: int, length: int) -> bytes:
        """Up to ``length`` bytes from ``place`` on."""
        end = min(place + length, self.size_bytes)
        if place >= end:
            return b""
        block, last = place // BLOCK_BYTES, (end - 1) // BLOCK_BYTES
        while (block := self._there.find(0, block, last + 1)) >= 0:
            self._get(block, last)
        return os.pread(self._room.fileno(), end - place, place)

    def _get(self, block: int, last: int) -> None:
        """Fetch missing blocks from ``block`` on: to ``last`` or further, but none that is there."""
        if self._count <= MOST_BLOCKS:  # one request takes less time than several small ones
            last = self._count - 1
        self._ahead = min(2 * self._ahead, MOST_BLOCKS) if block == self._next else FIRST_BLOCKS
        following = min(max(block + self._ahead, min(last + 1, block + MOST_BLOCKS)), self._count)
        present = self._there.find(1, block, following)
        following = following if present < 0 else present
        begin, end = block * BLOCK_BYTES, min(following * BLOCK_BYTES, self.size_bytes)
        if self._error is not None:  # FFmpeg reads on after an error
            raise self._error
        try:
            content = self._fetch(begin, end)
            if len(content) != end - begin:
                raise VideoError(f"not fetched: {len(content):,} bytes came, of {end - begin:,} asked for")
        except VideoError as error:
            self._error = error
            raise
        self.keep(begin, content)
        self._next = following

    def keep(self, place: int, content: bytes) -> None:
        """Keep bytes that were fetched; ``place`` is the beginning of a block. A last part of a block is dropped."""
        whole = len(content) if place + len(content) == self.size_bytes else len(content) // BLOCK_BYTES * BLOCK_BYTES
        view = memoryview(content)[:whole]
        written = 0
        while written < whole:
            written += os.pwrite(self._room.fileno(), view[written:], place + written)
        begin = place // BLOCK_BYTES
        self._there[begin : begin - (-whole // BLOCK_BYTES)] = b"\1" * -(-whole // BLOCK_BYTES)

    def fileno(self) -> int:
        """Of the temporary file, which has the size and the modification time of the remote one."""
        return self._room.fileno()


class RangedReader(io.RawIOBase):
    """A reader of a RangedFile, with a position of its own."""

    def __init__(self, file: RangedFile):
        self._file, self._place = file, 0

    def another(self) -> "RangedReader":
        """A reader of the same file with a position of its own, at the beginning."""
        return RangedReader(self._file)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._file.size_bytes}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, room: "memoryview[int]") -> int:  # type: ignore[override]
        content = self._file.read(self._place, len(room))
        room[: len(content)] = content
        self._place += len(content)
        return len(content)
