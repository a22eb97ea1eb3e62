"""Descriptors of a feature file as one matrix of half precision, kept in a cache: it loads at the disk's speed."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p3dfeat.errors import UsageError
from p3dfeat.store import FeatureFile
from p3dfeat.text.jsons import read_object
from p3dfeat.types import FloatArray, SecondsArray

LAYER: Final = "pool5"
POOLED: Final = "pooled"
FOLDER: Final = "search"  # of the cache
KEPT_ROWS: Final = 20_000  # from this number on, the matrix is kept: reading it from HDF5 takes seconds
MOST_KEPT: Final = 4  # matrices in the cache; the oldest go first


@dataclass(frozen=True)
class Vectors:
    """Rows of unit length, (N, C) float16, and what each is.

    ids: of the videos, in the order of the file. videos: (N,) the video of each row. seconds: (N, 2) of each clip, by
    the file's timestamps; None if each row is a whole video.
    """

    file: FeatureFile
    ids: Sequence[str]
    matrix: Tensor
    videos: NDArray[np.int32]
    firsts: NDArray[np.int64]  # the first row of each video
    seconds: SecondsArray | None

    def __len__(self) -> int:
        return len(self.matrix)

    @property
    def is_of_clips(self) -> bool:
        return self.seconds is not None

    def exact(self, row: int) -> FloatArray:
        """The row as the file stores it, with unit length, in double precision."""
        video = int(self.videos[row])
        if self.is_of_clips:
            clip = int(row - self.firsts[video])
            stored = self.file[self.ids[video]].rows(LAYER, clip, 1)[0]
        else:
            stored = self.file.array(self.ids[video], POOLED)
        return unit(_one_row(stored))

    def clip(self, row: int) -> int:
        """The number of a row's clip in its video."""
        return int(row - self.firsts[self.videos[row]])


def unit(row: NDArray[Any]) -> NDArray[Any]:
    """A row of unit length, in double precision; a row of zeros stays. Raises UsageError if it is not finite."""
    row = np.asarray(row, np.float64)
    length = float(np.linalg.norm(row))
    if not np.isfinite(length):
        raise UsageError("descriptor: holds numbers that are not finite")
    return row / length if length else row


def load_vectors(file: FeatureFile, *, clips: bool = False, cache: Path | None = None) -> Vectors:
    """The descriptors of all videos, or of all clips (the mean over their crops).

    cache: folder of the caches; None keeps nothing. Raises UsageError if pool5 is not stored, or there are no videos.
    """
    file.check_stored(LAYER)
    if not len(file):
        raise UsageError(f"{file.path}: holds no videos")
    kept = None if cache is None else _Kept(cache / FOLDER, file.path, clips=clips)
    if kept is not None and (found := kept.load(file)) is not None:
        return found
    vectors = _read_clips(file) if clips else _read_videos(file)
    if kept is not None and len(vectors) >= KEPT_ROWS:
        kept.store(vectors)
    return vectors


def _read_videos(file: FeatureFile) -> Vectors:
    count, matrix = len(file), None
    for number, video in enumerate(file.scan([POOLED])):
        row = _one_row(video.arrays[POOLED])
        if matrix is None:
            matrix = np.empty((count, len(row)), np.float16)
        matrix[number] = _half(row, video.id)
    assert matrix is not None
    numbers = np.arange(count)
    return Vectors(file, list(file), torch.from_numpy(matrix), numbers.astype(np.int32), numbers, None)


def _read_clips(file: FeatureFile) -> Vectors:
    seconds = [video.arrays["seconds"] for video in file.scan(["seconds"])]
    counts = [len(times) for times in seconds]
    firsts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    matrix: NDArray[np.float16] | None = None
    for first, video in zip(firsts, file.scan([LAYER]), strict=True):
        rows = video.arrays[LAYER]
        rows = rows.mean(axis=1) if rows.ndim == 3 else rows
        if matrix is None:
            matrix = np.empty((sum(counts), rows.shape[1]), np.float16)
        matrix[first : first + len(rows)] = _half(rows, video.id)
    assert matrix is not None
    videos = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return Vectors(file, list(file), torch.from_numpy(matrix), videos, firsts, np.concatenate(seconds))


