"""The choice of C, and of the weights of fused scores, by cross-validation on training videos only."""

import itertools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import UsageError
from p3dfeat.evaluation.learning.learners import NEEDS_SKLEARN, Linear, Matrix, fitted
from p3dfeat.options.evaluating import LearnerName

C_GRID: Final = (0.1, 1.0, 10.0, 100.0)
LOGISTIC_C_GRID: Final = (1.0, 10.0, 100.0, 1000.0)  # its loss is flatter: on unit rows, larger values are the best
INNER_FOLDS: Final = 3
WEIGHT_PARTS: Final = 10  # fusion weights are tenths

Places = NDArray[np.intp]


@dataclass(frozen=True)
class Problem:
    """Training videos. rows: (n, C + 1) per fused set; targets: (n, K) bool; groups: (n,) of recordings."""

    rows: tuple[Matrix, ...]
    targets: NDArray[np.bool_]
    groups: NDArray[Any]

    def at(self, places: Places) -> "Problem":
        return Problem(tuple(rows[places] for rows in self.rows), self.targets[places], self.groups[places])


@dataclass(frozen=True)
class Trained:
    """Classifiers of all fused sets, and how they were chosen.

    cs: constant C of each. weights: of their scores, which are divided by ``scales`` first.
    """

    linears: tuple[Linear, ...]
    cs: tuple[float, ...]
    weights: tuple[float, ...]
    scales: tuple[float, ...]

    def scores(self, rows: Sequence[Matrix]) -> Matrix:
        """Fused scores: (n, K)."""
        return fused([linear.scores(each[:, :-1]) for linear, each in zip(self.linears, rows, strict=True)], self)


@dataclass(frozen=True)
class Choice:
    """C of each fused set, the weights of their scores, and scores of all training videos that no fit has seen."""

    cs: tuple[float, ...]
    weights: tuple[float, ...]
    scales: tuple[float, ...]
    scores: Matrix | None  # (n, K); NaN in rows that were in no fold. None if nothing was computed


def fused(scores: Sequence[Matrix], how: "Trained | Choice") -> Matrix:
    """The weighted mean of scores that have been divided by their scales."""
    if len(scores) == 1:
        return scores[0]
    parts = (weight * each / scale for weight, each, scale in zip(how.weights, scores, how.scales, strict=True))
    return np.asarray(sum(parts, np.zeros_like(scores[0])))


def folds(targets: NDArray[np.bool_], groups: NDArray[Any], count: int, seed: int) -> Iterator[tuple[Places, Places]]:
    """(training places, test places) of each fold. Classes are spread evenly; no group is on both sides.

    Raises UsageError if there are fewer groups than folds, or fewer videos in each class.
    """
    try:
        from sklearn.model_selection import StratifiedGroupKFold
    except ImportError:
        raise UsageError(f"cross-validation: {NEEDS_SKLEARN}") from None
    if (found := len(np.unique(groups))) < count:
        raise UsageError(f"cross-validation: {count} folds of {found} recordings; give fewer folds, or more videos")
    if (largest := int(targets.sum(axis=0).max())) < count:
        raise UsageError(
            f"cross-validation: {count} folds, but no class has more than {largest} videos; give fewer folds"
        )
    with warnings.catch_warnings():  # about classes with fewer members than folds, which are told elsewhere
        warnings.simplefilter("ignore", UserWarning)
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        yield from splitter.split(np.zeros(len(targets)), targets.argmax(axis=1), groups)


def c_grid(learner: LearnerName) -> tuple[float, ...]:
    """The values among which C is chosen."""
    return LOGISTIC_C_GRID if learner == "logistic" else C_GRID


def choose(problem: Problem, learner: LearnerName, c: float | None, seed: int, *, scores: bool = False) -> Choice:
    """C and fusion weights with the best accuracy on held-out folds; of equal ones the smallest C.

    scores: whether held-out scores are wanted even if nothing has to be chosen.
    """
    count = len(problem.rows)
    single = (1.0,) if count == 1 else tuple(np.full(count, 1 / count))
    if c is not None and count == 1 and not scores:
        return Choice((c,), single, (1.0,), None)
    grid = c_grid(learner) if c is None else (c,)
    held_out = [held_out_scores(problem, number, learner, grid, seed) for number in range(count)]
    best = [max(grid, key=lambda c: (accuracy(found[c], problem.targets), -c)) for found in held_out]
    chosen = [found[c] for found, c in zip(held_out, best, strict=True)]
    scales = tuple(float(np.nanstd(each)) or 1.0 for each in chosen)
    choice = Choice(tuple(best), single, scales if count > 1 else (1.0,), None)
    if count > 1:
        choice = max(
            (Choice(choice.cs, weights, choice.scales, None) for weights in _weightings(count)),
            key=lambda how: (accuracy(fused(chosen, how), problem.targets), min(how.weights)),
        )
    return Choice(choice.cs, choice.weights, choice.scales, fused(chosen, choice))


def _weightings(count: int) -> Iterator[tuple[float, ...]]:
    for parts in itertools.product(range(WEIGHT_PARTS + 1), repeat=count):
        if sum(parts) == WEIGHT_PARTS:
            yield tuple(part / WEIGHT_PARTS for part in parts)


def held_out_scores(
    problem: Problem, number: int, learner: LearnerName, grid: Sequence[float], seed: int
) -> dict[float, Matrix]:
    """For each C, scores of each video by a classifier that has not seen it. Larger Cs begin with the smaller's."""
    rows, targets = problem.rows[number], problem.targets
    found = {c: np.full(targets.shape, np.nan) for c in grid}
    count = min(INNER_FOLDS, len(np.unique(problem.groups)), int(targets.sum(axis=0).max()))
    if count < 2:
        raise UsageError("c: cannot be chosen with one recording, or one training video per class; give --c")
    for train, test in folds(targets, problem.groups, count, seed):
        inner, inner_targets = rows[train], targets[train]
        present = inner_targets.any(axis=0)
        if present.sum() < 2:
            continue  # it would say nothing about C
        start: Linear | None = None
        for c in grid:
            start = fitted(learner, inner, inner_targets[:, present], c, start=start)
            scores = np.full((len(test), targets.shape[1]), -np.inf)
            scores[:, present] = start.scores(rows[test][:, :-1])
            lowest = scores[:, present].min(axis=1, keepdims=True) - 1
            found[c][test] = np.where(np.isfinite(scores), scores, lowest)
    if np.isnan(found[grid[0]]).all():
        raise UsageError("c: cannot be chosen: each fold has training videos of one class only; give --c")
    return found


def accuracy(scores: Matrix, targets: NDArray[np.bool_]) -> float:
    """Part of videos whose best class is one of theirs; those without scores do not count."""
    known = ~np.isnan(scores).any(axis=1)
    best = scores[known].argmax(axis=1)
    return float(targets[known][np.arange(len(best)), best].mean())


def train(problem: Problem, learner: LearnerName, choice: Choice) -> Trained:
    """Classifiers on all training videos."""
    linears = tuple(fitted(learner, rows, problem.targets, c) for rows, c in zip(problem.rows, choice.cs, strict=True))
    return Trained(linears, choice.cs, choice.weights, choice.scales)
