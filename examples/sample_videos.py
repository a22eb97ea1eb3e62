"""Write a handful of sample videos, each with a camera move that is known: python -m examples.sample_videos FOLDER"""

import sys
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from weights.recipes.p3d_camera.moves import Path as CameraPath
from weights.recipes.p3d_camera.moves import render
from weights.recipes.p3d_camera.scenes import draw_scene

FPS = 25
HEIGHT, WIDTH = 240, 320
FRAMES = 50  # of each move: two seconds
SCENE_WIDTH = 2.6  # a scene is so many pictures wide

# Speeds: picture widths, factors of e, or degrees in two seconds.
MOVES = {
    "pan_left": {"x": -1.1},
    "tilt_up": {"y": -0.9},
    "zoom_in": {"zoom": 1.0},
    "roll_clockwise": {"roll": 80.0},
}
TOUR = ({}, {"x": 1.1}, {"zoom": -1.0})  # static, pan right, zoom out, with a cut between each


def colour_scene(seed: int) -> Tensor:
    """A drawn scene in colour: (3, H, W) in 0..1."""
    rng = np.random.default_rng(seed)
    luma = draw_scene(rng, size=800)
    tint = draw_scene(rng, size=800) - 0.5
    colour = torch.from_numpy(rng.uniform(-0.5, 0.5, (3, 1, 1))).float()
    return (0.15 + 0.7 * luma + tint * colour).clamp(0, 1)


def camera_path(*, x: float = 0.0, y: float = 0.0, zoom: float = 0.0, roll: float = 0.0) -> CameraPath:
    """A steady move of two seconds."""
    t = np.linspace(-0.5, 0.5, FRAMES)
    return CameraPath(x * t, y * t, np.exp(zoom * t), np.radians(roll) * t, np.zeros(FRAMES))


def film(move: dict[str, float], seed: int) -> Tensor:
    """(FRAMES, HEIGHT, WIDTH, 3) uint8 of one move over a scene."""
    frames = render(colour_scene(seed), camera_path(**move), height=HEIGHT, width=WIDTH, scene_width=SCENE_WIDTH)
    return (frames * 255).round().to(torch.uint8).permute(0, 2, 3, 1)


def write_h264(path: Path, frames: Tensor, *, crf: int = 23) -> None:
    """Encode (T, H, W, 3) uint8 RGB."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": str(crf), "preset": "veryfast"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for pixels in frames.numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
        container.mux(stream.encode())


def write_samples(folder: Path) -> list[Path]:
    """Write all samples into ``folder``; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.mp4" for name in MOVES]
    for seed, (path, move) in enumerate(zip(paths, MOVES.values(), strict=True)):
        write_h264(path, film(move, seed))
    tour = folder / "tour.mp4"
    write_h264(tour, torch.cat([film(move, 10 + seed) for seed, move in enumerate(TOUR)]))
    return [*paths, tour]


if __name__ == "__main__":
    for written in write_samples(Path(sys.argv[1] if len(sys.argv) > 1 else "videos")):
        print(written)
