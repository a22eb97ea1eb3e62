"""A file for HDF5 that is changed in memory only.

HDF5 can crash the process if the disk is full or disappears during a write. So it writes to this object instead of a
file. Afterwards, the changes are written to the disk by plain writes, which can fail and be undone.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from p3dfeat.system.disk import write_at

PAGE_BYTES: Final = 4096
CHUNK_BYTES: Final = 1 << 20  # maximum size of one write


class Image:
    """A file object for h5py: changed pages in memory, on top of an open file or of nothing.

    size: end of the file; HDF5 puts new data there.
    """

    def __init__(self, size: int, fd: int | None = None):
        self.size = size
        self._fd = fd
        self._pages: dict[int, bytearray] = {}
        self._at = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, count: int) -> bytes:
        data = bytearray(count)
        self.readinto(data)
        return bytes(data)

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        for part, number, inside in self._parts(len(target)):
            page = self._pages.get(number)
            target[part] = (page or self._beneath(number))[inside]
        return len(target)

    def write(self, data: Any) -> int:
        source = memoryview(data).cast("B")
        for part, number, inside in self._parts(len(source)):
            if number not in self._pages:
                self._pages[number] = self._beneath(number)
            self._pages[number][inside] = source[part]
        self.size = max(self.size, self._at)
        return len(source)

    def _parts(self, count: int) -> Iterator[tuple[slice, int, slice]]:
        """For the next ``count`` bytes, one page at a time: their slice, number of the page, slice of the page."""
        done = 0
        while done < count:
            number, offset = divmod(self._at, PAGE_BYTES)
            some = min(count - done, PAGE_BYTES - offset)
            yield slice(done, done + some), number, slice(offset, offset + some)
            done += some
            self._at += some

    def _beneath(self, number: int) -> bytearray:
        """A page of the file below."""
        found = b"" if self._fd is None else os.pread(self._fd, PAGE_BYTES, number * PAGE_BYTES)
        return bytearray(found.ljust(PAGE_BYTES, b"\0"))

    def truncate(self, size: int | None = None) -> int:
        self.size = self._at if size is None else size
        return self.size

    def flush(self) -> None:
        """Nothing is buffered."""

    def put(self, fd: int, first: int = 0) -> None:
        """Write the changes from ``first`` on to a file, in order. Raises OSError."""
        run, end = bytearray(), first
        start = first
        for number in sorted(self._pages):
            offset = number * PAGE_BYTES
            page = memoryview(self._pages[number])[max(0, first - offset) : max(0, self.size - offset)]
            offset = max(offset, first)
            if not page:
                continue
            if offset != end or len(run) >= CHUNK_BYTES:
                write_at(fd, run, start)
                run, start = bytearray(), offset
            run += page
            end = offset + len(page)
        write_at(fd, run, start)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Delay signals until the end: an exception while HDF5 calls an Image would leave the Image inconsistent."""
    if threading.current_thread() is not threading.main_thread():  # signals are never handled here
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    before = {number: handler for number, handler in before.items() if callable(handler)}
    try:
        for number in before:
            signal.signal(number, lambda number, frame: came.append((number, frame)))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for signum, frame in came:
            handler = before[signal.Signals(signum)]
            assert callable(handler)
            handler(signum, frame)
