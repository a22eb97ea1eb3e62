"""Scenes drawn by code: overlapping shapes of every size over gradients and fractal texture, with moving objects.

Overlapping shapes with sizes by a power law ("dead leaves") have the statistics of photographs without being any.
Everything is luma in 0..1.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from weights.recipes.p3d_camera.moves import CLASSES, Path, draw_path, render

SIZE = 64  # what the net sees
RENDERED = 128  # drawn at twice that and averaged, as a camera's pixels do
SCENE = 320  # pixels of a drawn scene
SCENE_WIDTH = SCENE / RENDERED
FLAT = 0.05  # a clip whose pixels deviate less than this (of 1) shows too little for anyone to judge


def draw_scene(rng: np.random.Generator, *, size: int = SCENE) -> Tensor:
    """A random scene, (1, size, size) float32 in 0..1."""
    axis = torch.linspace(-1, 1, size)
    y, x = axis.view(-1, 1), axis.view(1, -1)
    angle = rng.uniform(0, 2 * math.pi)
    scene = 0.5 + rng.uniform(0, 0.35) * (x * math.cos(angle) + y * math.sin(angle))
    scene = scene + rng.uniform(0.02, 0.3) * _fractal(rng, size)
    texture = _fractal(rng, size)
    smallest = rng.uniform(0.02, 0.12)
    for _ in range(int(rng.integers(0, 70))):
        # Leaves of size r are drawn in proportion to r**-3, the scale-free law.
        radius = min(smallest / math.sqrt(1 - rng.uniform(0, 0.995)), 0.7)
        _draw_shape(scene, texture, radius, rng)
    if rng.random() < 0.25:
        scene = scene * (1 + rng.uniform(0.1, 0.5) * _stripes(rng, x, y))
    scene = _blur(scene, rng.uniform(0.5, 2.0))
    low, high = float(scene.min()), float(scene.max())
    return ((scene - low) / (high - low + 1e-6))[None]


def _fractal(rng: np.random.Generator, size: int) -> Tensor:
    """Noise of unit deviation whose spectrum falls like 1/f**a, a from smooth clouds to rough bark."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    spectrum = torch.fft.rfft2(torch.randn(size, size, generator=generator))
    fy, fx = torch.fft.fftfreq(size).view(-1, 1), torch.fft.rfftfreq(size).view(1, -1)
    frequency = torch.sqrt(fx**2 + fy**2).clamp_min(1 / size)
    noise = torch.fft.irfft2(spectrum * frequency ** -rng.uniform(0.8, 2.0), s=(size, size))
    return (noise - noise.mean()) / noise.std()


def _draw_shape(scene: Tensor, texture: Tensor, radius: float, rng: np.random.Generator) -> None:
    """Paint one shape (ellipse, box or triangle), plain or textured, over ``scene`` (size, size), in place."""
    size = scene.shape[0]
    cx, cy = rng.uniform(-1, 1, 2)
    aspect, angle = math.exp(rng.uniform(-0.8, 0.8)), rng.uniform(0, math.pi)
    reach = radius * max(aspect, 1 / aspect) * 1.5
    left, right = (int(np.clip((c + 1) / 2 * size, 0, size)) for c in (cx - reach, cx + reach))
    top, bottom = (int(np.clip((c + 1) / 2 * size, 0, size)) for c in (cy - reach, cy + reach))
    if left >= right or top >= bottom:
        return
    axis = torch.linspace(-1, 1, size)
    x, y = axis[left:right].view(1, -1) - cx, axis[top:bottom].view(-1, 1) - cy
    u = (x * math.cos(angle) + y * math.sin(angle)) / aspect
    v = (y * math.cos(angle) - x * math.sin(angle)) * aspect
    form = rng.integers(3)
    if form == 0:
        distance = torch.sqrt(u**2 + v**2)
    elif form == 1:
        distance = torch.maximum(u.abs(), v.abs())
    else:
        distance = torch.maximum(v, u.abs() * 0.87 - v * 0.5)
    mask = ((radius - distance) * size / 2).clamp(0, 1)
    paint = rng.uniform(0, 1) + rng.uniform(0, 0.15) * texture[top:bottom, left:right] + rng.uniform(-0.4, 0.4) * u
    scene[top:bottom, left:right] += mask * (paint - scene[top:bottom, left:right])


def _stripes(rng: np.random.Generator, x: Tensor, y: Tensor) -> Tensor:
    """Bars as on fences and facades, confined to a part of the scene: endless ones would hide the direction."""
    angle, waves = rng.uniform(0, math.pi), rng.uniform(4, 14)
    cx, cy = rng.uniform(-0.6, 0.6, 2)
    window = torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) / rng.uniform(0.05, 0.3))
    return torch.sin(math.pi * waves * (x * math.cos(angle) + y * math.sin(angle))) * window


def _blur(picture: Tensor, sigma: float) -> Tensor:
    reach = math.ceil(3 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    padded = F.pad(picture[None, None], (reach, reach, reach, reach), mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel), kernel.transpose(2, 3))[0, 0]


