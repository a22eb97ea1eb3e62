"""PyTorch on the CPU, a CUDA GPU or Apple's MPS: batch norms folded, channels last."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from p3dfeat.config import InputSpec
from p3dfeat.engines.batch_size_cache import KeptSizes
from p3dfeat.engines.batching import Fitting, best_batch_size, in_whole_parts, seconds_a_batch
from p3dfeat.engines.cuda import CudaRunner
from p3dfeat.engines.devices import device_name, pick_device
from p3dfeat.engines.engine import Done, Engine
from p3dfeat.engines.fuse_batch_norm import folded
from p3dfeat.engines.normalize import constants, normalize
from p3dfeat.errors import UsageError
from p3dfeat.nets import P3D
from p3dfeat.types import Batch, Pending, UInt8Array

PRECISIONS: Final = {
    "fp32": torch.float32,
    "tf32": torch.float32,  # a CUDA GPU rounds the factors of its products to 10 bits
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
# Used if no size was measured. On a CPU the size is fixed: the products of layers such as prob take four rows at a
# time, so that in parts of three or seven clips even their order changes the last bits.
BATCH_SIZES: Final = {"cpu": 4, "cuda": 32, "mps": 16}
# On a CPU more clips at once are slower: P3D-199 takes 244 ms per clip with 2 clips, 263 ms with 4 and 280 ms with 8.
# The activations are then so large that the memory of each is mapped again.
LARGE: Final = 5_000_000  # weights
LARGE_SIZE: Final = 2  # clips
_one_thread: Final = threading.RLock()  # the precision of products is set for the whole process


class TorchEngine(Engine):
    """Runs a network on batches. The layers that it returns are fixed at construction.

    precision: the precision of the convolutions and of their stored weights. pool5 and later layers are computed in
    fp32, and all results are float32. "auto" is fp32: a lower precision must be asked for.
    batch_size: number of clips computed together on a GPU; on a CPU only the number of clips wanted at once.
    kept: storage for the best batch size of a GPU. Only if it is given, the size is measured, at its first use.
    Raises UsageError if the device or the precision is not available.
    """

    name = "torch"
    device: torch.device

    def __init__(
        self,
        net: P3D,
        spec: InputSpec,
        *,
        layers: tuple[str, ...] = ("pool5",),
        device: str = "auto",
        precision: str = "auto",
        batch_size: int | None = None,
        kept: KeptSizes | None = None,
    ):
        if not layers:
            raise UsageError("layers: none given; pool5 is the usual one")
        net.architecture.check_layers(layers)
        self.device = pick_device(device)
        self.precision = checked_precision(precision, self.device)
        self.layers = layers
        self._spec, self._constants = spec, constants(spec, self.device)
        self._net = lowered(channels_last(folded(net)), PRECISIONS[self.precision]).to(self.device)
        self._cuda = CudaRunner(self._on_cuda, self.device) if self.device.type == "cuda" else None
        if self._cuda is not None:
            self.in_flight = 2  # one batch is computed while the next is copied
        self._fitting = Fitting(self._start, device=str(self.device), make_room=self._make_room)
        on_cpu, large = self.device.type == "cpu", net.architecture.num_weights >= LARGE
        self._kept = None if on_cpu or batch_size is not None else kept
        self._together: int | None = None  # fixed number of clips computed together
        if on_cpu:
            self._together = LARGE_SIZE if large else BATCH_SIZES["cpu"]
        elif self._kept is None:
            self._together = batch_size or BATCH_SIZES[self.device.type]
        self._wanted = batch_size

    @property
    def together(self) -> int:
        """The fixed number of clips computed together, as long as there is memory for them."""
        if self._together is None:
            self._together = self._found_size()
        return self._together

    @property
    def batch_size(self) -> int:
        """A number of clips that keeps this device busy. It is smaller after memory has run out."""
        return self.limit or in_whole_parts(self._wanted or self.together, self.together)

    @property
    def limit(self) -> int | None:
        """Number of clips started together since memory ran out; None if it has not run out."""
        return self._fitting.limit

    @property
    def capture_failure(self) -> str | None:
        """On a CUDA GPU, the reason why kernels are launched one by one and not replayed; else None."""
        return None if self._cuda is None else self._cuda.capture_failure

    def start(self, batch: Batch) -> Pending:
        return self._fitting.start(batch.planes, self.together)

    def _start(self, planes: UInt8Array) -> Pending:
        if self._cuda is not None:
            return self._cuda.start(planes)
        with torch.inference_mode():
            found = self._forward(torch.from_numpy(planes).to(self.device))
        return Done({name: value.cpu().numpy() for name, value in found.items()})

    def _on_cuda(self, planes: Tensor) -> dict[str, Tensor]:
        with fp32_products_in("tf32" if self.precision == "tf32" else "ieee"):
            return {name: value.contiguous() for name, value in self._forward(planes).items()}

    def _forward(self, planes: Tensor) -> dict[str, Tensor]:
        """(N, T, C, H, W) uint8 on the device -> {layer: (N, ...) float32} on the device."""
        frames = planes.permute(0, 1, 3, 4, 2).contiguous()  # channels last from here on; bytes are fastest to move
        # With one channel both memory orders are the same, and PyTorch chooses kernels by the strides alone. The flat
        # view resets the strides. Without it, other kernels run: 25 % slower, with other last bits.
        frames = frames.flatten().view(frames.shape)
        x = normalize(frames, self._spec, self._constants).to(PRECISIONS[self.precision])
        return {name: value.float() for name, value in self._net(x, layers=self.layers).items()}

    def _make_room(self) -> None:
        if self._cuda is not None:
            self._cuda.make_room()
        elif self.device.type == "mps":
            torch.mps.empty_cache()

    def _found_size(self) -> int:
        """The best batch size: kept from an earlier run, or measured now, within seconds, and kept."""
        assert self._kept is not None
        spec = self._spec
        about = (device_name(self.device), torch.__version__, self.precision, spec.length, spec.size, self.layers)
        size = self._kept.get(*about)
        if size is None:
            size = best_batch_size(self._seconds_a_batch)
            self._make_room()  # give back the memory of the largest size to other programs
            self._kept.put(size, *about)
        return size

    def _seconds_a_batch(self, size: int) -> float:
        shape = (size, self._spec.length, self._spec.num_channels, *self._spec.size)
        planes = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        return seconds_a_batch(self._start, planes, in_flight=self.in_flight)


def checked_precision(precision: str, device: torch.device) -> str:
    """The precision, with "auto" resolved. Raises UsageError if it is unknown or not available on ``device``."""
    found = "fp32" if precision == "auto" else precision
    if found not in PRECISIONS:
        raise UsageError(f"precision {precision!r}: unknown; known are auto, {', '.join(PRECISIONS)}")
    if found == "tf32":
        if device.type != "cuda":
            raise UsageError(f"precision 'tf32': is of CUDA GPUs, not of {device.type}; use fp32 or bf16")
        with torch.cuda.device(device):
            if not torch.cuda.is_tf32_supported():
                raise UsageError(f"precision 'tf32': {device_name(device)} does not have it; use fp32 or fp16")
    return found


def channels_last(net: P3D) -> P3D:
    """Store the convolutions' weights with channels last, in place. This is 1.5 times as fast on a CPU."""
    for module in net.modules():
        if isinstance(module, nn.Conv3d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last_3d)
        elif isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
    return net


def lowered(net: P3D, dtype: torch.dtype) -> P3D:
    """Convert the convolutions to ``dtype``, in place: autocast would convert their weights again for each batch."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            module.to(dtype)
    return net


@contextmanager
def fp32_products_in(kind: str) -> Iterator[None]:
    """Set how cuDNN multiplies fp32: "ieee", or "tf32", which is PyTorch's default. Matrix products stay exact."""
    backends: Any = torch.backends  # mypy does not know its conv
    convolution, product = backends.cudnn.conv, backends.cuda.matmul
    with _one_thread:
        before = convolution.fp32_precision, product.fp32_precision
        convolution.fp32_precision, product.fp32_precision = kind, "ieee"
        try:
            yield
        finally:
            convolution.fp32_precision, product.fp32_precision = before
