"""A 2-D ResNet of bottlenecks that strides in its 3x3 convolutions ("v1.5"), written with plain torch operations."""

import torch
from torch import Tensor
from torch.nn import functional as F

EPS = 1e-5
Weights = dict[str, Tensor]


def random_weights(stages: tuple[int, ...], *, width: int = 8, classes: int = 10, seed: int = 0) -> Weights:
    """Random weights under torchvision's and timm's names."""
    generator = torch.Generator().manual_seed(seed)
    weights: Weights = {}

    def convolution(name: str, norm: str, *shape: int) -> None:
        fan = shape[1] * shape[2] * shape[3]
        weights[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / fan) ** 0.5
        for field, low, high in (("weight", 0.5, 1.5), ("bias", -0.2, 0.2), ("running_mean", -0.2, 0.2)):
            weights[f"{norm}.{field}"] = torch.rand(shape[0], generator=generator) * (high - low) + low
        weights[f"{norm}.running_var"] = torch.rand(shape[0], generator=generator) + 0.5
        weights[f"{norm}.num_batches_tracked"] = torch.tensor(7)

    convolution("conv1", "bn1", width, 3, 7, 7)
    width_in = width
    for stage, blocks in enumerate(stages):
        middle = width << stage
        for block in range(blocks):
            place = f"layer{stage + 1}.{block}"
            convolution(f"{place}.conv1", f"{place}.bn1", middle, width_in, 1, 1)
            convolution(f"{place}.conv2", f"{place}.bn2", middle, middle, 3, 3)
            convolution(f"{place}.conv3", f"{place}.bn3", 4 * middle, middle, 1, 1)
            if block == 0:
                convolution(f"{place}.downsample.0", f"{place}.downsample.1", 4 * middle, width_in, 1, 1)
            width_in = 4 * middle
    weights["fc.weight"] = torch.randn(classes, width_in, generator=generator) * 0.05
    weights["fc.bias"] = torch.randn(classes, generator=generator) * 0.1
    return weights


def flat_resnet(weights: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, H, W) -> pool5 (N, 32 * width), logits (N, classes)."""

    def normed(x: Tensor, name: str) -> Tensor:
        mean, variance = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
        return F.batch_norm(x, mean, variance, weights[f"{name}.weight"], weights[f"{name}.bias"], eps=EPS)

    x = F.relu(normed(F.conv2d(x, weights["conv1.weight"], stride=2, padding=3), "bn1"))
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    for stage in range(1, 5):
        block = 0
        while f"layer{stage}.{block}.conv1.weight" in weights:
            place, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = F.relu(normed(F.conv2d(x, weights[f"{place}.conv1.weight"]), f"{place}.bn1"))
            y = F.conv2d(y, weights[f"{place}.conv2.weight"], stride=stride, padding=1)
            y = F.relu(normed(y, f"{place}.bn2"))
            y = normed(F.conv2d(y, weights[f"{place}.conv3.weight"]), f"{place}.bn3")
            if block == 0:
                x = normed(F.conv2d(x, weights[f"{place}.downsample.0.weight"], stride=stride), f"{place}.downsample.1")
            x, block = F.relu(x + y), block + 1
    pool5 = x.mean((2, 3))
    return pool5, pool5 @ weights["fc.weight"].T + weights["fc.bias"]


def transformers_names(weights: Weights) -> Weights:
    """The same weights as transformers' ResNetForImageClassification names them."""
    renamed: Weights = {}
    for name, value in weights.items():
        *place, field = name.split(".")
        if place[0] in ("conv1", "bn1"):
            own = f"resnet.embedder.embedder.{_operation(place[0])}"
        elif place[0] == "fc":
            own = "classifier.1"
        else:
            own = f"resnet.encoder.stages.{int(place[0][-1]) - 1}.layers.{place[1]}"
            if place[2] == "downsample":
                own += f".shortcut.{('convolution', 'normalization')[int(place[3])]}"
            else:
                own += f".layer.{int(place[2][-1]) - 1}.{_operation(place[2])}"
        renamed[f"{own}.{field}"] = value
    return renamed


def _operation(name: str) -> str:
    return "convolution" if name.startswith("conv") else "normalization"
