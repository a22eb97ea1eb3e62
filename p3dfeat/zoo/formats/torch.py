"""PyTorch checkpoints and safetensors files. Only tensors are loaded from checkpoints."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from p3dfeat.errors import WeightsError


def read_checkpoint(path: Path, most_bytes: int) -> dict[str, NDArray[np.generic]]:
    """The state dict of a .pth or .pth.tar file: its content, or its entry state_dict. Raises WeightsError.

    most_bytes: limit for all tensors together; each view of a storage counts. The file is loaded in torch's
    weights-only mode, so that no code from it is run.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings of old pickle protocols do not help the user
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise WeightsError("holds more than tensors, or is damaged; to load it could run code") from None
    except Exception as error:  # torch's readers raise any exception on a damaged file
        raise WeightsError(f"a damaged PyTorch checkpoint ({type(error).__name__})") from None
    tensors = _state_dict(content)
    for name, value in tensors.items():
        most_bytes -= value.numel() * value.element_size()
        if most_bytes < 0:
            raise WeightsError(f"tensor {name} claims more numbers than the file has")
    return {name: _array(name, value) for name, value in tensors.items()}


def _state_dict(content: Any) -> dict[str, torch.Tensor]:
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise WeightsError(f"holds a {type(content).__name__}, not a state dict")
    tensors: dict[str, torch.Tensor] = {}
    for name, value in content.items():
        if not isinstance(value, torch.Tensor):
            raise WeightsError(f"entry {name!r} is a {type(value).__name__}, not a tensor")
        tensors[str(name).removeprefix("module.")] = value.detach()
    if not tensors:
        raise WeightsError("no weights in it")
    return tensors


def _array(name: str, value: torch.Tensor) -> NDArray[np.generic]:
    """A tensor as a float32 array, or with its own integer type."""
    if value.layout is not torch.strided or value.device.type != "cpu" or value.is_quantized or value.is_complex():
        raise WeightsError(f"tensor {name} is sparse, quantized, complex or empty; weights are plain numbers")
    if value.untyped_storage().nbytes() < value.numel() * value.element_size():
        raise WeightsError(f"tensor {name} claims more numbers than the file has")
    return np.asarray((value.float() if value.is_floating_point() else value).numpy())


def read_safetensors(path: Path) -> tuple[dict[str, NDArray[np.generic]], dict[str, str]]:
    """Arrays and metadata of a safetensors file. Raises WeightsError."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, NotImplementedError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"not a safetensors file, or a damaged one ({reason})") from None
    return {name: _array(name, value) for name, value in arrays.items()}, metadata
