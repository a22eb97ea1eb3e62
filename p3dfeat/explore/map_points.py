"""The points of a map: descriptors of videos or clips of a feature file, sorted by id, with their labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import FeatureFileError, UsageError
from p3dfeat.labels import Labels
from p3dfeat.store import FeatureFile
from p3dfeat.types import FloatArray, SecondsArray

POOL5: Final = "pool5"
POOLED: Final = "pooled"
MOST_POINTS: Final = 50_000  # t-SNE takes an hour for them


@dataclass(frozen=True)
class Points:
    """Points, sorted by id. rows: (N, C) float32. videos: id of each point's video.

    attributes: of each video with points, by id. not_finite: ids of videos with values that are not finite.
    without_label: ids of videos. unused_labels: ids in the file of labels that are not in the feature file.
    """

    names: list[str]
    videos: list[str]
    rows: FloatArray
    labels: list[str | None]
    attributes: Mapping[str, Mapping[str, Any]]
    not_finite: tuple[str, ...] = ()
    without_label: tuple[str, ...] = ()
    unused_labels: tuple[str, ...] = ()


@dataclass
class _Collected:
    """Points so far: (name, video, rows, label) for each video."""

    videos: list[tuple[str, list[str], FloatArray, str | None]] = field(default_factory=list)
    attributes: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    not_finite: list[str] = field(default_factory=list)
    count: int = 0


def points_of(
    features: FeatureFile, layer: str, *, clips: bool, labels: Labels | None, attributes: Sequence[str] = ()
) -> Points:
    """The points of a feature file: each video, the mean of its clips; with ``clips``, each clip.

    attributes: names of those to read of each video.
    Raises UsageError if the layer is not stored or has more than one dimension per clip, or if there are too many
    points; FeatureFileError if the file is damaged.
    """
    name = _array_name(features, layer, clips=clips)
    found = _Collected()
    for video in features.scan([name, "seconds"], attributes, columns=labels is not None):
        values, seconds = video.arrays.get(name), video.arrays.get("seconds")
        if values is None or seconds is None or not values.size:
            raise FeatureFileError(f"{features.path}: {video.id} lacks {name}; p3dfeat verify tells more")
        rows = _rows(features, name, values, clips=clips)
        if not np.isfinite(rows).all():
            found.not_finite.append(video.id)
            continue
        names = [video.id] if not clips else _clip_names(video.id, seconds, len(rows))
        label = None if labels is None else labels.label(video.id, video.columns)
        found.videos.append((video.id, names, rows, label or None))
        found.attributes[video.id] = video.attributes
        found.count += len(rows)
        if found.count > MOST_POINTS:
            hint = "leave --clips out" if clips else "map a part of them"
            raise UsageError(f"{features.path}: more than {MOST_POINTS:,} points; {hint}")
    return _sorted(found, labels)


def _array_name(features: FeatureFile, layer: str, *, clips: bool) -> str:
    """The stored array: of pool5, the mean over the clips is stored, too."""
    stored = features.settings["layers"]
    if layer not in stored:
        raise UsageError(f"{features.path}: layer {layer!r} is not stored; stored are {', '.join(stored)}")
    return POOLED if layer == POOL5 and not clips else layer


def _rows(features: FeatureFile, name: str, values: NDArray[Any], *, clips: bool) -> FloatArray:
    """(N, C) of one video. Crops of a clip are averaged."""
    if name == POOLED:
        return values.reshape(1, -1)
    if len(features.crops) > 1 and values.ndim > 2:
        values = values.mean(axis=1, dtype=np.float64).astype(np.float32)
    if values.ndim != 2:
        raise UsageError(f"layer {name}: has time, height and width; extract it with --pool mean")
    return values if clips else values.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)


def _clip_names(id: str, seconds: SecondsArray, count: int) -> list[str]:
    return [f"{id} at {start:.2f} s" for start, _ in seconds[:count]]


def _sorted(found: _Collected, labels: Labels | None) -> Points:
    """In the order of ids, so that the map does not depend on the order in the file."""
    videos = sorted(found.videos, key=lambda video: video[0])
    widths = {rows.shape[1] for _, _, rows, _ in videos}
    if len(widths) > 1:
        raise FeatureFileError(f"rows of {' and '.join(map(str, sorted(widths)))} numbers in one layer")
    rows = np.concatenate([rows for _, _, rows, _ in videos]) if videos else np.zeros((0, 0), np.float32)
    return Points(
        names=[name for _, names, _, _ in videos for name in names],
        videos=[id for id, names, _, _ in videos for _ in names],
        rows=rows,
        labels=[label for _, names, _, label in videos for _ in names],
        attributes=found.attributes,
        not_finite=tuple(sorted(found.not_finite)),
        without_label=() if labels is None else tuple(id for id, _, _, label in videos if label is None),
        unused_labels=() if labels is None else tuple(sorted(set(labels.unused()) - set(found.not_finite))),
    )
