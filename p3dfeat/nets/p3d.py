"""Pseudo-3D ResNets (Qiu, Yao, Mei: "Learning Spatio-Temporal Representation with Pseudo-3D Residual Networks").

In res2 to res4 of the ResNet, each 3x3 convolution is split into S = 1x3x3 and T = 3x1x1. Parameters are named after
the paper's layers: ``res3b1.conv_temporal.weight`` is the T convolution of block res3b1.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p3dfeat.errors import ShapeError
from p3dfeat.nets.architecture import EXPANSION, Architecture, Arithmetic

BATCH_NORM_EPS: Final = 1e-5  # as in Caffe's BN layer and in GluonCV's


class Bottleneck(nn.Module):
    """One residual block: 1x1x1 reduce, S and T by kind, 1x1x1 expand, and a shortcut around them.

    (N, width_in, T, H, W) -> (N, 4 * mid, T, H / stride, W / stride). Kind "A", "B" or "C" (paper, figure 3).
    """

    def __init__(self, width_in: int, mid: int, *, kind: str, stride: int, first: bool, arithmetic: Arithmetic):
        super().__init__()
        self.kind, self.arithmetic = kind, arithmetic
        width_out, strides = mid * EXPANSION, (1, stride, stride)
        at_reduce, at_spatial = (1, strides) if arithmetic.strided_spatial else (strides, 1)
        self.conv_reduce = nn.Conv3d(width_in, mid, 1, stride=at_reduce, bias=False)
        self.bn_reduce = nn.BatchNorm3d(mid, eps=BATCH_NORM_EPS)
        self.conv_spatial = nn.Conv3d(mid, mid, (1, 3, 3), stride=at_spatial, padding=(0, 1, 1), bias=False)
        self.bn_spatial = nn.BatchNorm3d(mid, eps=BATCH_NORM_EPS)
        at_temporal = at_spatial if kind == "B" else 1  # only in kind B, T has the same input as S
        self.conv_temporal = nn.Conv3d(mid, mid, (3, 1, 1), stride=at_temporal, padding=(1, 0, 0), bias=False)
        self.bn_temporal = nn.BatchNorm3d(mid, eps=BATCH_NORM_EPS)
        self.conv_expand = nn.Conv3d(mid, width_out, 1, bias=False)
        self.bn_expand = nn.BatchNorm3d(width_out, eps=BATCH_NORM_EPS)
        self.shortcut: nn.Module = nn.Identity()
        if first:
            convolution = nn.Conv3d(width_in, width_out, 1, stride=strides, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm3d(width_out, eps=BATCH_NORM_EPS))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn_reduce(self.conv_reduce(x)))
        y = self.pseudo_3d(y)
        y = self.bn_expand(self.conv_expand(y))
        return F.relu(y + self.shortcut(x))

    def pseudo_3d(self, x: Tensor) -> Tensor:
        """S and T: in series (A), in parallel (B), or in series with a shortcut around T (C)."""
        s = F.relu(self.bn_spatial(self.conv_spatial(x)))
        t = self.bn_temporal(self.conv_temporal(x if self.kind == "B" else s))
        if self.kind == "A":
            return F.relu(t)
        if self.kind == "B":
            return s + F.relu(t) if self.arithmetic.rectified_t_in_b else F.relu(s + t)
        return F.relu(0.5 * s + 0.5 * t) if self.arithmetic.halved_c else s + F.relu(t)


class FlatBottleneck(nn.Module):
    """A plain 2-D bottleneck, as in res5: (N, width_in, H, W) -> (N, 4 * mid, H / stride, W / stride)."""

    def __init__(self, width_in: int, mid: int, *, stride: int, first: bool, arithmetic: Arithmetic):
        super().__init__()
        width_out = mid * EXPANSION
        at_reduce, at_spatial = (1, stride) if arithmetic.strided_spatial else (stride, 1)
        self.conv_reduce = nn.Conv2d(width_in, mid, 1, stride=at_reduce, bias=False)
        self.bn_reduce = nn.BatchNorm2d(mid, eps=BATCH_NORM_EPS)
        self.conv_spatial = nn.Conv2d(mid, mid, 3, stride=at_spatial, padding=1, bias=False)
        self.bn_spatial = nn.BatchNorm2d(mid, eps=BATCH_NORM_EPS)
        self.conv_expand = nn.Conv2d(mid, width_out, 1, bias=False)
        self.bn_expand = nn.BatchNorm2d(width_out, eps=BATCH_NORM_EPS)
        self.shortcut: nn.Module = nn.Identity()
        if first:
            convolution = nn.Conv2d(width_in, width_out, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(width_out, eps=BATCH_NORM_EPS))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn_reduce(self.conv_reduce(x)))
        y = F.relu(self.bn_spatial(self.conv_spatial(y)))
        y = self.bn_expand(self.conv_expand(y))
        return F.relu(y + self.shortcut(x))


class P3D(nn.Module):
    """A P3D ResNet of any depth, width, kinds and family.

    Takes preprocessed clips (N, C, T, H, W) and returns the layers asked for, each computed once.
    """

    def __init__(self, architecture: Architecture):
        super().__init__()
        self.architecture = architecture
        arithmetic, width = architecture.arithmetic, architecture.base_width
        self.conv1 = nn.Conv3d(architecture.channels, width, (1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3), bias=False)
        self.bn1 = nn.BatchNorm3d(width, eps=BATCH_NORM_EPS)
        padding, ceil = ((0, 1, 1), False) if arithmetic.padded_pools else ((0, 0, 0), True)
        self.pool1 = nn.MaxPool3d((2, 3, 3), stride=(2, 2, 2), padding=padding, ceil_mode=ceil)
        self.temporal_pool = nn.MaxPool3d((2, 1, 1), stride=(2, 1, 1), ceil_mode=ceil)

        kinds = architecture.block_kinds()
        width_in = width
        for stage in (2, 3, 4, 5):
            mid = width << (stage - 2)
            for i, name in enumerate(architecture.stage_blocks(stage)):
                first, stride = i == 0, 2 if i == 0 and stage > 2 else 1
                block: nn.Module
                if stage == 5:
                    block = FlatBottleneck(width_in, mid, stride=stride, first=first, arithmetic=arithmetic)
                else:
                    block = Bottleneck(
                        width_in, mid, kind=kinds[name], stride=stride, first=first, arithmetic=arithmetic
                    )
                self.add_module(name, block)
                width_in = mid * EXPANSION
        self.fc = nn.Linear(width_in, architecture.classes)

    def forward(self, x: Tensor, layers: Sequence[str] = ("logits",)) -> dict[str, Tensor]:
        """{layer: activation} of ``layers``, from one pass that ends at the deepest layer asked for.

        pool1 and res2x to res4x are (N, C, T, H, W), res5x (N, C, H, W), pool5 (N, 32 * base_width), logits and
        prob (N, classes). Raises ShapeError if the input does not fit the network, UsageError for an unknown layer.
        """
        self.architecture.check_layers(tuple(layers))
        if x.ndim != 5 or x.shape[1] != self.architecture.channels:
            expected = f"(N, {self.architecture.channels}, T, H, W)"
            raise ShapeError(f"input of shape {tuple(x.shape)}: this network takes {expected}")
        self.architecture.check_input(x.shape[2], x.shape[3], x.shape[4])
        missing = set(layers)
        found: dict[str, Tensor] = {}
        for name, value in self._activations(x):
            if name in missing:
                found[name] = value
                missing.remove(name)
                if not missing:
                    break
        return {name: found[name] for name in layers}

    def _activations(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield (layer, activation) in network order. Each one is computed only when it is asked for."""
        x = self.pool1(F.relu(self.bn1(self.conv1(x))))
        yield "pool1", x
        for stage in (2, 3, 4):
            for name in self.architecture.stage_blocks(stage):
                x = self.get_submodule(name)(x)
                yield name, x
            x = self.temporal_pool(x)
        x = x.squeeze(2)  # the pools have reduced the clip to one frame
        for name in self.architecture.stage_blocks(5):
            x = self.get_submodule(name)(x)
            yield name, x
        x = x.mean((2, 3), dtype=self.fc.weight.dtype)  # full precision, even if convolutions use bf16 or fp16
        yield "pool5", x
        x = self.fc(x)
        yield "logits", x
        yield "prob", torch.softmax(x, dim=1)


def on_meta(architecture: Architecture, length: int = 16, size: tuple[int, int] = (112, 112)) -> tuple[P3D, Tensor]:
    """A network and its input clip (1, C, T, H, W) on the meta device. They have shapes, but no values.

    size: (height, width) in pixels.
    """
    with torch.device("meta"):
        return P3D(architecture).eval(), torch.empty(1, architecture.channels, length, *size)
