"""The twelve classes of p3d-camera, as camera paths, and how a path over a picture becomes a clip.

Lengths are in picture widths, y points down, angles are in radians. A camera at (x, y) with zoom z and roll r sees at
picture point q (in picture widths, from the centre) the scene point ``(x, y) + R(r) q / z``: a camera that pans left
(x falls) makes the picture move right, one that rolls clockwise makes it turn counter-clockwise.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

CLASSES = (
    "static",
    "pan left",
    "pan right",
    "tilt up",
    "tilt down",
    "zoom in",
    "zoom out",
    "roll clockwise",
    "roll counter-clockwise",
    "shake",
    "cut",
    "dissolve",
)

# What each class becomes when the clip is mirrored, flipped, transposed or played backwards.
_SWAPS = {
    "mirrored": [("pan left", "pan right"), ("roll clockwise", "roll counter-clockwise")],
    "flipped": [("tilt up", "tilt down"), ("roll clockwise", "roll counter-clockwise")],
    "transposed": [
        ("pan left", "tilt up"),
        ("pan right", "tilt down"),
        ("roll clockwise", "roll counter-clockwise"),
    ],
    "reversed": [
        ("pan left", "pan right"),
        ("tilt up", "tilt down"),
        ("zoom in", "zoom out"),
        ("roll clockwise", "roll counter-clockwise"),
    ],
}


def relabelled(change: str) -> list[int]:
    """Class index after ``change``, for each class: "mirrored", "flipped", "transposed" or "reversed"."""
    swap = {a: b for pair in _SWAPS[change] for a, b in (pair, pair[::-1])}
    return [CLASSES.index(swap.get(name, name)) for name in CLASSES]


@dataclass(frozen=True)
class Path:
    """Where the camera is at each frame: (T,) arrays. ``fade`` is the second scene's share of the picture."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    zoom: NDArray[np.float64]
    roll: NDArray[np.float64]
    fade: NDArray[np.float64]


def draw_path(label: str, rng: np.random.Generator, *, frames: int = 16, aspect: float = 1.0) -> Path:
    """A random camera path of class ``label``. Static and shake are kept well apart: nothing lies between them.

    aspect: height over width of the picture; vertical moves are drawn as shares of its height.
    """
    zero = np.zeros(frames)
    x, y, log_zoom, roll, fade = (zero.copy() for _ in range(5))
    progress = _progress(rng, frames)
    # A slight movement along with the main one, as a hand or a rail gives it.
    drift = 0.0 if label in ("static", "shake") or rng.random() < 0.5 else rng.uniform(0, 0.12)

    if label.startswith(("pan", "tilt")):
        distance = _log_uniform(rng, 0.10, 0.9)
        sign = -1 if label in ("pan left", "tilt up") else 1
        along, across = sign * distance * progress, drift * distance * rng.uniform(-1, 1) * progress
        x, y = (along, across) if label.startswith("pan") else (across, along)
        log_zoom = drift * distance * rng.uniform(-0.5, 0.5) * progress
    elif label.startswith("zoom"):
        amount = rng.uniform(np.log(1.12), np.log(2.2))
        log_zoom = (amount if label == "zoom in" else -amount) * progress
        x, y = (drift * amount * rng.uniform(-0.5, 0.5) * progress for _ in range(2))
    elif label.startswith("roll"):
        amount = rng.uniform(np.radians(8), np.radians(60))
        roll = (amount if label == "roll clockwise" else -amount) * progress
        x, y = (drift * amount * rng.uniform(-0.5, 0.5) * progress for _ in range(2))
    elif label == "shake":
        amplitude = _log_uniform(rng, 0.012, 0.06)
        x, y = (amplitude * _jitter(rng, frames) * rng.uniform(0.5, 1.0) for _ in range(2))
        roll = rng.uniform(0, 0.6) * amplitude * _jitter(rng, frames)
        log_zoom = rng.uniform(0, 0.2) * amplitude * _jitter(rng, frames)
    elif label in ("cut", "dissolve"):
        if rng.random() < 0.4:
            angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.12)
            x, y = distance * np.cos(angle) * progress, distance * np.sin(angle) * progress
        fade = _cut(rng, frames) if label == "cut" else _dissolve(rng, frames)

    if label != "shake" and rng.random() < 0.5:  # sensor and hand tremor, far below what counts as shake
        tremor = rng.uniform(0, 0.0015)
        x, y = x + tremor * _jitter(rng, frames), y + tremor * _jitter(rng, frames)
    return Path(x, y * aspect, rng.uniform(0.75, 1.3) * np.exp(log_zoom), roll, fade)


def _progress(rng: np.random.Generator, frames: int) -> NDArray[np.float64]:
    """0 to 1 over the clip: steady, or easing in or out."""
    t = np.linspace(0, 1, frames)
    return t if rng.random() < 0.5 else t ** rng.uniform(0.7, 1.6)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _jitter(rng: np.random.Generator, frames: int) -> NDArray[np.float64]:
    """Noise of unit deviation that turns back every few frames."""
    noise = rng.standard_normal(frames + 8)
    width = rng.uniform(0.4, 1.2)
    kernel = np.exp(-0.5 * (np.arange(-4, 5) / width) ** 2)
    noise = np.convolve(noise, kernel, "valid")
    noise -= noise.mean()
    return np.asarray(noise / noise.std())


def _cut(rng: np.random.Generator, frames: int) -> NDArray[np.float64]:
    return (np.arange(frames) >= rng.integers(2, frames - 2)).astype(np.float64)


def _dissolve(rng: np.random.Generator, frames: int) -> NDArray[np.float64]:
    """A linear fade of at least six frames, most of it inside the clip."""
    length = rng.uniform(6, 1.3 * frames)
    slack = frames - length
    start = rng.uniform(min(0, slack), max(0, slack))
    return np.asarray(np.clip((np.arange(frames) - start) / length, 0, 1))


def render(scene: Tensor, path: Path, *, height: int, width: int, scene_width: float) -> Tensor:
    """The frames a camera on ``path`` sees: (C, H', W') scene -> (T, C, height, width).

    scene_width: how many picture widths the scene's W' pixels span. Beyond its border the scene is mirrored.
    """
    frames = len(path.x)
    u = (torch.arange(width, dtype=torch.float32) + 0.5) / width - 0.5
    v = ((torch.arange(height, dtype=torch.float32) + 0.5) / height - 0.5) * height / width
    x, y, zoom, roll = (torch.from_numpy(a).float().view(-1, 1, 1) for a in (path.x, path.y, path.zoom, path.roll))
    cos, sin = torch.cos(roll) / zoom, torch.sin(roll) / zoom
    u, v = u.view(1, 1, -1), v.view(1, -1, 1)
    scene_x, scene_y = x + cos * u - sin * v, y + sin * u + cos * v
    scene_height = scene_width * scene.shape[1] / scene.shape[2]
    grid = torch.stack([scene_x * (2 / scene_width), scene_y * (2 / scene_height)], dim=-1)
    seen = F.grid_sample(
        scene[None], grid.view(1, frames * height, width, 2), padding_mode="reflection", align_corners=False
    )
    return seen.view(-1, frames, height, width).transpose(0, 1)
