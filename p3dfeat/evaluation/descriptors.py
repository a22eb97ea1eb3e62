"""One descriptor per video, from one or several feature files, ready for a linear classifier."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from p3dfeat.errors import UsageError
from p3dfeat.exports.source import POOLED, Source, is_finite
from p3dfeat.exports.transform import with_unit_length
from p3dfeat.options.evaluating import Normalisation
from p3dfeat.types import FloatArray, Int64Array

POOL5: Final = "pool5"
NOT_FINITE: Final = "not all numbers are finite"
NOT_FUSED: Final = "not in every file that is fused"


@dataclass(frozen=True)
class Origin:
    """Which network and preprocessing made a set of descriptors. settings: of the feature file."""

    path: str
    settings: Mapping[str, Any]
    layer: str

    @property
    def crops(self) -> tuple[str, ...]:
        found = self.settings.get("preprocessing")
        return tuple(found.get("crops", ())) if isinstance(found, dict) else ()


@dataclass(frozen=True)
class Descriptors:
    """Descriptors of videos, in the order of ids.

    rows: one (videos, C) float32 array per fused set, normalised. groups: what tells recordings apart: the file's
    fingerprint, or the id. left_out: the reason for each video that is not among them.
    """

    ids: tuple[str, ...]
    rows: tuple[FloatArray, ...]
    groups: tuple[str, ...]
    columns: tuple[Mapping[str, str], ...]
    origins: tuple[Origin, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def loaded(
        files: Sequence[str | Path],
        layer: str,
        *,
        normalise: Normalisation = "l2",
        fuse: str | Path | Sequence[str | Path] = (),
    ) -> "Descriptors":
        """Descriptors of all videos of the files, which must have the same settings; those of ``fuse`` have their own.

        Raises UsageError, FeatureFileError.
        """
        layer = POOL5 if layer == POOLED else layer
        first = _one_set(files, layer, normalise)
        for path in [fuse] if isinstance(fuse, str | Path) else fuse:
            first = _fused(first, _one_set([path], layer, normalise))
        if not first.ids:
            raise UsageError(f"{files[0]}: no video to use; {len(first.left_out)} left out")
        return first

    def __len__(self) -> int:
        return len(self.ids)

    def only(self, places: Int64Array, reason: str = "") -> Self:
        """Those at these places, in this order. reason: why the others are left out; nothing is noted without one."""
        gone = set(self.ids) - {self.ids[place] for place in places} if reason else set()
        return replace(
            self,
            ids=tuple(self.ids[place] for place in places),
            rows=tuple(rows[places] for rows in self.rows),
            groups=tuple(self.groups[place] for place in places),
            columns=tuple(self.columns[place] for place in places),
            left_out={**self.left_out, **dict.fromkeys(sorted(gone), reason)},
        )


def _one_set(files: Sequence[str | Path], layer: str, normalise: Normalisation) -> "Descriptors":
    ids: list[str] = []
    groups: list[str] = []
    columns: list[Mapping[str, str]] = []
    left_out: dict[str, str] = {}
    with Source(files, layer) as source:
        name = POOLED if layer == POOL5 else layer
        source.layer = name
        rows: FloatArray | None = None
        for video in source.videos(times=False):
            assert video is not None
            row = video.values[0] if name == POOLED else _mean(video.values, len(source.crops))
            if rows is None:
                rows = np.zeros((len(source), len(row)), np.float32)
            if row.shape != rows.shape[1:]:
                raise UsageError(f"{video.id}: has {len(row)} numbers, the first video {rows.shape[1]}")
            if not is_finite(row):
                left_out[video.id] = NOT_FINITE
                continue
            rows[len(ids)] = row
            ids.append(video.id)
            groups.append(str(video.attributes.get("fingerprint") or video.id))
            columns.append(video.columns)
        origin = Origin(str(files[0]), source.settings, layer)
    if rows is None:
        raise UsageError(f"{files[0]}: holds no videos")
    order = np.argsort(np.array(ids, object), kind="stable") if ids else np.zeros(0, np.int64)
    found = normalised(rows[: len(ids)], normalise)
    return Descriptors(tuple(ids), (found,), tuple(groups), tuple(columns), (origin,), left_out).only(order)


def _mean(values: FloatArray, crops: int) -> FloatArray:
    """(clips, [crops,] C, ...) to (C,): the mean over everything else."""
    channel = 2 if crops > 1 else 1
    axes = tuple(axis for axis in range(values.ndim) if axis != channel)
    return np.asarray(values.mean(axis=axes, dtype=np.float64), np.float32)


def normalised(rows: FloatArray, how: Normalisation) -> FloatArray:
    """Rows for a classifier. "sqrt-l2": sign(x) sqrt(|x|), then unit length.

    Raises UsageError for an unknown name.
    """
    if how == "none":
        return rows
    if how == "sqrt-l2":
        rows = np.sign(rows) * np.sqrt(np.abs(rows))
    elif how != "l2":
        raise UsageError(f"normalise {how!r}: unknown; known are l2, sqrt-l2, none")
    return with_unit_length(rows)


def _fused(first: Descriptors, second: Descriptors) -> Descriptors:
    """Both sets, of the videos that both have."""
    where = {id: place for place, id in enumerate(second.ids)}
    shared = np.array([place for place, id in enumerate(first.ids) if id in where], np.int64)
    if not len(shared):
        raise UsageError(
            f"{second.origins[0].path}: has no video of {first.origins[0].path}; files that are fused describe the "
            "same videos under the same ids"
        )
    only_second = sorted(set(second.ids) - set(first.ids))
    first = first.only(shared, NOT_FUSED)
    places = np.array([where[id] for id in first.ids], np.int64)
    return replace(
        first,
        rows=(*first.rows, second.rows[0][places]),
        origins=(*first.origins, *second.origins),
        left_out={**second.left_out, **first.left_out, **dict.fromkeys(only_second, NOT_FUSED)},
    )
