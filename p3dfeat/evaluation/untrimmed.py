"""ActivityNet's classification of untrimmed videos: the paper's classifier, and scores of result files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from p3dfeat.errors import UsageError
from p3dfeat.evaluation.activitynet import Annotations, Predictions, Scores, read_blocked, score
from p3dfeat.evaluation.classification import Split, Task, outcomes
from p3dfeat.evaluation.descriptors import Descriptors
from p3dfeat.evaluation.experiments import Files, finished
from p3dfeat.evaluation.reporting import paper
from p3dfeat.evaluation.reporting.protocol import described
from p3dfeat.evaluation.reporting.result import Evaluation, Row
from p3dfeat.evaluation.saving import check_save
from p3dfeat.options import ActivityNetSettings, with_options
from p3dfeat.system.disk import write_whole
from p3dfeat.text.counts import named

TRAINING = "training"
NO_FEATURES = "no features"
SCORING = (
    "Scores: ActivityNet's official ones: interpolated average precision over the classes of the subset; a hit if any "
    "label of a video is among its best one or three."
)
ZERO = "videos without a prediction count as wrong"


def run_activitynet(files: Files, annotations: str | Path, settings: ActivityNetSettings) -> Evaluation:
    """Classification of untrimmed videos on ActivityNet: top-1, top-3 and mean average precision.

    Args:
        files (str | Path | Sequence): Feature files of the videos, with the same settings. None are needed with
            ``predictions``: give an empty list.
        annotations (str | Path): activity_net.v1-3.min.json.
        predictions (str | Path | None): An official result file to score, instead of training a classifier.
        protocol (str): "paper" leaves validation videos without features out. "official" counts them as wrong.
        blocked (str | Path | None): A JSON list of ids of videos that are not counted.
        subset (str): Subset to score. The classifier is trained on "training".
        prefix (str): Text that ids of features may have in front of YouTube's id.
        write_predictions (str | Path | None): Official result file to write.
        **options: learner, c, seed, layer, normalise, fuse, save, report, strict, on_event.

    Returns:
        Evaluation: One row, in per cent.

    Raises:
        UsageError: A file cannot be used, or no annotated video has features.
        FeatureFileError: A feature file is damaged.

    Example:
        >>> p3dfeat.evaluate_activitynet("anet.h5", "activity_net.v1-3.min.json").result["mAP"]
        >>> p3dfeat.evaluate_activitynet([], "activity_net.v1-3.min.json", predictions="results.json").result
    """
    several = [files] if isinstance(files, str | Path) else list(files)
    if bool(several) == (settings.predictions is not None):
        raise UsageError("activitynet: give feature files to train a classifier, or --predictions to score; not both")
    known = Annotations.read(Path(annotations))
    blocked = read_blocked(Path(settings.blocked)) if settings.blocked is not None else frozenset()
    truth = {id: labels for id, labels in known.of(settings.subset).items() if id not in blocked}
    if settings.predictions is not None:
        return _scored(truth, Path(settings.predictions), blocked, settings)
    return _trained(several, known, truth, settings)


def _scored(
    truth: dict[str, tuple[str, ...]], path: Path, blocked: frozenset[str], settings: ActivityNetSettings
) -> Evaluation:
    scores = score(truth, Predictions.read(path), blocked)
    notes = []
    if scores.without_prediction:
        if settings.strict:
            raise UsageError(f"strict: no prediction for {named(scores.without_prediction, 'video')}")
        notes.append(f"no prediction for {named(scores.without_prediction, 'video')}: they count as wrong")
    protocol = (SCORING, f"Subset: {settings.subset}, {len(blocked)} blocked; {ZERO}.")
    return Evaluation("activitynet", protocol, (_row(path.name, scores),), paper.ACTIVITYNET, tuple(notes))


def _row(name: str, scores: Scores) -> Row:
    values: dict[str, float | str | None] = {
        "top-1": 100 * scores.top1,
        "top-3": 100 * scores.top3,
        "mAP": 100 * scores.mean_average_precision,
        "average hit at 3": 100 * scores.average_hits,
        "videos": scores.videos,
        "classes": len(scores.precisions),
    }
    return Row(name, values)


def _trained(
    files: Sequence[str | Path], known: Annotations, truth: dict[str, tuple[str, ...]], settings: ActivityNetSettings
) -> Evaluation:
    check_save(settings)
    descriptors = Descriptors.loaded(files, settings.layer, normalise=settings.normalise, fuse=settings.fuse)
    places = _places(descriptors.ids, settings.prefix)
    training = known.of(TRAINING)
    if settings.subset == TRAINING:
        raise UsageError("subset training: the classifier is trained on it; give --subset validation")
    missing = {id: NO_FEATURES for id in (*training, *truth) if id not in places}
    train = [id for id in training if id in places]
    test = [id for id in truth if id in places]
    if not train or not test:
        raise UsageError(
            f"features of {len(train)} training and {len(test)} {settings.subset} videos; ids must be YouTube's, with "
            f"or without {settings.prefix!r} in front"
        )
    labels = [*(training[id] for id in train), *(truth[id] for id in test)]
    used = descriptors.only(np.array([places[id] for id in (*train, *test)], np.int64), "not annotated, or blocked")
    task = Task.of(used, labels)
    split = Split(settings.subset, np.arange(len(train)), np.arange(len(train), len(train) + len(test)))
    (result,) = outcomes(task, [split], settings, settings.on_event)
    predictions = Predictions.of_scores(
        test, task.classes, np.where(np.isfinite(result.scores), result.scores, -np.inf)
    )
    subset_classes = {label for several in truth.values() for label in several}
    if settings.write_predictions is not None:
        write_whole(Path(settings.write_predictions), predictions.as_official().encode())
    own = np.array([label in subset_classes for label in predictions.labels], bool)
    kept = Predictions(predictions.videos[own], predictions.labels[own], predictions.scores[own])
    counted = truth if settings.protocol == "official" else {id: truth[id] for id in test}
    rule = ZERO if settings.protocol == "official" else "validation videos without features are left out"
    protocol = (
        *described(used, settings, f"training videos train, {settings.subset} videos test; {rule}."),
        SCORING,
    )
    row = _row(settings.subset, score(counted, kept))
    row = Row(row.name, {**row.values, "C": ", ".join(f"{c:g}" for c in result.trained.cs)})
    evaluation = Evaluation("activitynet", protocol, (row,), paper.ACTIVITYNET)
    return finished(evaluation, task, [result], used, settings, missing)


def _places(ids: Sequence[str], prefix: str) -> dict[str, int]:
    """{YouTube id: place}: the last part of an id, with or without the prefix. An id without it comes first."""
    places: dict[str, int] = {}
    for place, id in enumerate(ids):
        name = id.rpartition("/")[2]
        if prefix and name.startswith(prefix):
            places.setdefault(name.removeprefix(prefix), place)
    for place, id in enumerate(ids):
        places[id.rpartition("/")[2]] = place
    return places


evaluate_activitynet = with_options(ActivityNetSettings)(run_activitynet)
