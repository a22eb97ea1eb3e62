"""The effect of dimension: descriptors projected on fewer and fewer principal components."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from p3dfeat.errors import UsageError
from p3dfeat.evaluation.classification import Split, SplitDone, Task, outcomes
from p3dfeat.evaluation.descriptors import Descriptors
from p3dfeat.evaluation.experiments import Files, finished, fold_splits, labelled, list_task
from p3dfeat.evaluation.learning.learners import NEEDS_SKLEARN, Matrix, with_ones
from p3dfeat.evaluation.learning.tuning import Problem
from p3dfeat.evaluation.lists import ucf101_splits
from p3dfeat.evaluation.reporting import paper
from p3dfeat.evaluation.reporting.protocol import described
from p3dfeat.evaluation.reporting.result import Chart, Evaluation, Line, Row
from p3dfeat.options import PcaSettings, with_options
from p3dfeat.text.counts import counted


def run_pca(files: Files, settings: PcaSettings) -> Evaluation:
    """Accuracy with all numbers of a descriptor, and with fewer and fewer principal components.

    The components are those of the training videos of each split, computed exactly.

    Args:
        files (str | Path | Sequence): Feature files of the videos, with the same settings.
        splits (str | Path | None): Folder with UCF101's lists. None: cross-validation as ``evaluate_folder``.
        labels, groups, folds: As for ``evaluate_folder``.
        dimensions (Sequence[int]): Numbers of components. Those above the number of training videos are left out.
        **options: learner, c, seed, layer, normalise, report, strict, on_event.

    Returns:
        Evaluation: Accuracy in per cent for each dimension; its last row is that of all numbers.

    Raises:
        UsageError: scikit-learn is not installed, or no dimension is small enough.
        FeatureFileError: A feature file is damaged.

    Example:
        >>> {row.name: row.values["accuracy"] for row in p3dfeat.evaluate_pca("feats.h5", dimensions=(100, 10)).rows}
    """
    for name in ("fuse", "save"):
        if getattr(settings, name):
            raise UsageError(f"{name}: not with pca; leave --{name} out")
    several: Sequence[str | Path] = [files] if isinstance(files, str | Path) else list(files)
    task, splits, descriptors, missing = _task(several, settings)
    most = min(descriptors.rows[0].shape[1], *(len(split.train) - 1 for split in splits))
    dimensions = [each for each in sorted(set(settings.dimensions), reverse=True) if 1 <= each <= most]
    if not dimensions:
        raise UsageError(f"dimensions {list(settings.dimensions)}: none from 1 to {most}, as is possible here")
    dropped = sorted(set(settings.dimensions) - set(dimensions), reverse=True)
    notes = [f"left out: {each} dimensions: at most {most} are possible here" for each in dropped]
    done = 0

    def progress(event: Any) -> None:
        settings.on_event(replace(event, done=done + event.done, total=len(splits) * (len(dimensions) + 1)))

    rows: list[Row] = []
    for dimension in dimensions:
        results = [
            result
            for split in splits
            for result in outcomes(_projected(task, split, dimension), [split], settings, lambda _: None)
        ]
        accuracy = 100 * float(np.mean([result.accuracy(task.problem.targets) for result in results]))
        rows.append(Row(str(dimension), {"accuracy": accuracy}))
        done += len(splits)
        settings.on_event(SplitDone(done, len(splits) * (len(dimensions) + 1)))
    results = list(outcomes(task, splits, settings, progress))
    whole = 100 * float(np.mean([result.accuracy(task.problem.targets) for result in results]))
    width = descriptors.rows[0].shape[1]
    curve = Line(
        "these features",
        tuple(float(each) for each in dimensions),
        tuple(float(str(row.values["accuracy"])) for row in rows),
    )
    names = "official splits" if settings.splits is not None else "folds"
    sentence = f"{counted(len(splits), names.removesuffix('s'))}, and their mean. Components of training videos, exact."
    evaluation = Evaluation(
        "pca",
        described(descriptors, settings, sentence),
        (*rows, Row(f"all {width}", {"accuracy": whole})),
        tuple(
            Row(f"{line.name}, {x:g}", {"accuracy": y})
            for line in paper.PCA[:1]
            for x, y in zip(line.x, line.y, strict=True)
        ),
        tuple(notes),
        charts=(
            Chart(
                "Accuracy by dimension", "principal components", "accuracy, %", (curve, *paper.PCA), logarithmic=True
            ),
        ),
    )
    return finished(evaluation, task, results, descriptors, settings, missing)


def _task(files: Sequence[str | Path], settings: PcaSettings) -> tuple[Task, list[Split], Descriptors, dict[str, str]]:
    if settings.splits is not None:
        return list_task(files, ucf101_splits(Path(settings.splits)), settings)
    task, descriptors = labelled(files, settings.labels, settings, groups=settings.groups)
    return task, fold_splits(task, settings), descriptors, {}


def _projected(task: Task, split: Split, dimension: int) -> Task:
    """The task in the components of a split's training videos, scaled again to unit length on average."""
    rows = task.problem.rows[0][:, :-1]
    projected = _components(rows[split.train], rows, dimension)
    size = float(np.sqrt((projected[split.train] ** 2).sum(axis=1).mean())) or 1.0
    problem = Problem((with_ones(np.asarray(projected / size, np.float32)),), task.problem.targets, task.problem.groups)
    return replace(task, problem=problem)


def _components(train: Matrix, rows: Matrix, dimension: int) -> Matrix:
    try:
        from sklearn.decomposition import PCA
    except ImportError:
        raise UsageError(f"pca: {NEEDS_SKLEARN}") from None
    # "auto" would take a randomized solver, whose last components differ by seed.
    model = PCA(dimension, svd_solver="covariance_eigh").fit(train.astype(np.float64))
    return np.asarray(model.transform(rows.astype(np.float64)))


evaluate_pca = with_options(PcaSettings)(run_pca)
