"""How long the paper's experiments take at the size of their data sets: python -m benchmarks.evaluate

On made features: UCF101's three splits beside a loop of LinearSVC(dual=True), ActivityNet, and ASLAN. A full run takes
15 minutes on two cores, and 6 GB of temporary space.
"""

import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.store import INFO, SETTINGS
from benchmarks.table import Row, main, say
from p3dfeat.config import Sampling
from p3dfeat.store import FeatureWriter
from p3dfeat.types import Features, Video

UCF_CLASSES: Final = 101
UCF_GROUPS: Final = 25
UCF_VIDEOS: Final = 13_320
UCF_SECONDS: Final = 600
UCF_RATIO: Final = 4.0
PLAIN_CLASSES: Final = 5
WIDTH: Final = 2048
ACTIVITYNET: Final = (200, 10_024, 4_926)  # classes, training and validation videos
ACTIVITYNET_SECONDS: Final = 300
SAMPLES: Final = 3_697
PAIRS: Final = 600  # per fold
FOLDS: Final = 10
LAYERS: Final = {"prob": (487,), "pool5": (WIDTH,), "res5c": (2048, 1, 7, 7), "res4b35": (1024, 2, 10, 10)}
ASLAN_SECONDS: Final = 60
ASLAN_BYTES: Final = 1e9
QUICK_SHARE: Final = 10
IMAGES: Final = 64  # ASLAN's maps of this number of samples are drawn; the others are mixtures


def drawn(labels: Sequence[int], seed: int = 0) -> np.ndarray:
    """Rows like pool5 of classes that are not easily told apart: about one in eight is taken for another."""
    rng = np.random.default_rng(seed)
    centres = rng.gamma(0.5, 1.0, (max(labels) + 1, WIDTH))
    shared = rng.standard_normal((40, WIDTH))
    base = rng.gamma(1.0, 1.0, WIDTH)
    rows = np.empty((len(labels), WIDTH), np.float32)
    for place, label in enumerate(labels):
        noise = 1.5 * rng.standard_normal(WIDTH) + 0.15 * rng.standard_normal(40) @ shared
        rows[place] = np.maximum(base + 0.31 * centres[label] + noise, 0)
    return rows


def written(path: Path, videos: Iterator[tuple[str, Mapping[str, np.ndarray]]], layers: Sequence[str]) -> Path:
    """A feature file with one clip per video."""
    settings = replace(SETTINGS, sampling=Sampling(clips=1), layers=tuple(layers))
    with FeatureWriter(path, settings) as writer:
        for number, (id, arrays) in enumerate(videos):
            video = Video(id, f"{id}.avi", f"{id}.avi")
            rows = {name: row[None] for name, row in arrays.items()}
            writer.add(video, Features(rows, np.array([[0.0, 0.64]]), np.array([0])))
            writer.finish(video, replace(INFO, fingerprint=f"{number:016x}"))
    return path