def _one_row(stored: NDArray[Any]) -> NDArray[Any]:
    """(C,) or (crops, C) to (C,): the mean over crops."""
    return stored if stored.ndim == 1 else stored.mean(axis=0)


def _half(rows: NDArray[Any], id: str) -> NDArray[np.float16]:
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    if not np.isfinite(lengths).all():
        raise UsageError(f"{id}: holds numbers that are not finite; p3dfeat verify lists all such videos")
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), np.float16)


class _Kept:
    """A matrix in the cache: one file of bytes, and one that says what it is. Anything unexpected counts as missing."""

    def __init__(self, folder: Path, path: Path, *, clips: bool):
        place = os.path.realpath(path)
        status = os.stat(place)
        self._of = [place, status.st_size, status.st_mtime_ns, status.st_ino, clips]
        name = hashlib.sha256(json.dumps([place, clips]).encode("utf-8", "surrogatepass")).hexdigest()[:24]
        self._folder, self._about, self._matrix = folder, folder / f"{name}.json", folder / f"{name}.f16"

    def load(self, file: FeatureFile) -> Vectors | None:
        try:
            about = read_object(self._about)
            rows, width = (int(number) for number in about["shape"])
            if about["of"] != self._of or self._matrix.stat().st_size != 2 * rows * width:
                return None
            matrix = read_matrix(self._matrix, rows, width)
            with np.load(self._folder / str(about["rows"]), allow_pickle=False) as arrays:
                videos, firsts, seconds = arrays["videos"], arrays["firsts"], arrays.get("seconds")
        except (OSError, ValueError, KeyError, TypeError):
            return None
        ids = list(file)
        return Vectors(file, ids, matrix, videos, firsts, seconds) if len(ids) == len(firsts) else None

    def store(self, vectors: Vectors) -> None:
        """Keep a matrix, if the disk allows it."""
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            for old in sorted(self._folder.glob("*.f16"), key=lambda path: path.stat().st_mtime)[: -MOST_KEPT + 1]:
                for path in (old, old.with_suffix(".json"), old.with_suffix(".npz")):
                    path.unlink(missing_ok=True)
            self._about.unlink(missing_ok=True)  # until all is written, the matrix counts as missing
            _write(self._matrix, _pieces(vectors.matrix))
            rows = self._matrix.with_suffix(".npz")
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as part:
                arrays: dict[str, Any] = {"videos": vectors.videos, "firsts": vectors.firsts}
                np.savez(part, **(arrays if vectors.seconds is None else {**arrays, "seconds": vectors.seconds}))
            os.replace(part.name, rows)
            about = {"of": self._of, "shape": list(vectors.matrix.shape), "rows": rows.name}
            _write(self._about, iter([json.dumps(about).encode()]))


def read_matrix(path: Path, rows: int, width: int) -> Tensor:
    """(rows, width) float16 from a file of its bytes, which is mapped: the system reads it when it is used.

    Files of the cache are replaced, never changed. Raises OSError, or ValueError if bytes are missing.
    """
    mapped: NDArray[np.float16] = np.memmap(path, np.float16, "c", shape=(rows, width))
    return torch.from_numpy(mapped)


def _pieces(matrix: Tensor) -> Iterator[bytes]:
    for first in range(0, len(matrix), 4096):
        yield matrix[first : first + 4096].numpy().tobytes()


def _write(path: Path, pieces: Iterator[bytes]) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as part:
        try:
            part.writelines(pieces)
        except BaseException:
            os.unlink(part.name)
            raise
    os.replace(part.name, path)
