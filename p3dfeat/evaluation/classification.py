"""Classification of videos over splits: training on one side, labels for the other, and what went wrong."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import UsageError
from p3dfeat.evaluation.descriptors import Descriptors
from p3dfeat.evaluation.learning.learners import Matrix, with_ones
from p3dfeat.evaluation.learning.tuning import Places, Problem, Trained, choose, train
from p3dfeat.evaluation.reporting.result import Confusion, Row, Wrong
from p3dfeat.options.evaluating import FeatureOptions
from p3dfeat.text.counts import counted, named

WRONG_LISTED: Final = 50
IN_NO_LIST: Final = "in none of the lists"
NOT_ANNOTATED: Final = "not annotated, or blocked"
EXPECTED: Final = (IN_NO_LIST, NOT_ANNOTATED)  # reasons that are no fault of the features


@dataclass(frozen=True)
class SplitDone:
    """Progress: another split is done."""

    done: int
    total: int


@dataclass(frozen=True)
class Task:
    """Labelled videos. classes: names. targets: (videos, classes); groups: number of each video's recording."""

    ids: tuple[str, ...]
    problem: Problem
    classes: tuple[str, ...]

    @classmethod
    def of(
        cls, descriptors: Descriptors, labels: Sequence[Sequence[str]], groups: Sequence[str] | None = None
    ) -> "Task":
        """labels: those of each video, at least one. groups: of each; by default, what the descriptors say."""
        classes = sorted({label for several in labels for label in several})
        if len(classes) < 2:
            raise UsageError(f"labels: only {classes}; a classifier needs at least two classes")
        number = {label: place for place, label in enumerate(classes)}
        targets = np.zeros((len(labels), len(classes)), np.bool_)
        for place, several in enumerate(labels):
            targets[place, [number[label] for label in several]] = True
        rows = tuple(with_ones(compact(each)) for each in descriptors.rows)
        _, numbers = np.unique(np.array(groups or descriptors.groups), return_inverse=True)
        return cls(descriptors.ids, Problem(rows, targets, numbers), tuple(classes))

    def __len__(self) -> int:
        return len(self.ids)


def compact(rows: Matrix) -> Matrix:
    """Rows with the same products between them, and at most as many numbers as there are rows.

    A linear classifier with a squared penalty depends on these products only.
    """
    if len(rows) >= rows.shape[1]:
        return rows
    triangle = np.linalg.qr(np.asarray(rows.T, np.float64)).R
    return np.ascontiguousarray(triangle.T, dtype=rows.dtype)


@dataclass(frozen=True)
class Split:
    """Places of the training and test videos of a task."""

    name: str
    train: Places
    test: Places


@dataclass(frozen=True)
class Outcome:
    """Scores of the test videos of a split: (videos, classes). unknown: classes without training videos."""

    split: Split
    trained: Trained
    scores: Matrix
    unknown: NDArray[np.bool_]

    def predicted(self) -> Places:
        return np.asarray(self.scores.argmax(axis=1))

    def accuracy(self, targets: NDArray[np.bool_]) -> float:
        """Part of the test videos whose best class is one of theirs."""
        best = self.predicted()
        return float(targets[self.split.test][np.arange(len(best)), best].mean())


def outcomes(
    task: Task, splits: Sequence[Split], settings: FeatureOptions, on_event: Callable[[Any], None]
) -> Iterator[Outcome]:
    """Each split: C and fusion weights are chosen, and the classifiers trained, on its training videos alone."""
    for done, split in enumerate(splits):
        on_event(SplitDone(done, len(splits)))
        problem = task.problem.at(split.train)
        present = problem.targets.any(axis=0)
        if present.sum() < 2:
            raise UsageError(f"split {split.name}: its training videos are of {present.sum()} class; two are needed")
        problem = Problem(problem.rows, problem.targets[:, present], problem.groups)
        trained = train(problem, settings.learner, choose(problem, settings.learner, settings.c, settings.seed))
        scores = np.full((len(split.test), len(task.classes)), -np.inf)
        scores[:, present] = trained.scores([rows[split.test] for rows in task.problem.rows])
        yield Outcome(split, trained, scores, np.logical_not(present))
    on_event(SplitDone(len(splits), len(splits)))


