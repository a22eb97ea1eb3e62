"""ASLAN: a support vector machine on the similarities of pairs of videos, over the ten folds of View 2, or View 1."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import UsageError
from p3dfeat.evaluation.aslan.pairs import Pair, Samples, read_pairs
from p3dfeat.evaluation.aslan.similarities import COUNT
from p3dfeat.evaluation.aslan.vectors import layer_vectors
from p3dfeat.evaluation.classification import SplitDone, check_strict, left_out_notes
from p3dfeat.evaluation.learning.learners import NEEDS_SKLEARN, Linear, fitted, with_ones
from p3dfeat.evaluation.learning.tuning import INNER_FOLDS
from p3dfeat.evaluation.reporting import paper
from p3dfeat.evaluation.reporting.protocol import LEARNERS
from p3dfeat.evaluation.reporting.result import Chart, Evaluation, Line, Row
from p3dfeat.options import AslanSettings, with_options
from p3dfeat.text.counts import counted
from p3dfeat.types import SecondsArray

CURVE_POINTS: Final = 400
C_GRID: Final = (0.1, 1.0, 10.0, 100.0, 1000.0)  # pairs have few numbers: larger ones are worth a try


@dataclass(frozen=True)
class Compared:
    """Pairs as rows for a classifier. rows: (pairs, 12 per layer); same: (pairs,) bool; folds: (pairs,)."""

    rows: SecondsArray
    same: NDArray[np.bool_]
    folds: NDArray[np.int64]
    left_out: dict[str, str]
    pairs_left_out: int


def run_aslan(files: str | Path | Sequence[str | Path], pairs: str | Path, settings: AslanSettings) -> Evaluation:
    """Action similarity: whether two videos show the same action, from the similarities of their layers.

    Args:
        files (str | Path | Sequence): Feature files of the samples, with the same settings.
        pairs (str | Path): View2.mat, a file of View 1, or text with fold, id1, id2 and same per line. With folds, each
            is tested by a classifier of the others.
        test_pairs (str | Path | None): Pairs to test; those of ``pairs`` train (View 1).
        layers (Sequence[str]): Layers to compare, each with twelve similarities.
        pair_normalise (str): "l2", the paper's, or "zscore", C3D's.
        **options: learner, c, seed, report, strict, on_event.

    Returns:
        Evaluation: Accuracy of each fold; in the last row its mean and standard error, and the area under the ROC curve
        of all scores together, in per cent.

    Raises:
        UsageError: A list cannot be used, pairs name no stored video, or a layer has negative numbers.
        FeatureFileError: A feature file is damaged.

    Example:
        >>> p3dfeat.evaluate_aslan("aslan.h5", "View2.mat").result["accuracy"]
    """
    several = [files] if isinstance(files, str | Path) else list(files)
    listed = read_pairs(Path(pairs))
    if settings.test_pairs is not None:
        tested = read_pairs(Path(settings.test_pairs))
        listed = [Pair(p.first, p.second, p.same, 0) for p in listed] + [
            Pair(p.first, p.second, p.same, 1) for p in tested
        ]
    found = compared(several, listed, settings)
    check_strict(found.left_out, settings.strict)
    numbers = [int(fold) for fold in np.unique(found.folds) if fold != 0 or settings.test_pairs is None]
    if settings.test_pairs is None and len(numbers) < 2:
        raise UsageError(f"pairs {pairs}: one fold only; give several, or --test-pairs")
    scores = np.full(len(found.same), np.nan)
    rows: list[Row] = []
    accuracies: list[float] = []
    for done, fold in enumerate(numbers):
        settings.on_event(SplitDone(done, len(numbers)))
        test = found.folds == fold
        scores[test], c = _fold_scores(found, ~test, test, settings)
        accuracies.append(float(((scores[test] > 0) == found.same[test]).mean()))
        rows.append(Row(f"fold {fold}", {"accuracy": 100 * accuracies[-1], "pairs": int(test.sum()), "C": f"{c:g}"}))
    settings.on_event(SplitDone(len(numbers), len(numbers)))
    tested_pairs = ~np.isnan(scores)
    area, curve = roc(found.same[tested_pairs], scores[tested_pairs])
    error = float(np.std(accuracies, ddof=1) / np.sqrt(len(accuracies))) if len(accuracies) > 1 else None
    values: dict[str, float | str | None] = {"accuracy": 100 * float(np.mean(accuracies)), "AUC": 100 * area}
    if error is not None:
        values["standard error"] = 100 * error
    values["pairs"] = int(tested_pairs.sum())
    chart = Chart("ROC curve", "different pairs called same", "same pairs found", (curve,))
    notes = [*left_out_notes(found.left_out)]
    if found.pairs_left_out:
        notes.append(f"left out: {counted(found.pairs_left_out, 'pair')} of videos without features")
    return Evaluation(
        "aslan",
        _protocol(settings, len(numbers)),
        (*rows, Row("mean", values)),
        paper.ASLAN,
        tuple(notes),
        found.left_out,
        charts=(chart,),
    )


def _protocol(settings: AslanSettings, folds: int) -> tuple[str, ...]:
    change = {
        "l2": "scaled to unit length",
        "zscore": "each with mean 0 and deviation 1 on training pairs",
    }[settings.pair_normalise]
    grid = ", ".join(f"{c:g}" for c in C_GRID)
    c = (
        f"C = {settings.c:g}"
        if settings.c is not None
        else f"C from {grid}, by cross-validation on training pairs only"
    )
    splits = "training pairs train, test pairs test." if settings.test_pairs else "each is tested by the others."
    return (
        f"Features: {', '.join(settings.layers)}, the mean over clips; {COUNT} similarities each, {change}.",
        f"Classifier: {LEARNERS[settings.learner]}; {c}, seed {settings.seed}.",
        f"Splits: {counted(folds, 'fold')}; {splits} AUC: of the scores of all folds together.",
    )


def compared(files: Sequence[str | Path], listed: Sequence[Pair], settings: AslanSettings) -> Compared:
    """The similarities of all pairs whose videos have features."""
    if not settings.layers:
        raise UsageError("layers: none given")
    left_out: dict[str, str] = {}
    parts: list[SecondsArray] = []
    keep = np.ones(len(listed), bool)
    for layer in settings.layers:
        with layer_vectors(files, layer) as (vectors, skipped):
            left_out |= skipped
            samples = Samples(vectors.ids)
            places = [(samples.place(pair.first), samples.place(pair.second)) for pair in listed]
            for pair, (first, second) in zip(listed, places, strict=True):
                left_out |= {
                    name: "no features" for name, p in ((pair.first, first), (pair.second, second)) if p is None
                }
            known = np.array([None not in both for both in places])
            keep &= known
            order = sorted(np.flatnonzero(known), key=lambda row: places[row])
            rows = np.zeros((len(listed), COUNT))
            rows[order] = vectors.similarities([places[row] for row in order])  # type: ignore[misc]
            parts.append(rows)
    if not keep.any():
        raise UsageError(f"pairs: none of {len(listed)} has features; ids of videos must end with the samples' numbers")
    return Compared(
        np.concatenate(parts, axis=1)[keep],
        np.array([pair.same for pair in listed])[keep],
        np.array([pair.fold for pair in listed])[keep],
        left_out,
        int((~keep).sum()),
    )


def _fold_scores(
    found: Compared, train: NDArray[np.bool_], test: NDArray[np.bool_], settings: AslanSettings
) -> tuple[SecondsArray, float]:
    """Scores of test pairs, more than 0 for the same action, and the C that training pairs chose."""
    same = found.same[train]
    if same.all() or not same.any():
        raise UsageError("pairs: training pairs are all the same, or all different")
    rows, test_rows = _normalised(found.rows[train], found.rows[test], settings)
    c = settings.c if settings.c is not None else _chosen(rows, same, found.folds[train], settings)
    return _pair_scores(_fit(rows, same, c, settings), test_rows), c


def _normalised(train: SecondsArray, test: SecondsArray, settings: AslanSettings) -> tuple[SecondsArray, SecondsArray]:
    if settings.pair_normalise == "l2":
        return tuple(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300) for rows in (train, test))
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    return (train - mean) / scale, (test - mean) / scale


def _fit(rows: SecondsArray, same: NDArray[np.bool_], c: float, settings: AslanSettings, start: Any = None) -> Linear:
    if settings.learner == "svm":  # one machine decides between two classes
        return fitted("svm", with_ones(rows), same[:, None], c, start=start)
    return fitted(settings.learner, with_ones(rows), np.stack([~same, same], axis=1), c)


def _pair_scores(linear: Linear, rows: SecondsArray) -> SecondsArray:
    scores = linear.scores(rows)
    return np.asarray(scores[:, -1] - scores[:, 0] if scores.shape[1] == 2 else scores[:, 0])


def _chosen(rows: SecondsArray, same: NDArray[np.bool_], folds: NDArray[np.int64], settings: AslanSettings) -> float:
    """The best C of a cross-validation over whole folds: these have no action in common."""
    numbers = np.unique(folds)
    if len(numbers) >= INNER_FOLDS:
        parts = [np.isin(folds, group) for group in np.array_split(numbers, INNER_FOLDS)]
    else:
        parts = [np.arange(len(same)) % INNER_FOLDS == part for part in range(INNER_FOLDS)]
    right = np.zeros(len(C_GRID))
    parts = [part for part in parts if same[~part].any() and not same[~part].all() and part.any()]
    if not parts:
        raise UsageError("c: cannot be chosen from so few pairs; give --c")
    for held_out in parts:
        start = None
        for number, c in enumerate(C_GRID):
            start = _fit(rows[~held_out], same[~held_out], c, settings, start)
            right[number] += ((_pair_scores(start, rows[held_out]) > 0) == same[held_out]).sum()
    return C_GRID[int(right.argmax())]


def roc(same: NDArray[np.bool_], scores: SecondsArray) -> tuple[float, Line]:
    try:
        from sklearn.metrics import auc, roc_curve
    except ImportError:
        raise UsageError(f"aslan: {NEEDS_SKLEARN}") from None
    if same.all() or not same.any():
        raise UsageError("pairs: all test pairs are the same, or all different; there is no ROC curve")
    false, true, _ = roc_curve(same, scores)
    some = np.unique(np.linspace(0, len(false) - 1, min(CURVE_POINTS, len(false))).astype(int))
    curve = Line("these features", tuple(map(float, false[some])), tuple(map(float, true[some])))
    return float(auc(false, true)), curve


evaluate_aslan = with_options(AslanSettings)(run_aslan)
