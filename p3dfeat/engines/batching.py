"""How many clips go through a net together: what fits into memory, and what is fastest."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import torch

from p3dfeat.engines.engine import Joined
from p3dfeat.errors import UsageError
from p3dfeat.types import Pending, UInt8Array

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
    """Starts batches whole or, once memory has run out, in parts of half as many clips, and so on.

    limit: more clips are never started together.
    make_room: called after memory has run out, when nothing refers any more to what was being computed.
    """

    def __init__(
        self, start: Start, *, device: str, limit: int | None = None, make_room: Callable[[], None] = lambda: None
    ):
        self._start, self._device, self._make_room = start, device, make_room
        self.limit = limit  # clips started together; None while all has fitted

    def start(self, frames: UInt8Array) -> Pending:
        """Start (N, T, C, H, W) frames. Raises UsageError where a single clip does not fit."""
        parts: list[Pending] = []
        first = 0
        while first < len(frames):
            part = frames[first : first + (self.limit or len(frames))]
            pending = self._try(part)
            if pending is not None:
                parts.append(pending)
                first += len(part)
            elif len(part) > 1:
                self.limit = (len(part) + 1) // 2
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
