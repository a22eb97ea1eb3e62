"""Three linear classifiers behind one function: the paper's support vector machine, and two of scikit-learn's."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import UsageError
from p3dfeat.evaluation.learning.squared_hinge import solve
from p3dfeat.options.evaluating import LearnerName

Matrix = NDArray[Any]

MOST_STEPS: Final = 2000  # of logistic regression
NEEDS_SKLEARN: Final = "needs scikit-learn; pip install 'p3dfeat[eval]'"


@dataclass(frozen=True)
class Linear:
    """Scores of classes: ``rows @ weights + bias``. weights: (C, K), bias: (K,).

    gap: largest relative distance of an objective from its optimum that was proven; None if it was not computed.
    """

    weights: Matrix
    bias: Matrix
    gap: float | None = None

    def scores(self, rows: Matrix) -> Matrix:
        """(n, C) to (n, K), float64."""
        return np.asarray(rows @ self.weights + self.bias, np.float64)


def with_ones(rows: Matrix) -> Matrix:
    """Rows with a last number of 1, whose weight is the bias."""
    return np.concatenate([rows, np.ones((len(rows), 1), rows.dtype)], axis=1)


def fitted(learner: LearnerName, rows: Matrix, targets: Matrix, c: float, *, start: Linear | None = None) -> Linear:
    """A classifier of K classes.

    Args:
        learner (str): "svm": one class against the rest, squared hinge loss, as LinearSVC. "logistic": multinomial
            logistic regression. "ridge": least squares to targets of 1 and -1, with penalty 1 / (2 C).
        rows (ndarray): (n, C + 1), the last number of each being 1.
        targets (ndarray): (n, K) bool: a row is of at least one class.
        c (float): The constant C.
        start (Linear | None): A similar solution, such as that of a smaller C.

    Raises:
        UsageError: scikit-learn is not installed, or a problem has no solution.
    """
    signs = np.where(targets, 1.0, -1.0)
    if learner == "svm":
        begin = None if start is None else np.concatenate([start.weights, start.bias[None]])
        found = solve(rows, signs, c, start=begin)
        return Linear(found.weights[:-1], found.weights[-1], float(found.gaps.max()))
    return _logistic(rows[:, :-1], targets, c) if learner == "logistic" else _ridge(rows[:, :-1], signs, c)


def _logistic(rows: Matrix, targets: Matrix, c: float) -> Linear:
    """A row of several classes counts once for each."""
    sklearn = _sklearn()
    places, classes = np.nonzero(targets)
    model = sklearn.LogisticRegression(C=c, max_iter=MOST_STEPS).fit(rows[places], classes)
    weights = np.zeros((rows.shape[1], targets.shape[1]))
    bias = np.full(targets.shape[1], -np.inf)
    if len(model.classes_) == 2:
        weights[:, model.classes_] = np.concatenate([-model.coef_, model.coef_]).T
        bias[model.classes_] = -model.intercept_[0], model.intercept_[0]
    else:
        weights[:, model.classes_], bias[model.classes_] = model.coef_.T, model.intercept_
    return Linear(weights, np.where(np.isfinite(bias), bias, bias[model.classes_].min() - 1))


def _ridge(rows: Matrix, signs: Matrix, c: float) -> Linear:
    model = _sklearn().Ridge(alpha=1 / (2 * c), solver="cholesky").fit(rows.astype(np.float64), signs)
    return Linear(model.coef_.T.reshape(rows.shape[1], -1), np.asarray(model.intercept_).reshape(-1))


def _sklearn() -> Any:
    try:
        import sklearn.linear_model
    except ImportError:
        raise UsageError(f"learner: {NEEDS_SKLEARN}") from None
    return sklearn.linear_model
