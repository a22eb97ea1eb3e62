"""A network on one CUDA GPU: copies overlap with computation, and kernels are replayed as a CUDA graph.

There are three streams: one uploads frames, one runs the network, one downloads rows. So the copies of one batch
overlap with the computation of another. This module manages no buffers. Pinned and device memory come from PyTorch's
caching allocators, which reuse a block only after all streams that used it have finished with it (record_stream, and
for pinned memory the copies themselves).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from p3dfeat.types import FloatArray, Pending, UInt8Array

Rows = dict[str, Tensor]
Function = Callable[[Tensor], Rows]


class CudaRunner:
    """Runs ``function`` (device frames -> device rows) on frames in host memory."""

    def __init__(self, function: Function, device: torch.device):
        self._device = device
        with torch.cuda.device(device):
            self._upload, self._compute, self._download = (_new_stream() for _ in range(3))
        self._net = Graphed(function, self._captured, self._settle)
        self._settle()  # the weights were copied on another stream

    @property
    def capture_failure(self) -> str | None:
        """The reason of the last failed graph capture; None if none failed."""
        return self._net.failure

    def start(self, frames: UInt8Array) -> Pending:
        """Queue all work for (N, T, C, H, W) uint8. ``frames`` has been read when this returns."""
        with torch.inference_mode(), torch.cuda.device(self._device):
            pinned = _pinned(frames.shape, torch.uint8)
            pinned.copy_(torch.from_numpy(frames))
            with torch.cuda.stream(self._upload):
                x = pinned.to(self._device, non_blocking=True)
            self._compute.wait_stream(self._upload)
            x.record_stream(self._compute)
            with torch.cuda.stream(self._compute):
                found = self._net(x)
            self._download.wait_stream(self._compute)
            with torch.cuda.stream(self._download):
                rows = {name: self._to_host(value) for name, value in found.items()}
                done = self._download.record_event(_new_event())
            return _Downloading(rows, done)

    def make_room(self) -> None:
        """Free the memory that is kept for later batches, including the graph's."""
        self._settle()
        self._net.forget()
        with torch.cuda.device(self._device):
            torch.cuda.empty_cache()

    def _to_host(self, value: Tensor) -> Tensor:
        value.record_stream(self._download)
        host = _pinned(value.shape, value.dtype)
        return host.copy_(value, non_blocking=True)

    def _captured(self, function: Function, x: Tensor) -> "Captured":
        graph, static = torch.cuda.CUDAGraph(), torch.empty_like(x)
        # "thread_local": GPU calls in other threads of the user's program do not break the capture.
        with torch.cuda.graph(graph, stream=self._compute, capture_error_mode="thread_local"):
            rows = function(static)
        return Captured(static, rows, graph.replay)

    def _settle(self) -> None:
        torch.cuda.synchronize(self._device)


@dataclass(frozen=True)
class _Downloading:
    """Rows on their way to pinned host memory."""

    rows: Rows
    done: torch.cuda.Event

    def result(self) -> dict[str, FloatArray]:
        self.done.synchronize()
        return {name: value.numpy() for name, value in self.rows.items()}


@dataclass(frozen=True)
class Captured:
    """Captured kernels that read one fixed tensor and write others. They are replayed together."""

    input: Tensor
    rows: Rows
    replay: Callable[[], None]

    def __call__(self, x: Tensor) -> Rows:
        """Return copies: the next replay overwrites the rows, but their download may not be finished."""
        self.input.copy_(x)
        self.replay()
        return {name: value.clone() for name, value in self.rows.items()}


class Graphed:
    """``function``, captured when a shape comes twice in a row, and then replayed for that shape.

    All batches have one size until memory runs out; the last batch is filled up. A batch of another size runs without
    a graph, and so does a shape whose capture failed.
    settle: waits until the device is idle.
    """

    def __init__(self, function: Function, capture: Callable[[Function, Tensor], Captured], settle: Callable[[], None]):
        self._function, self._capture, self._settle = function, capture, settle
        self._captured: Captured | None = None
        self._last: torch.Size | None = None
        self._refused: set[torch.Size] = set()
        self.failure: str | None = None

    def __call__(self, x: Tensor) -> Rows:
        again, self._last = x.shape == self._last, x.shape
        fits = self._captured is not None and self._captured.input.shape == x.shape
        if again and not fits and x.shape not in self._refused:
            self._settle()
            self._captured = None  # free its memory for the new graph
            self._captured = self._try_to_capture(x)
            fits = self._captured is not None
        return self._captured(x) if self._captured is not None and fits else self._function(x)

    def forget(self) -> None:
        """Drop the graph and its memory. The graph must not be running."""
        self._captured = self._last = None

    def _try_to_capture(self, x: Tensor) -> Captured | None:
        try:
            return self._capture(self._function, x)
        except RuntimeError as error:  # also if there is no memory for a second set of activations
            self.failure = str(error).partition("\n")[0]
            self._refused.add(x.shape)
            return None


def _new_stream() -> torch.cuda.Stream:
    """A stream of the current device."""
    return torch.cuda.Stream()  # type: ignore[no-untyped-call]


def _new_event() -> torch.cuda.Event:
    """An event on which a thread waits asleep, so that the CPU core is free for the decoders."""
    return torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]


def _pinned(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Pinned host memory: the GPU copies from and to it by itself."""
    return torch.empty(shape, dtype=dtype, pin_memory=True)
