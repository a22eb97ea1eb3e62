"""Feature files with the layouts of data sets, whose classes are planted."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from p3dfeat.config import Sampling
from p3dfeat.store import FeatureWriter
from p3dfeat.types import Features, Video
from tests.store.test_store import INFO, SETTINGS


def file_of(output: Path, rows: dict[str, np.ndarray], layer: str = "pool5", **settings) -> Path:
    """A feature file with one clip per video, each with a fingerprint of its own. rows: (C, ...) for each id."""
    return layered_file(output, {id: {layer: row} for id, row in rows.items()}, **settings)


def layered_file(output: Path, videos: dict[str, dict[str, np.ndarray]], **settings) -> Path:
    """As ``file_of``, with several layers."""
    layers = tuple(next(iter(videos.values())))
    settings = {"sampling": Sampling(clips=1), "layers": layers, **settings}
    with FeatureWriter(output, replace(SETTINGS, **settings)) as writer:
        for number, (id, found) in enumerate(videos.items()):
            video = Video(id, f"{id}.avi", f"{id}.avi")
            arrays = {name: row[None].astype(np.float32) for name, row in found.items()}
            writer.add(video, Features(arrays, np.array([[0.0, 0.64]]), np.array([0])))
            writer.finish(video, replace(INFO, fingerprint=f"{number:016x}"))
    return output


def planted(labels: Sequence[int], *, width: int = 32, noise: float = 0.3, seed: int = 0) -> np.ndarray:
    """Positive rows around a centre for each class. noise: of each number; centres are about 1 apart in each."""
    rng = np.random.default_rng(seed)
    centres = rng.gamma(1.0, 1.0, (max(labels) + 1, width))
    return np.maximum(centres[list(labels)] + noise * rng.standard_normal((len(labels), width)), 0).astype(np.float32)


def ucf_names(classes: int, groups: int, clips: int) -> list[tuple[str, int, int]]:
    """(id, class, group) as UCF101 names its videos."""
    return [
        (f"Class{label:03d}/v_Class{label:03d}_g{group:02d}_c{clip:02d}", label, group)
        for label in range(classes)
        for group in range(1, groups + 1)
        for clip in range(1, clips + 1)
    ]


def ucf_lists(folder: Path, names: Sequence[tuple[str, int, int]], *, end: str = "\n") -> Path:
    """UCF101's lists: three splits, whose test videos are of seven groups each."""
    folder.mkdir(parents=True, exist_ok=True)
    classes = sorted({id.split("/")[0] for id, _, _ in names})
    index = "".join(f"{number} {name}{end}" for number, name in enumerate(classes, 1))
    (folder / "classInd.txt").write_bytes(index.encode())
    for split in (1, 2, 3):
        tested = range(7 * split - 6, 7 * split + 1)
        train = [f"{id}.avi {label + 1}{end}" for id, label, group in names if group not in tested]
        test = [f"{id}.avi{end}" for id, _, group in names if group in tested]
        (folder / f"trainlist0{split}.txt").write_bytes("".join(train).encode())
        (folder / f"testlist0{split}.txt").write_bytes("".join(test).encode())
    return folder
