"""How many clips go through a network together: what fits into memory, and what is fastest."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from p3dfeat.engines.engine import Joined
from p3dfeat.errors import UsageError
from p3dfeat.types import FloatArray, Pending, UInt8Array

Start = Callable[[UInt8Array], Pending]  # (N, T, C, H, W) -> its rows, to be waited for

SIZES: Final = (8, 16, 32, 64, 128, 256)
LEAST_GAIN: Final = 1.05  # clips a second, of a size over half of it; less is not worth the memory and the waiting
WARM_UP: Final = 3  # batches: the first chooses kernels, the second is captured as a CUDA graph, the third replays it
TIMED: Final = 5  # batches
SIGNS: Final = (  # in a RuntimeError that is not torch.OutOfMemoryError
    "out of memory",  # of CUDA itself, and of Apple's MPS
    "can't allocate memory",  # of the CPU's allocator; in other words on Windows
    "not enough memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an engine failed for want of memory, which fewer clips would not need."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


class Fitting:
    """Starts batches in parts of always as many clips, or, once memory has run out, of half as many, and so on.

    How many clips go through a network together decides in which order sums are made, and so the last bits of the rows.
    In parts of one size a clip's rows are the same whatever clips come with it; the last part is filled up.
    make_room: called after memory has run out, when nothing refers any more to what was being computed.
    """

    def __init__(self, start: Start, *, device: str, make_room: Callable[[], None] = lambda: None):
        self._start, self._device, self._make_room = start, device, make_room
        self.limit: int | None = None  # clips started together; None while all has fitted

    def start(self, frames: UInt8Array, size: int) -> Pending:
        """Start (N, T, C, H, W) frames, ``size`` clips together. Raises UsageError where a single one does not fit."""
        parts: list[Pending] = []
        first = 0
        while first < len(frames):
            together = min(size, self.limit or size)
            part = frames[first : first + together]
            pending = self._try(filled_up(part, together))
            if pending is not None:
                parts.append(pending if len(part) == together else First(pending, len(part)))
                first += len(part)
            elif together > 1:
                self.limit = (together + 1) // 2
                self._make_room()
            else:
                raise UsageError(f"device {self._device}: a single clip does not fit into its memory; try another one")
        return parts[0] if len(parts) == 1 else Joined(parts)

    def _try(self, frames: UInt8Array) -> Pending | None:
        """None where memory runs out; the error, which holds on to what was being computed, is gone then."""
        try:
            return self._start(frames)
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                return None
            raise


def filled_up(frames: UInt8Array, size: int) -> UInt8Array:
    """(N, ...) frames and, where they are fewer than ``size``, so many copies of the last clip."""
    missing = size - len(frames)
    return np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)]) if missing > 0 else frames


@dataclass(frozen=True)
class First:
    """The rows of the first ``count`` clips of a batch; the others only filled it up."""

    batch: Pending
    count: int

    def result(self) -> dict[str, FloatArray]:
        return {name: rows[: self.count] for name, rows in self.batch.result().items()}


def in_whole_parts(clips: int, size: int) -> int:
    """The next multiple of ``size``: what is computed anyway may as well be clips."""
    return -(-clips // size) * size


def work_through(start: Start, frames: UInt8Array, count: int, *, in_flight: int) -> None:
    """Run the same batch so many times, as many at once as an engine wants."""
    pending: deque[Pending] = deque()
    for _ in range(count):
        pending.append(start(frames))
        if len(pending) >= in_flight:
            pending.popleft().result()
    for batch in pending:
        batch.result()


def seconds_a_batch(start: Start, frames: UInt8Array, *, in_flight: int) -> float:
    """How long one of several batches in a row takes, its copies included, after a warm-up."""
    work_through(start, frames, WARM_UP, in_flight=in_flight)
    begun = time.perf_counter()
    work_through(start, frames, TIMED, in_flight=in_flight)
    return (time.perf_counter() - begun) / TIMED


def best_batch_size(measure: Callable[[int], float], sizes: Sequence[int] = SIZES) -> int:
    """The size after which a larger one gains less than 5 % of clips a second, or does not fit.

    measure: size -> seconds a batch; it may run out of memory. sizes: ascending.
    """
    best, best_rate = sizes[0], 0.0
    for size in sizes:
        try:
            rate = size / measure(size)
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                break
            raise
        if rate < LEAST_GAIN * best_rate:
            break
        best, best_rate = size, rate
    return best
