"""Normalization of a clip's bytes to the input of a network."""

from typing import Final

import torch
from torch import Tensor

from p3dfeat.config import InputSpec

LEAST_DEVIATION: Final = 0.5  # grey levels; less is noise, and a black clip must not give infinite values


def normalize(frames: Tensor, spec: InputSpec, mean_and_std: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """(N, T, H, W, C) uint8 -> (N, C, T, H, W) float32 on the same device. The memory order does not change.

    ``(pixel * scale - mean) / std``. If the card says so, each clip is then scaled to mean 0 and deviation 1.
    mean_and_std: ``constants(spec, frames.device)``, if the caller already has them.
    """
    mean, std = mean_and_std or constants(spec, frames.device)
    x = frames.float()
    # In place, and without steps that change nothing: each pass over memory takes 1 % of a large network's CPU time.
    if spec.scale != 1:
        x.mul_(spec.scale)
    x.sub_(mean)
    if any(value != 1 for value in spec.std):
        x.div_(std)
    if spec.standardize:
        deviation, average = torch.std_mean(x, dim=(1, 2, 3, 4), correction=0, keepdim=True)
        x = (x - average) / deviation.clamp_min(LEAST_DEVIATION * spec.scale / max(map(abs, spec.std)))
    return x.permute(0, 4, 1, 2, 3)


def constants(spec: InputSpec, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and deviation, (C,) or (1,) float32 each. Created once, because creating them on a GPU waits for the GPU."""
    mean, std = (torch.tensor(values, dtype=torch.float32, device=device) for values in (spec.mean, spec.std))
    return mean, std
