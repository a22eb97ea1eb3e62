"""Vectors of layers of many videos, in a temporary file: a layer of all videos may not fit into memory."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from p3dfeat.errors import UsageError
from p3dfeat.evaluation.aslan.similarities import COUNT, similarities
from p3dfeat.exports.source import Source, is_finite
from p3dfeat.types import FloatArray, SecondsArray

THREADS: Final = os.cpu_count() or 1
BATCH: Final = 64  # pairs per task of a thread


class LayerVectors:
    """The mean over clips and crops of a layer, flattened, for each video; made by ``layer_vectors``."""

    def __init__(self, descriptor: int, width: int, ids: Sequence[str]):
        self._descriptor, self.width, self.ids = descriptor, width, list(ids)

    def vector(self, place: int) -> FloatArray:
        """(width,) float32."""
        found = np.empty(self.width, np.float32)
        view = found.view(np.uint8).data
        while view:
            count = os.preadv(self._descriptor, [view], 4 * self.width * place + found.nbytes - len(view))
            assert count, "a temporary file is shorter than it was"
            view = view[count:]
        return found

    def similarities(self, pairs: Sequence[tuple[int, int]]) -> SecondsArray:
        """(pairs, 12). Two threads and more compute: memory is a few vectors each."""
        parts = [pairs[start : start + BATCH] for start in range(0, len(pairs), BATCH)]
        with ThreadPoolExecutor(THREADS) as pool:
            return np.concatenate([np.zeros((0, COUNT)), *pool.map(self._some, parts)])

    def _some(self, pairs: Sequence[tuple[int, int]]) -> SecondsArray:
        found = np.empty((len(pairs), COUNT))
        last, x = -1, np.zeros(0, np.float32)
        for row, (first, second) in enumerate(pairs):
            if first != last:  # pairs are sorted by their first video
                last, x = first, self.vector(first)
            found[row] = similarities(x, self.vector(second))
        return found


@contextmanager
def layer_vectors(files: Sequence[str | Path], layer: str) -> Iterator[tuple[LayerVectors, dict[str, str]]]:
    """The vectors of a layer, and the reason for each video that has none.

    Raises UsageError for a layer with negative numbers: the similarities take square roots and logarithms.
    """
    left_out: dict[str, str] = {}
    ids: list[str] = []
    width = 0
    with (
        Source(files, layer) as source,
        tempfile.TemporaryFile(prefix="p3dfeat-aslan-") as file,
        ThreadPoolExecutor(1) as writer,  # writes one vector while the next one is read
    ):
        written: Future[int] | None = None
        for video in source.videos(times=False):
            assert video is not None
            axes = (0, 1) if len(source.crops) > 1 else (0,)
            several = len(video.values) > 1 or len(source.crops) > 1
            mean = video.values.mean(axis=axes, dtype=np.float64) if several else video.values[0]
            vector = np.asarray(mean, np.float32).reshape(-1)
            if not is_finite(vector):
                left_out[video.id] = "not all numbers are finite"
                continue
            if vector.min() < 0:
                raise UsageError(f"layer {layer}: {video.id} has negative numbers, of which similarities are undefined")
            if width and len(vector) != width:
                raise UsageError(f"layer {layer}: {video.id} has {len(vector)} numbers, the first video {width}")
            width = len(vector)
            ids.append(video.id)
            if written is not None:
                written.result()
            written = writer.submit(file.write, vector.data)
        if written is not None:
            written.result()
        file.flush()
        yield LayerVectors(file.fileno(), width, ids), left_out
