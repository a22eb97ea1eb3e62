"""The number of clips that a network computes together: as many as fit into memory, and the fastest number."""

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

Start = Callable[[UInt8Array], Pending]  # (N, T, C, H, W) -> its pending rows

SIZES: Final = (8, 16, 32, 64, 128, 256)
LEAST_GAIN: Final = 1.05  # in clips per second, over half the size; less is not worth the memory and the waiting
WARM_UP: Final = 3  # batches: the first chooses kernels, the second is captured as a CUDA graph, the third replays it
TIMED: Final = 5  # batches
SIGNS: Final = (  # in a RuntimeError that is not torch.OutOfMemoryError
    "out of memory",  # CUDA itself, and Apple's MPS
    "can't allocate memory",  # the CPU's allocator; Windows has another text
    "not enough memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an engine failed because memory ran out, so that fewer clips may work."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


class Fitting:
    """Starts batches in parts of a fixed number of clips. Each time memory runs out, this number is halved.

    The number of clips computed together decides the order of sums, and so the last bits of the rows. With a fixed
    number, the rows of a clip do not depend on the other clips. The last part is filled up.
    make_room: called after memory has run out, when no reference to the failed computation is left.
    """

    def __init__(self, start: Start, *, device: str, make_room: Callable[[], None] = lambda: None):
        self._start, self._device, self._make_room = start, device, make_room
        self.limit: int | None = None  # clips started together; None until memory has run out

    def start(self, frames: UInt8Array, size: int) -> Pending:
        """Start (N, T, C, H, W) frames, ``size`` clips together. Raises UsageError if a single clip does not fit."""
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
        """None if memory runs out. The error is dropped, because it refers to the memory of the computation."""
        try:
            return self._start(frames)
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                return None
            raise


def filled_up(frames: UInt8Array, size: int) -> UInt8Array:
    """(N, ...) frames, extended to ``size`` clips with copies of the last clip if there are fewer."""
    missing = size - len(frames)
    return np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)]) if missing > 0 else frames


@dataclass(frozen=True)
class First:
    """The rows of the first ``count`` clips of a batch. The other clips are copies that fill it up."""

    batch: Pending
    count: int

    def result(self) -> dict[str, FloatArray]:
        return {name: rows[: self.count] for name, rows in self.batch.result().items()}


def in_whole_parts(clips: int, size: int) -> int:
    """``clips``, rounded up to a multiple of ``size``: a part is always computed whole."""
    return -(-clips // size) * size


def work_through(start: Start, frames: UInt8Array, count: int, *, in_flight: int) -> None:
    """Run the same batch ``count`` times, with ``in_flight`` batches at once."""
    pending: deque[Pending] = deque()
    for _ in range(count):
        pending.append(start(frames))
        if len(pending) >= in_flight:
            pending.popleft().result()
    for batch in pending:
        batch.result()


def seconds_a_batch(start: Start, frames: UInt8Array, *, in_flight: int) -> float:
    """Seconds per batch of several batches in a row, after a warm-up. Copies are included."""
    work_through(start, frames, WARM_UP, in_flight=in_flight)
    begun = time.perf_counter()
    work_through(start, frames, TIMED, in_flight=in_flight)
    return (time.perf_counter() - begun) / TIMED


def best_batch_size(measure: Callable[[int], float], sizes: Sequence[int] = SIZES) -> int:
    """The first size after which the next one gains less than 5 % in clips per second, or does not fit.

    measure: size -> seconds per batch; it may run out of memory. sizes: ascending.
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
