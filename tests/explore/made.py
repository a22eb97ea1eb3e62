"""Feature files with known groups of videos, and real videos behind them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from p3dfeat.config import Sampling
from p3dfeat.store import FeatureWriter
from p3dfeat.types import Features, Video
from tests.store.test_store import INFO, SETTINGS

WIDTH = 16


def rows(group: int, count: int, seed: int) -> np.ndarray:
    """(count, WIDTH) rows close to each other, and far from those of other groups."""
    rng = np.random.default_rng(seed)
    return (np.eye(WIDTH)[group] * 10 + rng.normal(size=(count, WIDTH)) * 0.3).astype(np.float32)


def grouped_file(path: Path, groups: Mapping[str, int], *, clips: int = 2, columns=(), layers=("pool5",)) -> Path:
    """A feature file: id -> group. columns: as of a Video, for all."""
    with FeatureWriter(path, replace(SETTINGS, sampling=Sampling(clips=clips), layers=layers)) as writer:
        for seed, (id, group) in enumerate(groups.items()):
            video = Video(id, f"/nowhere/{seed}.mp4", f"/nowhere/{seed}.mp4", columns=columns)
            starts = np.arange(float(clips))
            values = {layer: rows(group, clips, seed) for layer in layers}
            writer.add(video, Features(values, np.stack([starts, starts + 0.64], 1), np.arange(clips) * 25))
            writer.finish(video, INFO)
    return path


def classes(per_class: int, num_classes: int = 3) -> dict[str, int]:
    return {f"class{k}/v{n:02d}": k for k in range(num_classes) for n in range(per_class)}
