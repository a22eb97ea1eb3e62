"""The devices of this machine that networks can run on."""

import platform
import re

import torch

from p3dfeat.errors import UsageError

KNOWN = "auto, cpu, cuda, cuda:N, cuda:all, a list such as cuda:0,cuda:1, mps"


def pick_device(name: str) -> torch.device:
    """The device of "auto", "cpu", "cuda", "cuda:1" or "mps". Raises UsageError if it is not available."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps_available() else "cpu")
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise UsageError(f"device {name!r}: unknown; known are {KNOWN}")
    device = torch.device(name)
    if device.type == "cuda":
        count = num_gpus()
        if not count:
            raise UsageError(f"device {name!r}: this PyTorch sees no CUDA GPU; use --device cpu")
        if (device.index or 0) >= count:
            raise UsageError(f"device {name!r}: there are {count} GPUs, cuda:0 to cuda:{count - 1}")
    if device.type == "mps" and not mps_available():
        raise UsageError("device 'mps': this PyTorch sees no Apple GPU; use --device cpu")
    return device


def pick_devices(names: str) -> tuple[torch.device, ...]:
    """One device, or the GPUs of "cuda:all" or of a list such as "cuda:0,cuda:1".

    Raises UsageError if a device is unknown, not available or named twice.
    """
    if names == "cuda:all":
        pick_device("cuda")  # raises UsageError if there is no GPU
        return tuple(torch.device("cuda", index) for index in range(num_gpus()))
    devices = tuple(pick_device(name.strip()) for name in names.split(","))
    if len(devices) > 1:
        if any(device.type != "cuda" or device.index is None for device in devices):
            raise UsageError(f"device {names!r}: a list names CUDA GPUs by number, such as cuda:0,cuda:1")
        if len(set(devices)) < len(devices):
            raise UsageError(f"device {names!r}: names one twice")
    return devices


def device_name(device: torch.device) -> str:
    """The name of the GPU, or the machine and the device type."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} {device.type}"


def num_gpus() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def mps_available() -> bool:
    return torch.backends.mps.is_available()
