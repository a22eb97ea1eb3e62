"""What keeps a video from taking more than its share: a clock that tells life from a hang, and a bound on memory.

What a decoder process does to itself stands here; who watches it is in process.py.
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

CLOCK_BYTES: Final = 4096  # at the beginning of the shared memory: a page, so that clips begin on one
WORN_BYTES: Final = 512 << 20  # kept after a video, beyond what a new process has: cheaper to replace than to keep
TRIMMED_BYTES: Final = 64 << 20  # kept after a video: worth asking the allocator to give it back
SCARCE: Final = 0.5  # of the limit: what was asked for next may have been the rest
EXPENDABLE: Final = 500  # added to the score, of 1000, by which Linux chooses what to kill for want of memory
LIMITED: Final = sys.platform == "linux"  # elsewhere nothing bounds memory without bounding what is shared
ARENAS: Final = 4  # of memory, which glibc otherwise makes for each thread, 64 MB of addresses each
PR_SET_PDEATHSIG: Final = 1  # Linux's prctl.h
M_ARENA_MAX: Final = -8  # glibc's malloc.h


class Clock:
    """How long a decoder has worked at its video, and that it moves, in memory shared with whoever watches it.

    Times are those of ``time.monotonic``, which all processes of a machine share.
    """

    def __init__(self, memory: mmap.mmap):
        view = memoryview(memory)
        self._moves = view[:8].cast("Q")
        self._since = view[8:16].cast("d")  # when the present stint of work began; 0 between stints
        self._before = view[16:24].cast("d")  # seconds of the video's earlier stints
        self._timeout, self._deadline = inf, inf

    @property
    def moves(self) -> int:
        """Grows with each sign of life."""
        return self._moves[0]

    def worked(self) -> float:
        """Seconds that the decoder has worked at its present video; waiting for room is none."""
        before, since = self._before[0], self._since[0]  # in this order no stint is counted twice
        return before + (time.monotonic() - since if since > 0 else 0.0)

    @contextmanager
    def running(self, timeout: float | None) -> Iterator[None]:
        """While a video is read, which may take ``timeout`` seconds."""
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
        """While there is nothing to do, or no room for it."""
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
    """What this process holds, and may hold. Made when all is imported, before any video is read."""

    def __init__(self) -> None:
        self._data, self._own = _held()
        self._mapped = _mapped("VmSize")
        self._limit = inf

    def limit(self, size_bytes: int) -> None:
        """Let videos take ``size_bytes`` and no more; asking for more is then a MemoryError. Only where LIMITED."""
        self._limit = size_bytes
        if LIMITED:
            limit(resource.RLIMIT_DATA, self._data + size_bytes)

    def was_scarce(self, shared_bytes: int) -> bool:
        """Whether this process has ever come near its limit; ``shared_bytes`` of what it maps do not count.

        FFmpeg may give a lack of memory, even for a thread, any name, that of damage included.
        """
        return LIMITED and _mapped("VmPeak") - self._mapped - shared_bytes > SCARCE * self._limit

    def give_back(self) -> bool:
        """Return what videos have left behind to the system; whether much stays, so that a new process is better."""
        if _held()[1] - self._own > TRIMMED_BYTES:
            with suppress(AttributeError, OSError):  # glibc's alone
                ctypes.CDLL(None).malloc_trim(0)
        return _held()[1] - self._own > WORN_BYTES


def _held() -> tuple[int, int]:
    """Bytes that RLIMIT_DATA counts, and bytes in memory that are shared with nobody; 0 where Linux does not tell."""
    try:
        with open("/proc/self/statm") as file:
            _, resident, shared, _, _, data, _ = map(int, file.read().split())
    except (OSError, ValueError):
        return 0, 0
    return data * mmap.PAGESIZE, (resident - shared) * mmap.PAGESIZE


def _mapped(which: str) -> int:
    """Bytes of address space that this process has ("VmSize") or has had at most ("VmPeak"); 0 where nothing tells."""
    with suppress(OSError, ValueError), open("/proc/self/status") as file:
        for line in file:
            if line.startswith(which):
                return int(line.split()[1]) << 10
    return 0


def be_expendable() -> None:
    """Let the system kill this process rather than the run when memory is short, and leave no core where it crashes.

    What its threads reserve without using is kept small, so that it tells nothing of what videos need.
    """
    with suppress(OSError, ValueError), open("/proc/self/oom_score_adj", "r+") as file:
        score = int(file.read())
        file.seek(0)
        file.write(str(min(1000, score + EXPENDABLE)))
    with suppress(AttributeError, OSError):  # glibc's alone
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def end_with(parent: int, *, by_signal: bool) -> None:
    """End this process when the process ``parent``, which started it, has ended, even where FFmpeg never returns.

    by_signal: the system may see to it, at once and whatever this process does. Not where another thread than the
    parent's main one started it: Linux takes the end of that thread for the parent's.
    """
    if by_signal and sys.platform == "linux":
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it was gone before the signal was asked for
        os._exit(1)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
