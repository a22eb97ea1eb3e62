"""All videos of a feature file at once: their attributes as columns, or one array of each as a matrix."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import UsageError
from p3dfeat.store.reading.scan import Scanned


def stacked(videos: Iterable[Scanned], name: str, count: int) -> tuple[list[str], NDArray[Any]]:
    """Ids, and the array ``name`` of all videos, (videos, ...). Raises UsageError if their shapes differ."""
    ids: list[str] = []
    matrix: NDArray[Any] | None = None
    for video in videos:
        values = video.arrays.get(name)
        if values is None:
            raise UsageError(f"{name}: {video.id} has no such array")
        if matrix is None:
            matrix = np.empty((count, *values.shape), values.dtype)
        if values.shape != matrix.shape[1:]:
            raise UsageError(
                f"{name}: {video.id} has the shape {values.shape}, the first video {matrix.shape[1:]}; read each by "
                'its id, or take "pooled"'
            )
        matrix[len(ids)] = values
        ids.append(video.id)
    return ids, np.zeros((0, 0), np.float32) if matrix is None else matrix


def attribute_columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Rows of values by name as columns; None where a row lacks a value."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}
