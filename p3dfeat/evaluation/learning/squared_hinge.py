"""The linear support vector machine of all classes at once, with a proof of how near each is to its optimum.

The problem is that of scikit-learn's ``LinearSVC(dual=True)`` with its defaults: for each class, with targets y of 1
and -1, minimise over w

    P(w) = |w|^2 / 2 + C * sum_i max(0, 1 - y_i w.x_i)^2,

where the last number of each row x is 1, so that the last weight is the bias. LIBLINEAR solves one class after another
and reads the rows once per pass. Here, Newton steps of all classes share each product of matrices. The duality gap
P(w) - D(a), with a_i = 2 C max(0, 1 - y_i w.x_i), bounds the distance to the optimum from above, and ends the search.

Sources: Fan et al., "LIBLINEAR", JMLR 2008; Chapelle, "Training a support vector machine in the primal", Neural
Computation 2007; Keerthi and DeCoste, JMLR 2005 (the exact step along a direction).
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import UsageError

Matrix = NDArray[Any]

GAP: Final = 1e-4  # relative, of each class
MOST_STEPS: Final = 60  # of Newton in each precision
MOST_PRODUCTS: Final = 60  # of the Hessian per step
RESIDUAL: Final = 0.1  # of the Newton system, relative
STEP_SEARCHES: Final = 8


@dataclass(frozen=True)
class SquaredHinge:
    """Solutions of all classes. weights: (D, K), the last row being the biases if the last number of rows is 1.

    gaps: (K,) relative duality gaps: the objective is at most this part of itself above the optimum.
    """

    weights: Matrix
    gaps: NDArray[np.float64]


def solve(rows: Matrix, targets: Matrix, c: float, *, start: Matrix | None = None, gap: float = GAP) -> SquaredHinge:
    """The support vector machines of all classes.

    Args:
        rows (ndarray): (n, D) float32 or float64. With a bias, the last number of each is 1.
        targets (ndarray): (n, K), 1 where a row is of a class, -1 elsewhere.
        c (float): The constant C, more than 0.
        start (ndarray | None): (D, K) weights to begin with, such as those of a smaller C.
        gap (float): Largest relative duality gap.

    Raises:
        UsageError: The gap is not reached, even in double precision. Rows of very different size are the usual reason.

    Example:
        >>> solve(np.array([[1.0, 1.0], [-1.0, 1.0]]), np.array([[1.0], [-1.0]]), 10.0).weights.round(3).T.tolist()
        [[0.976, 0.0]]
    """
    precisions = (np.float32, np.float64) if rows.dtype == np.float32 else (np.float64,)
    weights = np.zeros((rows.shape[1], targets.shape[1])) if start is None else start
    gaps = np.full(targets.shape[1], np.inf)
    for precision in precisions:
        weights, gaps = _solved(rows.astype(precision, copy=False), targets.astype(precision), c, weights, gap)
        if gaps.max() <= gap:
            return SquaredHinge(weights, gaps)
    raise UsageError(
        f"svm with C = {c:g}: not solved: {gaps.max():.1e} from the optimum; normalise the rows, or choose a smaller C"
    )


def _solved(rows: Matrix, targets: Matrix, c: float, start: Matrix, gap: float) -> tuple[Matrix, NDArray[np.float64]]:
    """Weights and gaps after Newton's method in the precision of the rows; classes leave when they are solved."""
    weights = start.astype(rows.dtype)
    gaps = np.full(targets.shape[1], np.inf)
    open_classes = np.arange(targets.shape[1])
    values = rows @ weights
    for step in range(MOST_STEPS + 1):
        y, w = targets[:, open_classes], weights[:, open_classes]
        slack = np.maximum(1 - y * values, 0)
        dual = (2 * c) * slack
        combined = rows.T @ (dual * y)
        gaps[open_classes] = _gaps(w, slack, dual, combined, c)
        keep = gaps[open_classes] > gap
        if not keep.any() or step == MOST_STEPS:
            break
        open_classes, y, w, values = open_classes[keep], y[:, keep], w[:, keep], values[:, keep]
        gradient = w - combined[:, keep]
        direction, along = _newton_direction(rows, (slack[:, keep] > 0).astype(rows.dtype), gradient, c)
        size = _steps(w, direction, y, values, along, c)
        weights[:, open_classes] = w + size * direction
        values = values + size * along
    return weights, gaps


def _gaps(weights: Matrix, slack: Matrix, dual: Matrix, combined: Matrix, c: float) -> NDArray[np.float64]:
    primal = 0.5 * _squares(weights) + c * _squares(slack)
    lower = dual.sum(axis=0, dtype=np.float64) - 0.5 * _squares(combined) - _squares(dual) / (4 * c)
    return np.asarray((primal - lower) / primal)


def _squares(columns: Matrix) -> NDArray[np.float64]:
    return np.asarray(np.einsum("ij,ij->j", columns, columns, dtype=np.float64))


def _dots(a: Matrix, b: Matrix) -> Matrix:
    return np.asarray(np.einsum("ij,ij->j", a, b))


def _newton_direction(rows: Matrix, active: Matrix, gradient: Matrix, c: float) -> tuple[Matrix, Matrix]:
    """Approximate solutions s of H s = -gradient by conjugate gradients, and rows @ s. H = 1 + 2 C X'(active)X."""
    solution, along = np.zeros_like(gradient), np.zeros_like(active)
    residual = -gradient
    search = residual.copy()
    square = _dots(residual, residual)
    enough = RESIDUAL**2 * square
    for _ in range(MOST_PRODUCTS):
        product = rows @ search
        curved = search + (2 * c) * (rows.T @ (active * product))
        size = square / np.maximum(_dots(search, curved), np.finfo(rows.dtype).tiny)
        solution += size * search
        along += size * product
        residual -= size * curved
        new = _dots(residual, residual)
        if (new <= enough).all():
            break
        search = residual + (new / np.maximum(square, np.finfo(rows.dtype).tiny)) * search
        square = new
    return solution, along


def _steps(weights: Matrix, direction: Matrix, y: Matrix, values: Matrix, along: Matrix, c: float) -> Matrix:
    """The step of each class that minimises P along its direction, by Newton's method in one dimension."""
    linear, quadratic = _dots(direction, weights), _dots(direction, direction)
    low, high = np.zeros(len(linear)), np.full(len(linear), np.inf)
    size = np.ones(len(linear))
    for _ in range(STEP_SEARCHES):
        slack = np.maximum(1 - y * (values + size.astype(y.dtype) * along), 0)
        slope = linear + size * quadratic - 2 * c * _dots(slack, y * along)
        bend = quadratic + 2 * c * _dots((slack > 0) * along, along)
        low, high = np.where(slope < 0, size, low), np.where(slope < 0, high, size)
        new = size - slope / np.maximum(bend, np.finfo(y.dtype).tiny)
        inside = (new > low) & (new < high)
        size = np.where(inside, new, np.where(np.isfinite(high), (low + high) / 2, 2 * size))
    return size.astype(y.dtype)
