"""How close arrays of features are to a reference."""

from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

TINY: Final = float(np.finfo(np.float64).tiny)  # in place of a norm of zero

Rows = NDArray[np.float64]


def relative_l2(found: ArrayLike, reference: ArrayLike) -> float:
    """|found - reference| / |reference| of two arrays of one shape, in float64; NaN if either holds one.

    relative_l2([3.0, 4.0], [3.0, 3.0])  # 0.2357, which is 1 / sqrt(18)
    """
    a, b = (np.asarray(values, np.float64).ravel() for values in (found, reference))
    return float(np.linalg.norm(a - b) / max(float(np.linalg.norm(b)), TINY))


def row_errors(rows: NDArray[Any], reference: NDArray[Any]) -> Rows:
    """(N,) relative L2 distances of the rows (N, ...) of two arrays."""
    a, b = _flat(rows), _flat(reference)
    return np.asarray(np.linalg.norm(a - b, axis=1) / np.maximum(np.linalg.norm(b, axis=1), TINY))


def cosines(a: NDArray[Any], b: NDArray[Any]) -> Rows:
    """(N,) cosines between the rows (N, ...) of two arrays."""
    first, second = _flat(a), _flat(b)
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.asarray((first * second).sum(axis=1) / np.maximum(norms, TINY))


def _flat(rows: NDArray[Any]) -> Rows:
    return rows.reshape(len(rows), -1).astype(np.float64)
