"""Translation of other software's tensor names to p3dfeat's names, and the architecture that fits the tensors.

Depth, width, input channels and classes are read from the tensors. Block kinds cannot be read from them: the default
is the cycle A, B, C of the paper's mixed network.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from p3dfeat.errors import WeightsError
from p3dfeat.nets.architecture import Architecture
from p3dfeat.nets.p3d import on_meta

Arrays = Mapping[str, NDArray[np.generic]]

CAFFE_BATCH_NORM: Final = ("weight", "bias", "running_mean", "running_var")  # slope, bias, mean, variance
NUMBERED_BLOBS: Final = ("0", "1", "2", "3")
CAFFE_BRANCHES: Final = {"2a": "reduce", "2b": "spatial", "2b_t": "temporal", "2c": "expand"}
GLUONCV_PARTS: Final = {
    "conv1": "conv_reduce",
    "bn1": "bn_reduce",
    "conv2": "conv_spatial",
    "bn2": "bn_spatial",
    "conv_temporal": "conv_temporal",
    "bn_temporal": "bn_temporal",
    "conv3": "conv_expand",
    "bn3": "bn_expand",
}
PORT_PARTS: Final = {
    "conv1": "conv_reduce",
    "bn1": "bn_reduce",
    "conv2": "conv_spatial",
    "bn2": "bn_spatial",
    "conv3": "conv_temporal",
    "bn3": "bn_temporal",
    "conv4": "conv_expand",
    "bn4": "bn_expand",
    "conv_normal": "conv_spatial",
    "bn_normal": "bn_spatial",
}
TRANSFORMERS_PARTS: Final = {"convolution": "conv", "normalization": "bn"}
CONV1_AREA: Final = 7 * 7
FIELDS: Final = {"gamma": "weight", "beta": "bias"}


def caffe_name(name: str) -> str | None:
    """``res3b1_branch2b_t/0`` -> ``res3b1.conv_temporal.weight``; None for a tensor that no P3D has."""
    layer, _, blob = name.rpartition("/")
    number = int(blob) if blob in NUMBERED_BLOBS else -1
    if layer.startswith("fc") and number in (0, 1):
        return f"fc.{('weight', 'bias')[number]}"
    found = re.fullmatch(r"(res|bn)(\d[a-z]+\d*)_branch(1|2a|2b|2b_t|2c)", layer)
    if layer in ("conv1", "bn_conv1"):
        batch_norm, place = layer == "bn_conv1", "bn1" if layer == "bn_conv1" else "conv1"
    elif found is None:
        return None
    else:
        batch_norm, block = found[1] == "bn", f"res{found[2]}"
        part = CAFFE_BRANCHES.get(found[3])
        place = f"{block}.{'bn' if batch_norm else 'conv'}_{part}" if part else f"{block}.shortcut.{int(batch_norm)}"
    fields = CAFFE_BATCH_NORM if batch_norm else ("weight",)
    return f"{place}.{fields[number]}" if 0 <= number < len(fields) else None


def gluoncv_name(name: str) -> str | None:
    """``layer2.1.conv_temporal.weight`` -> ``res3b1.conv_temporal.weight``; None for a tensor that no P3D has."""
    return _numbered_name(name, GLUONCV_PARTS)


def port_name(name: str) -> str | None:
    """The same as ``gluoncv_name`` for the community port's checkpoints, in which conv3 is T and conv4 expands."""
    return _numbered_name(name.replace("conv1_custom", "conv1", 1), PORT_PARTS)


def transformers_name(name: str) -> str | None:
    """``resnet.encoder.stages.1.layers.0.layer.2.convolution.weight`` -> ``res3a.conv_expand.weight``."""
    if name.startswith("classifier.1."):
        return f"fc.{name.removeprefix('classifier.1.')}"
    stem = re.fullmatch(r"resnet\.embedder\.embedder\.(convolution|normalization)\.(\w+)", name)
    if stem is not None:
        return f"{TRANSFORMERS_PARTS[stem[1]]}1.{stem[2]}"
    found = re.fullmatch(
        r"resnet\.encoder\.stages\.(\d)\.layers\.(\d{1,3})\.(?:layer\.([012])|shortcut)\.(convolution|normalization)\.(\w+)",
        name,
    )
    if found is None:
        return None
    part = TRANSFORMERS_PARTS[found[4]]
    place = f"downsample.{['conv', 'bn'].index(part)}" if found[3] is None else f"{part}{int(found[3]) + 1}"
    return gluoncv_name(f"layer{int(found[1]) + 1}.{found[2]}.{place}.{found[5]}")


