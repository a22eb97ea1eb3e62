"""Limits per video: a clock that shows whether the decoder hangs, and a bound on memory.

This module holds the limits that a decoder process sets for itself. process.py watches it from outside.
"""

import ctypes
import mmap
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import Final

from p3dfeat.errors import OutOfTimeError
from p3dfeat.system.processes import limit
from p3dfeat.video.heartbeat import LISTENERS

CLOCK_BYTES: Final = 4096  # at the beginning of the shared memory: one page, so that clips begin at a page
WORN_BYTES: Final = 512 << 20  # held after a video, more than a new process holds: then replacing it is cheaper
TRIMMED_BYTES: Final = 64 << 20  # held after a video: then the allocator is asked to give memory back
SCARCE: Final = 0.5  # share of the limit: the next request may have asked for the rest
EXPENDABLE: Final = 500  # added to the score (0 to 1000) by which Linux chooses a process to kill when memory runs out
LIMITED: Final = sys.platform == "linux"  # other systems cannot limit memory without limiting shared memory
ARENAS: Final = 4  # memory arenas; otherwise glibc creates one per thread, with 64 MB of addresses each
PR_SET_PDEATHSIG: Final = 1  # Linux's prctl.h
M_ARENA_MAX: Final = -8  # glibc's malloc.h


class Clock:
    """A decoder's working time on its video and its signs of life, in memory shared with the process that watches it.

    Times are those of ``time.monotonic``, which are the same in all processes of a machine.
    """

    def __init__(self, memory: mmap.mmap):
        view = memoryview(memory)
        self._moves = view[:8].cast("Q")
        self._since = view[8:16].cast("d")  # start of the current period of work; 0 between periods
        self._before = view[16:24].cast("d")  # seconds of the video's earlier periods
        self._timeout, self._deadline = inf, inf

    @property
    def moves(self) -> int:
        """Number of signs of life so far."""
        return self._moves[0]

    def worked(self) -> float:
        """Seconds that the decoder has worked on its current video, without waiting for room."""
        before, since = self._before[0], self._since[0]  # in this order, no period is counted twice
        return before + (time.monotonic() - since if since > 0 else 0.0)

    @contextmanager
    def running(self, timeout: float | None) -> Iterator[None]:
        """Run the clock while a video is read, for at most ``timeout`` seconds."""
        self._timeout = inf if timeout is None else timeout
        self._before[0] = 0.0
        self._go()
        LISTENERS.append(self.tick)
        try:
            yield
        finally:
            LISTENERS.remove(self.tick)
            self._since[0] = self._before[0] = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Stop the clock while there is no work, or no room for a result."""
        since = self._since[0]
        self._since[0] = 0.0
        if since:
            self._before[0] += time.monotonic() - since
        try:
            yield
        finally:
            if since:
                self._go()

    def tick(self) -> None:
        self._moves[0] += 1
        if time.monotonic() > self._deadline:
            raise out_of_time(self._timeout)

    def _go(self) -> None:
        now = time.monotonic()
        self._deadline = now + self._timeout - self._before[0]
        self._since[0] = now


def out_of_time(timeout: float) -> OutOfTimeError:
    return OutOfTimeError(f"timed out: not decoded within {timeout:g} s; raise --timeout")


class Memory:
    """The memory use and limit of this process. Create it after all imports, before a video is read."""

    def __init__(self) -> None:
        self._data, self._own = _held()
        self._mapped = _mapped("VmSize")
        self._limit = inf

    def limit(self, size_bytes: int) -> None:
        """Let videos use at most ``size_bytes``. A request for more is then a MemoryError. Only if LIMITED."""
        self._limit = size_bytes
        if LIMITED:
            limit(resource.RLIMIT_DATA, self._data + size_bytes)

    def was_scarce(self, shared_bytes: int) -> bool:
        """Whether this process has ever come near its limit, without ``shared_bytes`` of its mapped memory.

        FFmpeg may report a lack of memory, even for a thread, as any error, including damage.
        """
        return LIMITED and _mapped("VmPeak") - self._mapped - shared_bytes > SCARCE * self._limit

    def give_back(self) -> bool:
        """Return unused memory to the system. True if so much stays that a new process is better."""
        if _held()[1] - self._own > TRIMMED_BYTES:
            with suppress(AttributeError, OSError):  # only glibc has it
                ctypes.CDLL(None).malloc_trim(0)
        return _held()[1] - self._own > WORN_BYTES


def _held() -> tuple[int, int]:
    """Bytes that RLIMIT_DATA counts, and bytes of resident memory that is not shared; 0 if unknown."""
    try:
        with open("/proc/self/statm") as file:
            _, resident, shared, _, _, data, _ = map(int, file.read().split())
    except (OSError, ValueError):
        return 0, 0
    return data * mmap.PAGESIZE, (resident - shared) * mmap.PAGESIZE


def _mapped(which: str) -> int:
    """Bytes of address space of this process, current ("VmSize") or maximum ("VmPeak"); 0 if unknown."""
    with suppress(OSError, ValueError), open("/proc/self/status") as file:
        for line in file:
            if line.startswith(which):
                return int(line.split()[1]) << 10
    return 0


def be_expendable() -> None:
    """If memory is short, let the system kill this process and not the main one. Write no core dump after a crash.

    Unused reserved memory of threads is kept small, so that address space shows the memory that videos need.
    """
    with suppress(OSError, ValueError), open("/proc/self/oom_score_adj", "r+") as file:
        score = int(file.read())
        file.seek(0)
        file.write(str(min(1000, score + EXPENDABLE)))
    with suppress(AttributeError, OSError):  # only glibc has it
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def end_with(parent: int, *, by_signal: bool) -> None:
    """End this process when its parent process ``parent`` has ended, even if FFmpeg never returns.

    by_signal: let Linux end it at once by a signal. This is allowed only if the parent's main thread started this
    process: Linux sends the signal when the starting thread ends.
    """
    if by_signal and sys.platform == "linux":
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it had ended before the signal was requested
        os._exit(1)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
