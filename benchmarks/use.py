"""Whether features reach those who use them at the speed of plain h5py and NumPy: python -m benchmarks.use

Exports a warm feature file beside a loop of h5py and numpy.save, reads videos in random order beside h5py, and searches
a matrix of made descriptors. Both sides alternate in one run.
"""

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import h5py
import numpy as np

import p3dfeat
from benchmarks.store import INFO, SETTINGS, video
from benchmarks.table import Row, main, median, say
from p3dfeat.config import Sampling
from p3dfeat.store import FeatureWriter
from p3dfeat.types import Features

ROUNDS: Final = 5
WIDTH: Final = 2048
DENSE: Final = (400, 150)  # videos, rows of each: dense features of 480 MB
SHORT: Final = (3000, 20)  # the default of extract
RANDOM: Final = (100_000, 1)  # videos to read in random order, of which
READS: Final = 2000
VECTORS: Final = 1_000_000
KINDS: Final = 400  # of videos; those of one kind have cosines of 0.93 to each other, others of 0.3
QUICK_SHARE: Final = 20
EXPORT_RATIO: Final = 0.9
RANDOM_RATIO: Final = 0.9
GIGABYTES_PER_SECOND: Final = 0.5
QUERY_SECONDS: Final = 1.0
LOAD_RATIO: Final = 1.2
MEMORY_RATIO: Final = 1.3


def feature_file(path: Path, videos: int, clips: int) -> Path:
    """A feature file of drawn rows."""
    drawn = np.random.default_rng(0).random((16, clips, WIDTH), np.float32)
    seconds = np.stack([np.arange(clips), np.arange(clips) + 0.64], axis=1)
    settings = replace(SETTINGS, sampling=Sampling(clips=clips))
    with FeatureWriter(path, settings) as writer:
        for number in range(videos):
            item = video(number)
            writer.add(item, Features({"pool5": drawn[number % 16]}, seconds, 25 * np.arange(clips)))
            writer.finish(item, INFO)
    return path


def plain_export(file: Path, output: Path) -> None:
    """What a user would write."""
    output.mkdir()
    with h5py.File(file) as stored:
        with p3dfeat.open_features(file) as features:
            ids = list(features)
        for id in ids:
            (output / id).parent.mkdir(parents=True, exist_ok=True)
            np.save(output / f"{id}.npy", stored[id]["pool5"][()])


def timed(work: Callable[..., object], *arguments: object) -> float:
    started = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - started


def our_export(file: Path, output: Path) -> None:
    p3dfeat.export(file, output, to="npy")


def read_whole(path: str, room: bytearray) -> None:
    with open(path, "rb", buffering=0) as file:
        while file.readinto(room):
            continue


@contextmanager
def emptied(folder: Path) -> Iterator[Path]:
    """A place that does not exist, and is removed afterwards."""
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def export_rows(folder: Path, quick: bool) -> Iterator[Row]:
    for name, (videos, clips) in (("dense", DENSE), ("20 clips", SHORT)):
        videos = videos // 5 if quick else videos
        file = feature_file(folder / f"{name}.h5", videos, clips)
        ours, plain = [], []
        for _ in range(1 + ROUNDS):  # the first one warms the file up
            with emptied(folder / "plain") as output:
                plain.append(timed(plain_export, file, output))
            with emptied(folder / "ours") as output:
                ours.append(timed(our_export, file, output))
        ratio = median([theirs / own for theirs, own in zip(plain[1:], ours[1:], strict=True)])
        rate = 4 * videos * clips * WIDTH / median(ours[1:]) / 1e9
        yield Row(
            f"export to npy, {name}: speed beside a loop of h5py and numpy.save",
            f">= {EXPORT_RATIO} times, >= {GIGABYTES_PER_SECOND} GB/s",
            f"{ratio:.2f} times, {rate:.2f} GB/s",
            ratio >= EXPORT_RATIO and rate >= GIGABYTES_PER_SECOND,
        )