def _numbered_name(name: str, parts: Mapping[str, str]) -> str | None:
    *place, field = name.split(".")
    field = FIELDS.get(field, field)
    if place in (["conv1"], ["bn1"], ["fc"]):
        return f"{place[0]}.{field}"
    found = re.fullmatch(r"layer([1-4])\.(\d{1,3})\.(?:(\w+)|downsample\.([01]))", ".".join(place))
    if found is None:
        return None
    stage, number = int(found[1]) + 1, int(found[2])
    block = f"res{stage}" + ("a" if number == 0 else _later_block(stage, number))
    if found[4] is not None:
        return f"{block}.shortcut.{found[4]}.{field}"
    return f"{block}.{parts[found[3]]}.{field}" if found[3] in parts else None


def _later_block(stage: int, number: int) -> str:
    stages = [1, 1, 1, 1]
    stages[stage - 2] = number + 1
    return Architecture(tuple(stages)).stage_blocks(stage)[number].removeprefix(f"res{stage}")  # type: ignore[arg-type]


def renamed(arrays: Arrays, naming: Callable[[str], str | None]) -> dict[str, NDArray[np.generic]]:
    """The arrays with p3dfeat's names. Raises WeightsError naming the first unknown or repeated tensor."""
    found: dict[str, NDArray[np.generic]] = {}
    for name, array in arrays.items():
        if name.endswith("num_batches_tracked"):
            continue
        own = naming(name)
        if own is None:
            raise WeightsError(f"tensor {name} belongs to no layer of a P3D")
        if own in found:
            raise WeightsError(f"tensor {name} appears twice, under two names")
        found[own] = array
    return found


def architecture_of(arrays: Arrays, *, family: str, kinds: str = "ABC") -> Architecture:
    """The network of these tensors, which have p3dfeat's names. Raises WeightsError if they are not one of a P3D."""
    for name, smallest in (("conv1.weight", CONV1_AREA), ("fc.weight", 1)):
        if name not in arrays:
            raise WeightsError(f"tensor {name} is missing")
        if arrays[name].ndim < 2 or arrays[name].size < smallest:
            raise WeightsError(f"tensor {name} has shape {arrays[name].shape}, which is not one of a P3D")
    blocks = {name.split(".")[0] for name in arrays if re.match(r"res[2-5][a-z]", name)}
    stages = tuple(sum(block.startswith(f"res{stage}") for block in blocks) for stage in (2, 3, 4, 5))
    if 0 in stages:
        raise WeightsError(f"stages of {stages} blocks are not one of a P3D")
    base_width, channels = arrays["conv1.weight"].shape[:2]
    classes = arrays["fc.weight"].shape[-2]  # Caffe's old files have two dimensions of 1 before these
    return Architecture(
        stages=stages,  # type: ignore[arg-type]  # four of them
        kinds=kinds,
        family=family,
        channels=channels,
        classes=classes,
        base_width=base_width,
    )


def fitted(arrays: Arrays, architecture: Architecture) -> dict[str, torch.Tensor]:
    """The state dict of a network of ``architecture``. Raises WeightsError for a missing, unknown or wrong tensor.

    Dimensions of size 1 may differ: Caffe's old files store a vector as (1, 1, 1, C).
    """
    net, _ = on_meta(architecture)
    expected = {name: value.shape for name, value in net.state_dict().items()}
    expected = {name: shape for name, shape in expected.items() if not name.endswith("num_batches_tracked")}
    for name in arrays:
        if name not in expected:
            raise WeightsError(f"tensor {name} belongs to no layer of this network")
    state: dict[str, torch.Tensor] = {}
    for name, shape in expected.items():
        if name not in arrays:
            raise WeightsError(f"tensor {name} is missing")
        if _without_ones(arrays[name].shape) != _without_ones(shape):
            raise WeightsError(f"tensor {name} is {tuple(arrays[name].shape)}, the network wants {tuple(shape)}")
        values: Any = np.asarray(arrays[name]).astype(np.float32)
        state[name] = torch.from_numpy(values.reshape(tuple(shape)))
    return state


def _without_ones(shape: tuple[int, ...]) -> list[int]:
    return [size for size in shape if size != 1]
