"""Measure p3d-camera: on fresh drawn scenes, and on camera moves over stills of real videos, compressed with H.264.

    python -m weights.recipes.p3d_camera.measure [--clips FOLDER_OF_REAL_VIDEOS]

The second goes the whole way of a user's video: encoded, decoded by p3dfeat, resized, classified. No still of any
real video is used in training.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path as FilePath

import numpy as np
import torch
from torch import Tensor

import p3dfeat
from examples.sample_videos import write_h264
from p3dfeat.config import InputSpec, Sampling
from p3dfeat.types import Clip, Video
from p3dfeat.video import read_clips
from weights.recipes.p3d_camera.moves import CLASSES, draw_path, render
from weights.recipes.p3d_camera.scenes import FLAT, SIZE, draw_clips
from weights.recipes.p3d_camera.train import predict

STILL = InputSpec(resize=(360, 480), length=1)
STILLS = 12  # of each real video
HEIGHT, WIDTH = 240, 320
SCENE_WIDTH = 1.8  # a still is so many pictures wide


def on_drawn_scenes(model: p3dfeat.Model, *, count: int, seed: int) -> np.ndarray:
    """Confusion (true, predicted) on clips drawn from scenes never trained on."""
    confusion = np.zeros((len(CLASSES), len(CLASSES)), int)
    for start in range(0, count, 600):
        clips, labels = draw_clips(600, seed + start, scenes=150)
        np.add.at(confusion, (labels.numpy(), predict(model.net, clips).numpy()), 1)
    return confusion


def stills_of(folder: FilePath) -> list[list[Tensor]]:
    """Stills (3, H, W) in 0..1 of each video in ``folder``, less those too dark or flat for anyone to judge."""
    found, dropped = [], 0
    for path in sorted(folder.iterdir()):
        items = read_clips(Video("v", str(path), path.name), STILL, Sampling(clips=STILLS, length=1))
        pictures = [torch.from_numpy(item.frames[0]).permute(2, 0, 1) / 255 for item in items if isinstance(item, Clip)]
        clear = [picture for picture in pictures if _deviation(picture) >= FLAT]
        dropped += len(pictures) - len(clear)
        found.append(clear)
    print(f"{sum(map(len, found))} stills of {len(found)} videos; {dropped} too dark or flat were left out")
    return found


def _deviation(picture: Tensor) -> float:
    """Of the luma of the picture's middle, which the camera looks at, at the net's resolution."""
    luma = torch.tensordot(torch.tensor([0.299, 0.587, 0.114]), picture, 1)
    height, width = luma.shape
    middle = luma[height // 4 : -height // 4, width // 4 : -width // 4]
    return float(torch.nn.functional.adaptive_avg_pool2d(middle[None], SIZE).std())


def on_stills(model: p3dfeat.Model, folder: FilePath, *, seed: int) -> np.ndarray:
    """Confusion (true, predicted) on every class over every still, through H.264 and p3dfeat's own decoding."""
    rng = np.random.default_rng(seed)
    stills = [still for still in stills_of(folder) if still]
    confusion = np.zeros((len(CLASSES), len(CLASSES)), int)
    with tempfile.TemporaryDirectory() as scratch:
        path = FilePath(scratch, "clip.mp4")
        for video, pictures in enumerate(stills):
            others = [picture for other, rest in enumerate(stills) if other != video for picture in rest]
            for picture in pictures:
                for true, label in enumerate(CLASSES):
                    second = others[rng.integers(len(others))]
                    write_h264(path, _film(label, picture, second, rng), crf=int(rng.integers(20, 33)))
                    (result,) = p3dfeat.classify(path, model=model, top_k=1, clips=1)
                    confusion[true, result.predictions[0].index] += 1
    return confusion


def _film(label: str, picture: Tensor, second: Tensor, rng: np.random.Generator) -> Tensor:
    """A clip of class ``label`` over real stills: (16, HEIGHT, WIDTH, 3) uint8."""
    path = draw_path(label, rng, aspect=HEIGHT / WIDTH)
    # The middle of the way at the middle of the still: mirrored borders, which no camera sees, stay out of view.
    path = replace(path, x=path.x - (path.x[0] + path.x[-1]) / 2, y=path.y - (path.y[0] + path.y[-1]) / 2)
    frames = render(picture, path, height=HEIGHT, width=WIDTH, scene_width=SCENE_WIDTH)
    if path.fade.any():
        other = render(second, path, height=HEIGHT, width=WIDTH, scene_width=SCENE_WIDTH)
        frames = torch.lerp(frames, other, torch.from_numpy(path.fade).float().view(-1, 1, 1, 1))
    return (frames * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def report(title: str, confusion: np.ndarray) -> None:
    """Print accuracy and the confusion matrix, a row a true class."""
    print(f"\n{title}: {np.trace(confusion) / confusion.sum():.1%} of {confusion.sum()} clips")
    width = max(map(len, CLASSES))
    print(" " * width + "".join(f"{i:5d}" for i in range(len(CLASSES))))
    for i, row in enumerate(confusion):
        print(f"{CLASSES[i]:{width}}" + "".join(f"{count or '.':>5}" for count in row))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="p3d-camera")
    parser.add_argument("--clips", type=FilePath, help="a folder of real videos")
    parser.add_argument("--drawn", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=777_000)
    args = parser.parse_args()
    model = p3dfeat.load_model(args.model)
    report("fresh drawn scenes", on_drawn_scenes(model, count=args.drawn, seed=args.seed))
    if args.clips:
        report("moves over stills of real videos", on_stills(model, args.clips, seed=args.seed))


if __name__ == "__main__":
    main()
