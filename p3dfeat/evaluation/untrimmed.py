"""ActivityNet's classification of untrimmed videos: the paper's classifier, and scores of result files."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from p3dfeat.errors import UsageError
from p3dfeat.evaluation.activitynet import Annotations, Predictions, Scores, read_blocked, score
from p3dfeat.evaluation.classification import NOT_ANNOTATED, Split, Task, outcomes
from p3dfeat.evaluation.descriptors import Descriptors
from p3dfeat.evaluation.experiments import Files, finished
from p3dfeat.evaluation.reporting import paper
from p3dfeat.evaluation.reporting.protocol import described
from p3dfeat.evaluation.reporting.result import Evaluation, Row
from p3dfeat.evaluation.saving import check_save
from p3dfeat.options import ActivityNetSettings, with_options
from p3dfeat.system.disk import write_whole
from p3dfeat.text.counts import counted, named

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
    listed = read_blocked(Path(settings.blocked)) if settings.blocked is not None else frozenset()
    truth = known.of(settings.subset)
    blocked = {id for id in truth if id in listed or f"{settings.prefix}{id}" in listed}
    truth = {id: labels for id, labels in truth.items() if id not in blocked}
    if settings.predictions is not None:
        return _scored(truth, Path(settings.predictions), blocked, settings)
    return _trained(several, known, truth, blocked, settings)


def _scored(
    truth: Mapping[str, tuple[str, ...]], path: Path, blocked: Collection[str], settings: ActivityNetSettings
) -> Evaluation:
    for name in ("save", "fuse", "write_predictions"):
        if getattr(settings, name):
            raise UsageError(f"{name.replace('_', '-')}: not with --predictions, which trains no classifier")
    predictions = Predictions.read(path)
    scores = score(truth, predictions, blocked)
    if len(scores.without_prediction) == scores.videos and len(predictions.videos):
        raise UsageError(
            f"predictions {path}: none of its ids, such as {predictions.videos[0]!r}, is in the subset, whose ids are "
            f"such as {next(iter(truth))!r}"
        )
    notes = []
    if scores.without_prediction:
        if settings.strict:
            raise UsageError(f"strict: no prediction for {named(scores.without_prediction, 'video')}")
        notes.append(f"no prediction for {named(scores.without_prediction, 'video')}: they count as wrong")
    protocol = (SCORING, f"Subset: {settings.subset}, {_blocked_words(blocked)}; {ZERO}.")
    return Evaluation("activitynet", protocol, (_row(path.name, scores),), paper.ACTIVITYNET, tuple(notes))


def _blocked_words(blocked: Collection[str]) -> str:
    return f"{counted(len(blocked), 'video')} blocked"


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
    files: Sequence[str | Path],
    known: Annotations,
    truth: Mapping[str, tuple[str, ...]],
    blocked: Collection[str],
    settings: ActivityNetSettings,
) -> Evaluation:
    check_save(settings)
    training = known.of(TRAINING)
    if settings.subset == TRAINING:
        raise UsageError("subset training: the classifier is trained on it; give --subset validation")
    descriptors = Descriptors.loaded(files, settings.layer, normalise=settings.normalise, fuse=settings.fuse)
    annotated = {id for videos in known.subsets.values() for id in videos}
    places = _places(descriptors.ids, settings.prefix, annotated)
    reported = {_youtube_id(id, settings.prefix, annotated) for id in descriptors.left_out}
    missing = {id: NO_FEATURES for id in (*training, *truth) if id not in places and id not in reported}
    train = [id for id in training if id in places]
    test = [id for id in truth if id in places]
    if not train or not test:
        raise UsageError(
            f"features of {len(train)} training and {len(test)} {settings.subset} videos; ids must be YouTube's, with "
            f"or without {settings.prefix!r} in front"
        )
    labels = [*(training[id] for id in train), *(truth[id] for id in test)]
    used = descriptors.only(np.array([places[id] for id in (*train, *test)], np.int64), NOT_ANNOTATED)
    task = Task.of(used, labels)
    split = Split(settings.subset, np.arange(len(train)), np.arange(len(train), len(train) + len(test)))
    (result,) = outcomes(task, [split], settings, settings.on_event)
    scored = truth if settings.protocol == "official" else {id: truth[id] for id in test}
    predictions = _of_classes(Predictions.of_scores(test, task.classes, result.scores), scored)
    if settings.write_predictions is not None:
        write_whole(Path(settings.write_predictions), predictions.as_official().encode())
    rule = ZERO if settings.protocol == "official" else f"{settings.subset} videos without features are left out"
    splits = f"training videos train, {settings.subset} videos test, {_blocked_words(blocked)}; {rule}."
    row = _row(settings.subset, score(scored, predictions))
    row = Row(row.name, {**row.values, "C": ", ".join(f"{c:g}" for c in result.trained.cs)})
    protocol = (*described(used, settings, splits), SCORING)
    evaluation = Evaluation("activitynet", protocol, (row,), paper.ACTIVITYNET)
    return finished(evaluation, task, [result], used, settings, missing)


def _of_classes(predictions: Predictions, truth: Mapping[str, Sequence[str]]) -> Predictions:
    """Predictions of the labels that these videos have: others are an error to the official code."""
    classes = {label for several in truth.values() for label in several}
    own = np.array([label in classes for label in predictions.labels], bool)
    return Predictions(predictions.videos[own], predictions.labels[own], predictions.scores[own])


def _places(ids: Sequence[str], prefix: str, known: Collection[str]) -> dict[str, int]:
    """{YouTube id: place}. Raises UsageError if two videos have the same one."""
    places: dict[str, int] = {}
    for place, id in enumerate(ids):
        name = _youtube_id(id, prefix, known)
        if name in places:
            raise UsageError(f"{name}: could be {ids[places[name]]} or {id}")
        places[name] = place
    return places


def _youtube_id(id: str, prefix: str, known: Collection[str]) -> str:
    """The last part of an id, without the prefix, unless it is annotated as it is."""
    name = id.rpartition("/")[2]
    return name if name in known else name.removeprefix(prefix)


evaluate_activitynet = with_options(ActivityNetSettings)(run_activitynet)
