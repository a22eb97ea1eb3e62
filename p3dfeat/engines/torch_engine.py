"""PyTorch on the CPU, a CUDA GPU or Apple's MPS: batch norms folded, channels last."""

import re
from typing import Final

import torch
from torch import nn

from p3dfeat.config import InputSpec
from p3dfeat.engines.folding import folded
from p3dfeat.engines.normalize import normalize
from p3dfeat.errors import UsageError
from p3dfeat.nets import P3D
from p3dfeat.types import Batch, FloatArray

PRECISIONS: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
BATCH_SIZES: Final = {"cpu": 8, "cuda": 32, "mps": 16}


class TorchEngine:
    """Runs a net on batches; the layers it returns are fixed when it is made.

    precision: fp32, or the type that convolutions run in (autocast); results are float32 in any case. "auto" is
    fp32: no lower precision is taken unasked.
    Raises UsageError for a device or precision that is not to be had.
    """

    name = "torch"
    calibrated = None  # no precision here needs it

    def __init__(
        self,
        net: P3D,
        spec: InputSpec,
        *,
        layers: tuple[str, ...] = ("pool5",),
        device: str = "auto",
        precision: str = "auto",
    ):
        if not layers:
            raise UsageError("layers: none given; pool5 is the usual one")
        net.architecture.check_layers(layers)
        self.device = pick_device(device)
        self.precision = "fp32" if precision == "auto" else precision
        if self.precision not in PRECISIONS:
            raise UsageError(f"precision {precision!r}: unknown; known are auto, {', '.join(PRECISIONS)}, int8")
        self.layers = layers
        self._spec = spec
        self._net = channels_last(folded(net)).to(self.device)

    @property
    def batch_size(self) -> int:
        """A number of clips that keeps this device busy without asking for much memory."""
        return BATCH_SIZES[self.device.type]

    def run(self, batch: Batch) -> dict[str, FloatArray]:
        """{layer: (N, ...) float32} of a batch of N clips."""
        frames = torch.from_numpy(batch.frames).to(self.device)
        autocast = torch.autocast(self.device.type, dtype=PRECISIONS[self.precision], enabled=self.precision != "fp32")
        # cuDNN's convolutions would otherwise round fp32 to TF32's 10 bits, unasked.
        with torch.inference_mode(), autocast, torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            found = self._net(normalize(frames, self._spec), layers=self.layers)
        return {name: value.float().cpu().numpy() for name, value in found.items()}


def pick_device(name: str) -> torch.device:
    """The device of "auto", "cpu", "cuda", "cuda:1" or "mps". Raises UsageError where it is not to be had."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps_available() else "cpu")
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise UsageError(f"device {name!r}: unknown; known are auto, cpu, cuda, cuda:N, mps")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            raise UsageError(f"device {name!r}: this PyTorch sees no CUDA GPU; use --device cpu")
        if (device.index or 0) >= count:
            raise UsageError(f"device {name!r}: there are {count} GPUs, cuda:0 to cuda:{count - 1}")
    if device.type == "mps" and not mps_available():
        raise UsageError("device 'mps': this PyTorch sees no Apple GPU; use --device cpu")
    return device


def mps_available() -> bool:
    return torch.backends.mps.is_available()


def channels_last(net: P3D) -> P3D:
    """Lay the convolutions' weights out with channels last, in place; half again as fast on a CPU."""
    for module in net.modules():
        if isinstance(module, nn.Conv3d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last_3d)
        elif isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
    return net