def ucf(folder: Path, share: int) -> tuple[Path, Path]:
    """A feature file and lists of UCF101's size."""
    classes = UCF_CLASSES // share
    count = UCF_VIDEOS // share
    labels = [number * classes // count for number in range(count)]
    groups = [number % UCF_GROUPS + 1 for number in range(count)]
    names = [
        f"Class{label:03d}/v_Class{label:03d}_g{group:02d}_c{n:05d}"
        for n, (label, group) in enumerate(zip(labels, groups, strict=True))
    ]
    rows = drawn(labels)
    file = written(folder / "ucf.h5", ((id, {"pool5": row}) for id, row in zip(names, rows, strict=True)), ["pool5"])
    lists = folder / "splits"
    lists.mkdir()
    for split in (1, 2, 3):
        tested = range(7 * split - 6, 7 * split + 1)
        sides: dict[bool, list[str]] = {True: [], False: []}
        for id, group in zip(names, groups, strict=True):
            sides[group in tested].append(f"{id}.avi\n")
        (lists / f"trainlist0{split}.txt").write_text("".join(sides[False]), encoding="utf-8")
        (lists / f"testlist0{split}.txt").write_text("".join(sides[True]), encoding="utf-8")
    return file, lists


def plain_split(file: Path, lists: Path) -> tuple[float, float]:
    """Seconds of the first split with LinearSVC, one class after another, and its largest objective beside ours.

    The same C and folds. Some classes are measured, and one fold for each C: all of it takes most of an hour.
    """
    from sklearn.svm import LinearSVC

    from p3dfeat.evaluation.experiments import list_task
    from p3dfeat.evaluation.learning.squared_hinge import solve
    from p3dfeat.evaluation.learning.tuning import C_GRID, INNER_FOLDS, folds
    from p3dfeat.evaluation.lists import ucf101_splits
    from p3dfeat.options import ListsSettings

    task, splits, _, _ = list_task([file], ucf101_splits(lists), ListsSettings())
    problem = task.problem.at(splits[0].train)
    rows, signs = problem.rows[0], np.where(problem.targets, 1.0, -1.0)
    some = range(0, signs.shape[1], max(1, signs.shape[1] // PLAIN_CLASSES))
    inner = next(iter(folds(problem.targets, problem.groups, INNER_FOLDS, 0)))[0]
    seconds, worst = 0.0, 0.0
    # The last fit stands for the one on all training videos, with the C that was chosen.
    for c, places, times in [*((c, inner, INNER_FOLDS) for c in C_GRID), (1.0, np.arange(len(rows)), 1)]:
        ours = solve(rows[places], signs[places], c).weights.astype(np.float64)
        features = np.ascontiguousarray(rows[places, :-1])
        for k in some:
            started = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # LIBLINEAR does not converge within its default number of iterations
                model = LinearSVC(C=c, dual=True).fit(features, signs[places, k])
            seconds += times * (time.perf_counter() - started) * signs.shape[1] / len(some)
            theirs = np.append(model.coef_[0], model.intercept_)
            found = [objective(w, rows[places], signs[places, k], c) for w in (ours[:, k], theirs)]
            worst = max(worst, found[0] / found[1] - 1)
    return seconds, worst


def objective(weights: np.ndarray, rows: np.ndarray, signs: np.ndarray, c: float) -> float:
    slack = np.maximum(1 - signs * (rows.astype(np.float64) @ weights), 0)
    return float(0.5 * weights @ weights + c * slack @ slack)


def in_process(code: str) -> dict[str, Any]:
    """What code prints as JSON, with its peak memory. It runs in a process of its own."""
    tail = "\nimport resource; found['bytes'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024"
    code = f"import json, time, p3dfeat\nstarted = time.perf_counter()\n{code}{tail}\nprint(json.dumps(found))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


RESULT: Final = (
    "found = dict(seconds=time.perf_counter() - started, rows=[[row.name, dict(row.values)] for row in result.rows])"
)


def ucf_rows(folder: Path, quick: bool) -> Iterator[Row]:
    file, lists = ucf(folder, QUICK_SHARE if quick else 1)
    whole = in_process(f"result = p3dfeat.evaluate_ucf101({str(file)!r}, {str(lists)!r})\n{RESULT}")
    yield Row(
        f"eval ucf101, {UCF_VIDEOS // (QUICK_SHARE if quick else 1):,} x {WIDTH}, three splits, C chosen",
        f"< {UCF_SECONDS} s",
        f"{whole['seconds']:.0f} s, accuracy {whole['rows'][-1][1]['accuracy']:.1f} %",
        whole["seconds"] < UCF_SECONDS,
        whole,
    )
    seconds, worst = plain_split(file, lists)
    ratio = 3 * seconds / whole["seconds"]
    yield Row(
        "eval ucf101: speed beside a loop of LinearSVC(dual=True), some classes of one split measured",
        f">= {UCF_RATIO} times, objectives within 1e-3",
        f"{ratio:.1f} times; largest objective {worst:+.1e} of LinearSVC's",
        ratio >= UCF_RATIO and worst < 1e-3,
        {"plain_seconds": 3 * seconds, "worst": worst},
    )


def activitynet_rows(folder: Path, quick: bool) -> Iterator[Row]:
    classes, train, test = (number // (QUICK_SHARE if quick else 1) for number in ACTIVITYNET)
    labels = [number % classes for number in range(train + test)]
    rows = drawn(labels)
    ids = [f"{number:011d}" for number in range(len(labels))]
    videos = ((f"v_{id}", {"pool5": row}) for id, row in zip(ids, rows, strict=True))
    file = written(folder / "anet.h5", videos, ["pool5"])
    database = {
        id: {"subset": "training" if n < train else "validation", "annotations": [{"label": f"class {label}"}]}
        for n, (id, label) in enumerate(zip(ids, labels, strict=True))
    }
    annotations = folder / "anet.json"
    annotations.write_text(json.dumps({"database": database}), encoding="utf-8")
    found = in_process(f"result = p3dfeat.evaluate_activitynet({str(file)!r}, {str(annotations)!r})\n{RESULT}")
    yield Row(
        f"eval activitynet, {train:,} + {test:,} videos",
        f"< {ACTIVITYNET_SECONDS} s",
        f"{found['seconds']:.0f} s, mAP {found['rows'][-1][1]['mAP']:.1f} %",
        found["seconds"] < ACTIVITYNET_SECONDS,
        found,
    )


def aslan_rows(folder: Path, quick: bool) -> Iterator[Row]:
    from scipy.io import savemat

    count = SAMPLES // (QUICK_SHARE if quick else 1)
    rng = np.random.default_rng(0)
    drawn_maps = {name: rng.gamma(0.5, 1.0, (IMAGES, *shape)).astype(np.float32) for name, shape in LAYERS.items()}
    kinds = rng.integers(0, IMAGES, (count, 2))
    videos = (
        (f"{n:04d}", {name: maps[a] + np.float32(0.3) * maps[b] for name, maps in drawn_maps.items()})
        for n, (a, b) in enumerate(kinds, 1)
    )
    file = written(folder / "aslan.h5", videos, list(LAYERS))
    table = np.zeros((PAIRS, 5, FOLDS))
    for fold in range(FOLDS):
        table[:, :2, fold] = rng.integers(1, count + 1, (PAIRS, 2))
        table[:, 2, fold] = np.arange(PAIRS) % 2
    savemat(folder / "View2.mat", {"action_splits_pairs": table})
    found = in_process(
        f"result = p3dfeat.evaluate_aslan({str(file)!r}, {str(folder / 'View2.mat')!r}, c=1.0)\n{RESULT}"
    )
    numbers = sum(int(np.prod(shape)) for shape in LAYERS.values())
    yield Row(
        f"eval aslan, {FOLDS * PAIRS:,} pairs of {count:,} samples, four layers of {numbers:,} numbers",
        f"< {ASLAN_SECONDS} s, < 1 GB",
        f"{found['seconds']:.0f} s, {found['bytes'] / 1e9:.2f} GB",
        found["seconds"] < ASLAN_SECONDS and found["bytes"] < ASLAN_BYTES,
        found,
    )


def rows(quick: bool) -> list[Row]:
    found: list[Row] = []
    for part in (aslan_rows, activitynet_rows, ucf_rows):
        with tempfile.TemporaryDirectory() as name:
            for row in part(Path(name), quick):
                say(f"{row.measure}: {row.reached}")
                found.append(row)
    return found


if __name__ == "__main__":
    main(rows, __doc__)