def split_rows(task: Task, results: Sequence[Outcome]) -> tuple[Row, ...]:
    """A line per split, and the mean, in per cent."""
    rows = []
    for result in results:
        values: dict[str, float | str | None] = {
            "accuracy": 100 * result.accuracy(task.problem.targets),
            "training videos": len(result.split.train),
            "test videos": len(result.split.test),
            "C": ", ".join(f"{c:g}" for c in result.trained.cs),
        }
        if len(result.trained.weights) > 1:
            values["fusion weights"] = ", ".join(f"{weight:.2g}" for weight in result.trained.weights)
        rows.append(Row(result.split.name, values))
    mean = float(np.mean([result.accuracy(task.problem.targets) for result in results]))
    return (*rows, Row("mean", {"accuracy": 100 * mean}))


def class_rows(task: Task, results: Sequence[Outcome]) -> tuple[Row, ...]:
    """A line per class, and all videos, in per cent."""
    counts = confusion(task, results).counts
    rows = [
        Row(label, {"accuracy": 100 * float(line[place] / line.sum()), "test videos": int(line.sum())})
        for place, (label, line) in enumerate(zip(task.classes, counts, strict=True))
        if line.sum()
    ]
    accuracy = 100 * float(np.trace(counts) / counts.sum())
    return (*rows, Row("all", {"accuracy": accuracy, "test videos": int(counts.sum())}))


def confusion(task: Task, results: Iterable[Outcome]) -> Confusion:
    """Counts of all test videos. A video of several classes counts as the predicted one, if that is among them."""
    counts = np.zeros((len(task.classes),) * 2, np.int64)
    for result in results:
        best = result.predicted()
        targets = task.problem.targets[result.split.test]
        true = np.where(targets[np.arange(len(best)), best], best, targets.argmax(axis=1))
        np.add.at(counts, (true, best), 1)
    return Confusion(task.classes, counts)


def wrong(task: Task, results: Iterable[Outcome]) -> tuple[Wrong, ...]:
    """Test videos with a wrong label, those with the largest margin first."""
    found = []
    for result in results:
        best = result.predicted()
        targets = task.problem.targets[result.split.test]
        for row in np.flatnonzero(~targets[np.arange(len(best)), best]):
            own = int(np.where(targets[row], result.scores[row], -np.inf).argmax())
            own = own if targets[row, own] else int(targets[row].argmax())
            margin = result.scores[row, best[row]] - result.scores[row, own]
            found.append(
                Wrong(
                    task.ids[result.split.test[row]],
                    task.classes[own],
                    task.classes[best[row]],
                    float(margin) if np.isfinite(margin) else float("inf"),
                )
            )
    return tuple(sorted(found, key=lambda each: (-each.margin, each.id))[:WRONG_LISTED])


def split_notes(task: Task, results: Iterable[Outcome]) -> list[str]:
    """What a reader of the numbers should know of the splits."""
    notes = []
    for result in results:
        tested = task.problem.targets[result.split.test].any(axis=0)
        if (lost := np.flatnonzero(tested & result.unknown)).size:
            names = [task.classes[place] for place in lost]
            notes.append(f"split {result.split.name}: {named(names, 'class')} without a training video; they are wrong")
    return notes


def left_out_notes(left_out: Mapping[str, str]) -> list[str]:
    """One sentence per reason."""
    by_reason: dict[str, list[str]] = {}
    for id, reason in left_out.items():
        by_reason.setdefault(reason, []).append(id)
    return [f"left out: {named(ids, 'video')}: {reason}" for reason, ids in by_reason.items()]


def check_strict(left_out: Mapping[str, str], strict: bool) -> None:
    """Raise UsageError if a video was left out and this is not wanted; those that the user left out are expected."""
    left_out = {id: reason for id, reason in left_out.items() if reason not in EXPECTED}
    if strict and left_out:
        id, reason = next(iter(left_out.items()))
        raise UsageError(f"strict: {counted(len(left_out), 'video')} left out; the first is {id}: {reason}")
