"""From the bytes of a clip to what a network takes."""

from typing import Final

import torch
from torch import Tensor

from p3dfeat.config import InputSpec

LEAST_DEVIATION: Final = 0.5  # grey levels; less is noise, and a black clip must not become infinite


def normalize(frames: Tensor, spec: InputSpec, mean_and_std: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """(N, T, H, W, C) uint8 -> (N, C, T, H, W) float32 on the same device, in the order in memory that it had.

    ``(pixel * scale - mean) / std``, then, where the card says so, each clip to mean 0 and deviation 1.
    mean_and_std: ``constants(spec, frames.device)``, for who has them.
    """
    mean, std = mean_and_std or constants(spec, frames.device)
    x = frames.float()
    # In place, and only what changes something: each pass over memory takes 1 % of a large network's time on a CPU.
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
    """Mean and deviation, (C,) or (1,) float32 each; making them on a GPU waits for it, so it is done once."""
    mean, std = (torch.tensor(values, dtype=torch.float32, device=device) for values in (spec.mean, spec.std))
    return mean, std
