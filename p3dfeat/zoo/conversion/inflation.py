"""Conversion of trained 2-D ResNets to P3D networks.

Their 3x3 convolutions become S. T starts as the identity or, if it is added to S, as zero. So a clip of one repeated
frame gives exactly the 2-D network's pool5 and logits for that frame.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p3dfeat.config import InputSpec
from p3dfeat.errors import WeightsError
from p3dfeat.nets.architecture import STAGES, Architecture
from p3dfeat.nets.p3d import BATCH_NORM_EPS
from p3dfeat.zoo.cards import Card, label_set, numbered_labels, safe_name
from p3dfeat.zoo.conversion.tensor_names import Arrays, architecture_of, gluoncv_name, renamed, transformers_name

FAMILY: Final = "recycled"
CENTRE: Final = 1  # index of the middle one of T's three taps
IMAGENET_CLASSES: Final = 1000
PIL_FILTERS: Final = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # with transformers' numbers


@dataclass(frozen=True)
class FlatResNet:
    """The files of a 2-D ResNet."""

    weights: Path
    config: dict[str, object]  # timm's or transformers' config.json; empty if there is none
    preprocessing: dict[str, object]  # transformers' preprocessor_config.json
    origin: str  # user/repo@commit, or the file's name


def is_flat_resnet(arrays: Arrays) -> bool:
    """Whether the tensors belong to a 2-D ResNet and have the names of timm, torchvision or transformers."""
    if any(name.startswith("resnet.encoder.") for name in arrays):
        return True
    first = arrays.get("conv1.weight")
    return first is not None and first.ndim == 4 and "layer1.0.conv2.weight" in arrays


def recycled(arrays: Arrays, *, kinds: str = "ABC") -> tuple[Architecture, dict[str, NDArray[np.generic]]]:
    """The P3D of a 2-D ResNet and its weights, with p3dfeat's names. Raises WeightsError naming the tensor."""
    flat = renamed(arrays, transformers_name if "classifier.1.weight" in arrays else gluoncv_name)
    if "res2a.conv_expand.weight" not in flat:
        raise WeightsError("a ResNet of other blocks than bottlenecks; ResNet-50, -101 and -152 can be recycled")
    architecture = architecture_of(flat, family=FAMILY, kinds=kinds)
    return architecture, flat | _temporal(architecture)


def _temporal(architecture: Architecture) -> dict[str, NDArray[np.generic]]:
    """T of every block. Its convolution copies a frame. Its batch norm keeps it, or sets it to zero in kind B."""
    found: dict[str, NDArray[np.generic]] = {}
    for block, kind in architecture.block_kinds().items():
        width = architecture.base_width << (int(block[3]) - 2)
        taps = np.zeros((width, width, 3, 1, 1), np.float32)
        taps[:, :, CENTRE, 0, 0] = np.eye(width)
        # Batch norm divides by sqrt(variance + eps).
        slope = 0.0 if kind == "B" else np.sqrt(1 + BATCH_NORM_EPS)
        found[f"{block}.conv_temporal.weight"] = taps
        found[f"{block}.bn_temporal.weight"] = np.full(width, slope, np.float32)
        found[f"{block}.bn_temporal.bias"] = np.zeros(width, np.float32)
        found[f"{block}.bn_temporal.running_mean"] = np.zeros(width, np.float32)
        found[f"{block}.bn_temporal.running_var"] = np.ones(width, np.float32)
    return found


def recycled_card(
    architecture: Architecture, origin: str, config: Mapping[str, Any], preprocessing: Mapping[str, Any], weights: Path
) -> Card:
    """A card for the P3D converted from ``origin``, based on its config of timm or transformers.

    config, preprocessing: config.json and preprocessor_config.json, empty if there is none. Missing values are
    torchvision's: short side 256, crop 224, ImageNet's mean and deviation.
    """
    _check_arithmetic(config)
    depth = next((depth for depth, stages in STAGES.items() if stages == architecture.stages), architecture.depth)
    named_set, labels = _labels(config, architecture.classes)
    name = safe_name(origin.partition("@")[0].rpartition("/")[2])
    return Card(
        name=f"p3d{depth}-{name.removesuffix('.safetensors')}",
        title=f"P3D-{depth} recycled from {origin}",
        architecture=architecture,
        input=_input(config.get("pretrained_cfg") or {}, preprocessing),
        labels=labels,
        label_set=named_set,
        licence=str((config.get("pretrained_cfg") or {}).get("license") or "that of the 2-D ResNet"),
        citation="",
        notes=f"The weights of {origin}, with T as the identity (kinds A and C) or zero (kind B): a clip of one "
        "repeated frame gives the 2-D network's pool5 and logits. It has seen no video; T is to be trained.",
        unknown="",
        metrics={},
        weights=weights,
        sources=(),
        checksums={},
        self_test=(),
    )


def _check_arithmetic(config: Mapping[str, Any]) -> None:
    """Raise WeightsError for ResNets that have the same tensors but compute something else."""
    if config.get("downsample_in_bottleneck") is True:
        raise WeightsError("strides in its first 1x1 convolutions; only ResNets that stride in the 3x3 can be recycled")
    name = config.get("architecture", "resnet50")  # timm's; resnetaa50 and resnetblur50 have the same tensors
    if config.get("hidden_act", "relu") != "relu":
        raise WeightsError(f"activates by {config['hidden_act']}; only ResNets with ReLU can be recycled")
    if not re.fullmatch(r"(tv_|gluon_|ssl_|swsl_)?resnet(50|101|152)(_v1b)?", str(name)):
        raise WeightsError(f"its config says {name}; resnet50, resnet101 and resnet152 can be recycled")


def _labels(config: Mapping[str, Any], classes: int) -> tuple[str | None, tuple[str, ...]]:
    """Class names from the config of timm or transformers; ImageNet's for a thousand classes without names."""
    names = config.get("label_names") or config.get("id2label")
    if isinstance(names, dict):
        names = [names.get(str(number)) for number in range(classes)]
    if isinstance(names, list) and len(names) == classes and all(isinstance(name, str) for name in names):
        return None, tuple(names)
    if classes == IMAGENET_CLASSES:
        return "imagenet1k", label_set("imagenet1k")
    return None, numbered_labels(classes)


def _input(timm: Mapping[str, Any], transformers: Mapping[str, Any]) -> InputSpec:
    """Preprocessing from timm's pretrained_cfg or transformers' preprocessor config."""
    try:
        return _checked_input(timm, transformers)
    except (AttributeError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise WeightsError(f"the preprocessing in its config makes no sense ({error})") from None


def _checked_input(timm: Mapping[str, Any], transformers: Mapping[str, Any]) -> InputSpec:
    interpolation = timm.get("interpolation", "bilinear")
    size, share = (timm.get("input_size") or (3, 224, 224))[-1], timm.get("crop_pct", 0.875)
    mean, std = timm.get("mean", (0.485, 0.456, 0.406)), timm.get("std", (0.229, 0.224, 0.225))
    if transformers:
        size = transformers.get("size", size)
        if isinstance(size, dict):
            size = size.get("shortest_edge", size.get("height", 224))
        share, interpolation = transformers.get("crop_pct", share), PIL_FILTERS.get(transformers.get("resample", 2))
        mean, std = transformers.get("image_mean", mean), transformers.get("image_std", std)
    return InputSpec(
        short_side=int(size / share),
        crop=(size, size),
        interpolation=interpolation or "bilinear",
        scale=1 / 255,
        mean=tuple(mean),
        std=tuple(std),
    )
