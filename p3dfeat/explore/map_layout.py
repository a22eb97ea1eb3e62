"""Rows of numbers as places on a map, with t-SNE or UMAP, and the nearest neighbours of each row.

t-SNE: L. van der Maaten and G. Hinton, Visualizing Data using t-SNE, JMLR 9 (2008). The P3D paper shows such a map of
videos in its figure 7. The same rows in the same order give the same places, to the bit, on any number of cores.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import UsageError
from p3dfeat.types import FloatArray

DIMENSIONS: Final = 50  # after the PCA, as in the t-SNE paper's experiments (30) and its authors' code (50)
FEWEST: Final = 3  # rows for t-SNE; fewer lie on a line
BLOCK: Final = 1024  # rows whose neighbours are looked for at once
START: Final = 1e-4  # standard deviation of the first places, as in scikit-learn's init="pca"
INSTALL: Final = "map: needs scikit-learn; pip install 'p3dfeat[map]'"


@dataclass(frozen=True)
class Arrangement:
    """positions: (N, 2). perplexity: the one that was used, which is smaller for few rows; 0 if none was needed."""

    positions: NDArray[np.float64]
    perplexity: float


def laid_out(rows: FloatArray, *, method: str, perplexity: int) -> Arrangement:
    """The places of (N, C) rows. Raises UsageError if a package is missing."""
    with _one_thread():
        reduced = _principal(rows)
    if len(rows) < FEWEST:
        return Arrangement(np.stack([np.arange(float(len(rows))), np.zeros(len(rows))], axis=1), 0.0)
    most = (len(rows) - 1) / 3  # t-SNE looks at three times as many neighbours
    used = float(max(1.0, min(perplexity, most)))
    if method == "umap":
        return Arrangement(_umap(reduced, max(2, round(used))), float(max(2, round(used))))
    from sklearn.manifold import TSNE

    first = reduced[:, :2] if reduced.shape[1] > 1 else np.pad(reduced, ((0, 0), (0, 1)))
    deviation = float(first[:, 0].std())
    init = (first / deviation * START if deviation > 0 else _circle(len(rows))).astype(np.float32)
    found = TSNE(perplexity=used, init=init, learning_rate="auto", random_state=0).fit_transform(reduced)
    return Arrangement(np.asarray(found, np.float64), used)


def nearest(rows: FloatArray, count: int) -> NDArray[np.int64]:
    """(N, min(count, N - 1)) numbers of the rows with the largest cosine to each row, the nearest first."""
    total = len(rows)
    count = min(count, total - 1)
    if count < 1:
        return np.zeros((total, 0), np.int64)
    norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    units = (rows / np.maximum(norms, np.finfo(np.float32).tiny)).astype(np.float32)
    found = np.empty((total, count), np.int64)
    with _one_thread():
        for first in range(0, total, BLOCK):
            close = units[first : first + BLOCK] @ units.T
            close[np.arange(len(close)), np.arange(first, first + len(close))] = -np.inf
            best = np.argpartition(-close, count - 1, axis=1)[:, :count]
            order = np.lexsort((best, -np.take_along_axis(close, best, axis=1)), axis=1)
            found[first : first + BLOCK] = np.take_along_axis(best, order, axis=1)
    return found


def _principal(rows: FloatArray) -> NDArray[np.float64]:
    """The first principal components of (N, C) rows. The solver is exact and needs no seed."""
    try:
        from sklearn.decomposition import PCA
    except ImportError:
        raise UsageError(INSTALL) from None
    wide = rows.astype(np.float64)
    count = min(DIMENSIONS, *wide.shape)
    if count < 1 or len(rows) < 2 or not np.ptp(wide, axis=0).any():
        return wide
    return np.asarray(PCA(count, svd_solver="covariance_eigh").fit_transform(wide))


def _circle(count: int) -> NDArray[np.float64]:
    """First places of rows that are all equal."""
    angles = 2 * np.pi * np.arange(count) / count
    return START * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _umap(rows: NDArray[np.float64], neighbours: int) -> NDArray[np.float64]:
    try:
        from umap import UMAP
    except ImportError:
        raise UsageError("method umap: needs umap-learn; pip install umap-learn") from None
    neighbours = min(neighbours, len(rows) - 1)
    start: Any = "spectral" if len(rows) > neighbours + 2 else "random"
    return np.asarray(UMAP(n_neighbors=neighbours, init=start, random_state=0, n_jobs=1).fit_transform(rows), float)


def _one_thread() -> AbstractContextManager[Any]:
    """Linear algebra on one core: with more, sums are split differently, and the last bits differ."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        raise UsageError(INSTALL) from None
    limits: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return limits