def random_rows(folder: Path, quick: bool) -> Iterator[Row]:
    videos = RANDOM[0] // (QUICK_SHARE if quick else 1)
    file = feature_file(folder / "random.h5", videos, RANDOM[1])
    dataset = p3dfeat.FeatureDataset(file)
    order = np.random.default_rng(0).integers(0, videos, (ROUNDS, READS))
    ours, plain = [], []
    with h5py.File(file) as stored:
        for numbers in order.tolist():
            ids = [dataset.ids[number] for number in numbers]
            plain.append(timed(lambda ids=ids: [stored[id]["pool5"][()] for id in ids]))
            ours.append(timed(lambda numbers=numbers: [dataset[number] for number in numbers]))
    ratio = median([theirs / own for theirs, own in zip(plain, ours, strict=True)])
    yield Row(
        f"FeatureDataset, random videos of {videos:,}: speed beside h5py",
        f">= {RANDOM_RATIO} times",
        f"{ratio:.2f} times",
        ratio >= RANDOM_RATIO,
    )


def search_rows(folder: Path, quick: bool) -> Iterator[Row]:
    """In a process of its own, whose peak memory is its own."""
    count = VECTORS // (QUICK_SHARE if quick else 1)
    matrix = folder / "matrix.f16"
    rng = np.random.default_rng(0)
    with open(matrix, "wb") as file:
        kinds = rng.random((KINDS, WIDTH), np.float32) ** 4
        for _ in range(count // 10_000):
            rows = kinds[rng.integers(0, KINDS, 10_000)] * (rng.random((10_000, WIDTH), np.float32) + 0.5)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            file.write(rows.astype(np.float16).tobytes())
    done = subprocess.run(
        [sys.executable, "-c", f"from benchmarks.use import search; search({str(matrix)!r}, {count})"],
        capture_output=True,
        text=True,
        check=True,
    )
    load, query, peak, empty = map(float, done.stdout.split())
    memory = (peak - empty) / (2 * count * WIDTH)
    yield Row(
        f"search, {count:,} x {WIDTH}: one query after loading",
        f"< {QUERY_SECONDS:g} s",
        f"{query:.2f} s",
        query < QUERY_SECONDS,
    )
    yield Row(
        f"search, {count:,} x {WIDTH}: loading beside reading the bytes once",
        f"< {LOAD_RATIO} times",
        f"{load:.2f} times",
        load < LOAD_RATIO,
    )
    yield Row(
        f"search, {count:,} x {WIDTH}: peak memory beside the matrix in half precision",
        f"< {MEMORY_RATIO} times",
        f"{memory:.2f} times",
        memory < MEMORY_RATIO,
    )


def search(path: str, count: int) -> None:
    """Print: loading beside reading, seconds of a query, peak memory in bytes, and that before loading."""
    from p3dfeat.explore.similar import nearest
    from p3dfeat.explore.vectors import Vectors, read_matrix, unit

    class Made(Vectors):
        def exact(self, row: int) -> np.ndarray:
            return unit(self.matrix[row].numpy())

    empty = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    ratios, queries, matrix = [], [], None
    for _ in range(ROUNDS):
        room = bytearray(16 << 20)
        matrix = None

        plain = timed(read_whole, path, room)
        started = time.perf_counter()
        matrix = read_matrix(Path(path), count, WIDTH)
        ratios.append((time.perf_counter() - started) / plain)
        numbers = np.arange(count)
        names = [f"video{number:07d}" for number in range(count)]
        vectors = Made(None, names, matrix, numbers.astype(np.int32), numbers, None)  # type: ignore[arg-type]
        for row in (count // 3, count // 2):
            query = vectors.exact(row)
            queries.append(timed(nearest, vectors, query, 10))
        del vectors, numbers, names
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(median(ratios), median(queries), peak, empty)


def rows(quick: bool) -> list[Row]:
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        for part in (export_rows, random_rows, search_rows):
            for row in part(Path(name), quick):
                say(f"{row.measure}: {row.reached}")
                found.append(row)
            for path in Path(name).iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    return found


if __name__ == "__main__":
    main(rows, __doc__)