def draw_clip(label: str, scenes: Tensor, rng: np.random.Generator, *, frames: int = 16) -> Tensor:
    """A clip of class ``label`` over ``scenes`` (n, 1, H, W): (frames, SIZE, SIZE) uint8 luma.

    With moving objects in front, noise, and the marks of compression, as the path of a real clip leaves them.
    """
    while True:
        path = draw_path(label, rng, frames=frames)
        clip = _film(_some_scene(scenes, rng), path)
        if path.fade.any():
            fade = torch.from_numpy(path.fade).float().view(-1, 1, 1)
            clip = torch.lerp(clip, _film(_some_scene(scenes, rng), path), fade)
        for _ in range(int(rng.choice(4, p=[0.45, 0.3, 0.15, 0.1]))):
            clip = _with_object(clip, scenes, rng, most=0.12)
        contrast, gamma = rng.uniform(0.4, 1.0), math.exp(rng.uniform(-0.4, 0.4))
        clip = rng.uniform(0, 1 - contrast) + contrast * clip.clamp(0, 1) ** gamma
        if rng.random() < 0.6:
            clip = _compressed(clip, rng)
        clip = F.avg_pool2d(clip[:, None], RENDERED // SIZE)[:, 0]
        if float(clip.std(dim=(1, 2)).min()) < FLAT:
            continue
        if rng.random() < 0.6:
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            clip = clip + rng.uniform(0, 0.025) * torch.randn(clip.shape, generator=generator)
        return (clip * 255).round().clamp(0, 255).to(torch.uint8)


def _some_scene(scenes: Tensor, rng: np.random.Generator) -> Tensor:
    """One of the scenes, turned or mirrored, or the mean of two: few drawings give many pictures."""
    scene = scenes[rng.integers(len(scenes))].float() / 255
    scene = torch.rot90(scene, int(rng.integers(4)), (1, 2))
    if rng.random() < 0.5:
        scene = scene.flip(2)
    if rng.random() < 0.2:
        scene = torch.lerp(scene, scenes[rng.integers(len(scenes))].float() / 255, rng.uniform(0.2, 0.5))
    return scene


def _film(scene: Tensor, path: Path) -> Tensor:
    return render(scene, path, height=RENDERED, width=RENDERED, scene_width=SCENE_WIDTH)[:, 0]


def _with_object(clip: Tensor, scenes: Tensor, rng: np.random.Generator, *, most: float) -> Tensor:
    """An object crossing the picture on its own way; it covers at most ``most`` of it."""
    frames = len(clip)
    t = torch.linspace(-1, 1, frames).view(-1, 1, 1)
    x0, y0, dx, dy = rng.uniform(-0.45, 0.45, 4)
    axis = (torch.arange(RENDERED) + 0.5) / RENDERED - 0.5
    x = axis.view(1, 1, -1) - (x0 + dx * t)
    y = axis.view(1, -1, 1) - (y0 + dy * t)
    radius = math.sqrt(rng.uniform(0.1, 1.0) * most / math.pi)
    aspect, power = math.exp(rng.uniform(-0.5, 0.5)), rng.uniform(1.5, 6)
    distance = ((x.abs() / aspect) ** power + (y.abs() * aspect) ** power) ** (1 / power)
    mask = ((radius - distance) * RENDERED / 2).clamp(0, 1)
    paint = _some_scene(scenes, rng)[None]
    grid = torch.stack([x.expand_as(mask), y.expand_as(mask)], dim=-1) * 1.6
    paint = F.grid_sample(paint, grid.reshape(1, -1, RENDERED, 2), padding_mode="reflection", align_corners=False)
    return torch.lerp(clip, paint.view_as(clip), mask)


def _compressed(clip: Tensor, rng: np.random.Generator) -> Tensor:
    """What block codecs do: coarse DCT coefficients, and blocks that stay as they were while little changes."""
    n = RENDERED // 8
    k = torch.arange(8).view(-1, 1)
    dct = torch.cos((2 * torch.arange(8).view(1, -1) + 1) * k * math.pi / 16) / 2
    dct[0] /= math.sqrt(2)
    blocks = clip.reshape(-1, n, 8, n, 8).transpose(2, 3)
    step = rng.uniform(0.02, 0.25) * (0.3 + (k + k.T) / 7)
    blocks = dct.T @ (torch.round(dct @ blocks @ dct.T / step) * step) @ dct
    threshold = rng.uniform(0, 0.02)
    kept = [blocks[0]]
    for block in blocks[1:]:
        still = (block - kept[-1]).abs().mean((-1, -2), keepdim=True) < threshold
        kept.append(torch.where(still, kept[-1], block))
    return torch.stack(kept).transpose(2, 3).reshape(clip.shape)


def draw_clips(count: int, seed: int, *, scenes: int = 1000) -> tuple[Tensor, Tensor]:
    """``count`` clips of all classes in turn: (count, 16, SIZE, SIZE) uint8 and their class indices (count,)."""
    rng = np.random.default_rng(seed)
    drawn = torch.stack([(draw_scene(rng) * 255).to(torch.uint8) for _ in range(min(scenes, count))])
    labels = torch.arange(count) % len(CLASSES)
    clips = torch.empty(count, 16, SIZE, SIZE, dtype=torch.uint8)
    for i, label in enumerate(labels.tolist()):
        clips[i] = draw_clip(CLASSES[label], drawn, rng)
    return clips, labels
