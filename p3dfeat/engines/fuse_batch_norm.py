"""Batch norms folded into the convolutions before them. In evaluation mode the result is the same."""

import copy

import torch
from torch import nn

from p3dfeat.nets import P3D


def folded(net: P3D) -> P3D:
    """A copy of ``net`` that computes the same without batch norms. ``net`` itself is not changed.

    The products are computed in double precision, so that folding changes at most the last bit.
    """
    copied = copy.deepcopy(net).eval()
    for module in list(copied.modules()):
        children = dict(module.named_children())
        for name, convolution in children.items():
            norm_name = _norm_after(name)
            norm = children.get(norm_name)
            if isinstance(convolution, nn.Conv2d | nn.Conv3d) and isinstance(norm, nn.BatchNorm2d | nn.BatchNorm3d):
                _take_in(convolution, norm)
                setattr(module, norm_name, nn.Identity())
    return copied


def _norm_after(name: str) -> str:
    """conv_spatial -> bn_spatial, conv1 -> bn1; in a shortcut, 0 -> 1."""
    return "1" if name == "0" else name.replace("conv", "bn", 1)


def _take_in(convolution: nn.Conv2d | nn.Conv3d, norm: nn.BatchNorm2d | nn.BatchNorm3d) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    slope = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    weight = convolution.weight.double() * slope.reshape(-1, *[1] * (convolution.weight.ndim - 1))
    bias = norm.bias.double() - norm.running_mean.double() * slope
    convolution.weight = nn.Parameter(weight.float(), requires_grad=False)
    convolution.bias = nn.Parameter(bias.float(), requires_grad=False)
