"""ActivityNet: annotations, result files, and the official scores of classification.

The scores are those of the official code (activitynet/ActivityNet, Evaluation/eval_classification.py, commit 82304fa,
which needs Python 2). Average precision is interpolated: the precision at each recall is the best at any higher recall.
It is averaged over the classes that the subset has. A video is a hit at k if any of its labels is among its k best. A
video without predictions is no hit. Blocked videos, and predictions for them, are left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import UsageError
from p3dfeat.text.jsons import json_text, parse_json
from p3dfeat.text.lines import one_line

MOST_BYTES: Final = 2 << 30
LARGEST: Final = 1e300  # of a score
VERSION: Final = "VERSION 1.3"


@dataclass(frozen=True)
class Annotations:
    """{video: its labels} of each subset. A video may have several labels; each once."""

    subsets: Mapping[str, Mapping[str, tuple[str, ...]]]

    @classmethod
    def read(cls, path: Path) -> "Annotations":
        """From activity_net.v1-3.min.json. Raises UsageError."""
        database = _object(path, "annotations").get("database")
        if not isinstance(database, dict) or not database:
            raise UsageError(f"annotations {path}: no database there; give activity_net.v1-3.min.json")
        subsets: dict[str, dict[str, tuple[str, ...]]] = {}
        for id, entry in database.items():
            if not isinstance(entry, dict) or not isinstance(entry.get("subset"), str):
                raise UsageError(f"annotations {path}: {id} has no subset")
            annotations = entry.get("annotations") or []
            if not isinstance(annotations, list) or not all(isinstance(each, dict) for each in annotations):
                raise UsageError(f"annotations {path}: {id}: annotations must be a list of labels and segments")
            labels = [each["label"] for each in annotations if isinstance(each.get("label"), str)]
            subsets.setdefault(entry["subset"], {})[id] = tuple(dict.fromkeys(labels))
        return cls(subsets)

    def of(self, subset: str) -> Mapping[str, tuple[str, ...]]:
        """The labelled videos of a subset. Raises UsageError if there are none."""
        found = {id: labels for id, labels in self.subsets.get(subset, {}).items() if labels}
        if not found:
            known = ", ".join(sorted(name for name, videos in self.subsets.items() if any(videos.values())))
            raise UsageError(f"subset {subset}: no labels there; labels have {known or 'none'}")
        return found


@dataclass(frozen=True)
class Predictions:
    """Labels with scores: the same place in each array is one prediction. videos, labels: text."""

    videos: NDArray[Any]
    labels: NDArray[Any]
    scores: NDArray[np.float64]

    @classmethod
    def read(cls, path: Path) -> "Predictions":
        """From an official result file: {"results": {id: [{"label", "score"}, ...]}}. Raises UsageError."""
        results = _object(path, "predictions").get("results")
        if not isinstance(results, dict):
            raise UsageError(f"predictions {path}: no results there; write {{'results': {{id: [{{label, score}}]}}}}")
        found: list[tuple[str, str, float]] = []
        for id, entries in results.items():
            for entry in entries if isinstance(entries, list) else [None]:
                if not isinstance(entry, dict) or not isinstance(entry.get("label"), str):
                    raise UsageError(f"predictions {path}: {id}: must be a list of labels and scores")
                score = entry.get("score")
                if isinstance(score, bool) or not isinstance(score, int | float) or abs(score) > LARGEST:
                    raise UsageError(f"predictions {path}: {id}: the score {one_line(repr(score))[:50]} is no number")
                if "segment" in entry:
                    raise UsageError(f"predictions {path}: {id}: has segments; this scores labels of whole videos")
                found.append((id, entry["label"], float(score)))
        return cls.of(found)

    @classmethod
    def of(cls, triples: Iterable[tuple[str, str, float]]) -> "Predictions":
        """From (video, label, score)."""
        listed = list(triples)
        return cls(
            np.array([video for video, _, _ in listed], object),
            np.array([label for _, label, _ in listed], object),
            np.array([score for _, _, score in listed], np.float64),
        )

    @classmethod
    def of_scores(cls, videos: Sequence[str], classes: Sequence[str], scores: NDArray[np.float64]) -> "Predictions":
        """All classes of all videos. scores: (videos, classes); classes with a score of -inf are left out."""
        rows, columns = np.nonzero(np.isfinite(scores))
        return cls(np.array(videos, object)[rows], np.array(classes, object)[columns], scores[rows, columns])

    def as_official(self) -> str:
        """The text of an official result file."""
        results: dict[str, list[dict[str, Any]]] = {}
        for video, label, score in zip(self.videos, self.labels, self.scores.tolist(), strict=True):
            results.setdefault(video, []).append({"label": label, "score": score})
        return json_text({"version": VERSION, "results": results, "external_data": {"used": False}})


@dataclass(frozen=True)
class Scores:
    """From 0 to 1. average_hits: part of a video's labels that are among its best three, which has its own name in the
    official code; with one label per video it is top3. precisions: average precision of each class.
    """

    top1: float
    top3: float
    average_hits: float
    precisions: Mapping[str, float]
    videos: int
    without_prediction: tuple[str, ...]

    @property
    def mean_average_precision(self) -> float:
        return float(np.mean(list(self.precisions.values())))


def score(truth: Mapping[str, Sequence[str]], predictions: Predictions, blocked: Iterable[str] = ()) -> Scores:
    """The official scores of classification.

    Equal scores are taken in the order in which the official code has them if its sort is stable: the later first.

    Args:
        truth (Mapping): The labels of each video of the subset.
        predictions (Predictions): Predictions for videos that are not in the subset count as wrong, as officially.
        blocked (Iterable): Ids of videos that are not counted.

    Raises:
        UsageError: A predicted label is not one of the subset's, a score is not finite, or no video is left.
    """
    hidden = set(blocked)
    truth = {id: tuple(dict.fromkeys(labels)) for id, labels in truth.items() if id not in hidden and labels}
    if not truth:
        raise UsageError("scores: no labelled video is left")
    classes = sorted({label for labels in truth.values() for label in labels})
    keep = np.array([video not in hidden for video in predictions.videos], bool)
    videos, labels, scores = (array[keep] for array in (predictions.videos, predictions.labels, predictions.scores))
    if unknown := sorted(set(labels) - set(classes)):
        raise UsageError(f"predictions: label {unknown[0]!r} is not one of the subset's {len(classes)} labels")
    if not np.isfinite(scores).all():
        raise UsageError(f"predictions: the score of {videos[~np.isfinite(scores)][0]} is not finite")
    order = np.argsort(scores, kind="stable")[::-1]
    videos, labels = videos[order], labels[order]
    best = _best_labels(videos, labels)
    hits = {k: [len(set(best.get(id, ())[:k]) & set(own)) / len(own) for id, own in truth.items()] for k in (1, 3)}
    return Scores(
        float(np.mean(np.ceil(hits[1]))),
        float(np.mean(np.ceil(hits[3]))),
        float(np.mean(hits[3])),
        _precisions(truth, classes, videos, labels),
        len(truth),
        tuple(sorted(truth.keys() - best.keys())),
    )


def _best_labels(videos: NDArray[Any], labels: NDArray[Any]) -> dict[str, list[str]]:
    """The three best labels of each video. videos, labels: sorted by score, the best first."""
    best: dict[str, list[str]] = {}
    for video, label in zip(videos, labels, strict=True):
        found = best.setdefault(video, [])
        if len(found) < 3:
            found.append(label)
    return best


def _precisions(
    truth: Mapping[str, Sequence[str]], classes: Sequence[str], videos: NDArray[Any], labels: NDArray[Any]
) -> dict[str, float]:
    own = {(id, label) for id, several in truth.items() for label in several}
    counts = dict.fromkeys(classes, 0)
    for several in truth.values():
        for label in several:
            counts[label] += 1
    hits: dict[str, list[bool]] = {label: [] for label in classes}
    for pair in zip(videos, labels, strict=True):
        hits[pair[1]].append(pair in own)
        own.discard(pair)  # a second prediction of the same label is wrong
    return {label: interpolated_precision(np.array(hits[label], bool), counts[label]) for label in classes}


def interpolated_precision(hits: NDArray[np.bool_], positives: int) -> float:
    """Average precision. hits: whether each prediction is right, the best score first. positives: number to be found.

    >>> interpolated_precision(np.array([True, False, True]), 2)
    0.8333333333333333
    """
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(hits) + 1)
    best_later = np.maximum.accumulate(precision[::-1])[::-1]
    return float((best_later * hits).sum() / positives)


def read_blocked(path: Path) -> frozenset[str]:
    """Ids from a JSON list, or from the keys of an object. Raises UsageError."""
    found = _parsed(path, "blocked")
    if not isinstance(found, list | dict) or not all(isinstance(id, str) for id in found):
        raise UsageError(f"blocked {path}: must be a JSON list of ids")
    return frozenset(found)


def _object(path: Path, name: str) -> dict[str, Any]:
    found = _parsed(path, name)
    if not isinstance(found, dict):
        raise UsageError(f"{name} {path}: must be a JSON object")
    return found


def _parsed(path: Path, name: str) -> Any:
    try:
        with open(path, "rb") as file:
            return parse_json(file.read(MOST_BYTES + 1).removeprefix(b"\xef\xbb\xbf"), most_bytes=MOST_BYTES)
    except OSError as error:
        raise UsageError(f"{name} {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{name} {path}: not JSON ({error})") from None
