"""The videos or clips of a feature file that are nearest to a query: a stored video, a time in it, or a video file."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import UsageError
from p3dfeat.explore.similar import Match, nearest
from p3dfeat.explore.vectors import LAYER, POOLED, load_vectors
from p3dfeat.options import SimilarSettings, with_options
from p3dfeat.store import FeatureFile, open_features
from p3dfeat.types import Video
from p3dfeat.video import Decoders
from p3dfeat.workflows import pipeline
from p3dfeat.workflows.recompute import Recomputation
from p3dfeat.zoo.download.cache import cache_folder_if_any


@dataclass(frozen=True)
class Query:
    """What is looked for. id: of the stored video, which is not among the results; None for a file."""

    vector: NDArray[np.float64]
    id: str | None = None


def run_similar(file: str | Path, query: str | Path, settings: SimilarSettings) -> list[Match]:
    """Find the videos nearest to a query by the cosine of their descriptors. The result is exact.

    Args:
        file (str | Path): Feature file with pool5.
        query (str | Path): Id of a stored video; ``id@12.5``, the clip of a stored video around 12.5 seconds; or a
            video file, also with ``@`` and a time, which is described with the model and settings of the feature file.
        top (int): Number of results.
        moments (bool): Find clips, with their times, instead of whole videos.
        on_event (Callable): Called with the events of loading the model and describing a video file.

    Returns:
        list[Match]: Best first. The queried video itself is left out.

    Raises:
        UsageError: The query is neither a stored video nor a file, or pool5 is not stored.
        VideoError: The video file cannot be read.
        FeatureFileError: The feature file is missing or damaged.

    Example:
        >>> for match in p3dfeat.similar("feats.h5", "archery/clip7", top=3):
        ...     print(match.id, match.score)
    """
    with open_features(file) as features:
        asked = described(features, str(query), settings.on_event)
        vectors = load_vectors(features, clips=settings.moments, cache=cache_folder_if_any())
        return nearest(vectors, asked.vector, settings.top, without=asked.id)


similar = with_options(SimilarSettings)(run_similar)


def described(features: FeatureFile, query: str, on_event: Callable[[Any], None] = lambda event: None) -> Query:
    """The descriptor of a query. Raises UsageError, VideoError."""
    features.check_stored(LAYER)
    name, seconds = _split(query, features)
    if name in features:
        if seconds is None:
            return Query(np.asarray(features.array(name, POOLED), np.float64), name)
        video = features[name]
        return Query(_row_at(video[LAYER], video["seconds"], seconds, name), name)
    if not os.path.exists(name):
        raise UsageError(f"{query}: no video of this id in {features.path}, and no file; p3dfeat info lists the ids")
    rows, times = _rows_of(features, name, on_event)
    if seconds is not None:
        return Query(_row_at(rows, times, seconds, name))
    return Query(rows.reshape(-1, rows.shape[-1]).mean(axis=0, dtype=np.float64))


def _split(query: str, features: FeatureFile) -> tuple[str, float | None]:
    """A name, and the time after its last @; a video or file whose own name has one comes first."""
    name, at, time = query.rpartition("@")
    if not at or query in features or os.path.exists(query):
        return query, None
    try:
        seconds = float(time)
    except ValueError:
        return query, None
    if not math.isfinite(seconds):
        raise UsageError(f"{query}: {time} is no time in seconds")
    return name, seconds


def _row_at(rows: NDArray[Any], times: NDArray[Any], seconds: float, name: str) -> NDArray[np.float64]:
    """The row of the clip whose centre is nearest to a time, the mean over its crops."""
    if not times[0, 0] <= seconds <= times[-1, 1]:
        raise UsageError(
            f"{name}: has no clip at {seconds:g} s; its clips are from {times[0, 0]:g} to {times[-1, 1]:g} s"
        )
    row = np.asarray(rows[np.abs(times.mean(axis=1) - seconds).argmin()], np.float64)
    return row if row.ndim == 1 else row.mean(axis=0)


def _rows_of(
    features: FeatureFile, path: str, on_event: Callable[[Any], None]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """pool5 and the times of a video file, with the model and the settings of the feature file."""
    job = Recomputation.of(features.path, {**features.settings, "layers": [LAYER]}, on_event=on_event).job
    rows: list[NDArray[np.float32]] = []
    times: list[NDArray[np.float64]] = []
    with Decoders() as decoders:
        video = Video("query", path, path)
        for event in pipeline.describe(
            [video], engine=job.engine, spec=job.spec, sampling=job.sampling, decoders=decoders
        ):
            if isinstance(event, pipeline.Failed):
                raise type(event.failure.error)(f"{path}: {event.failure.error}")
            if isinstance(event, pipeline.Started):
                rows.clear()
                times.clear()
            elif isinstance(event, pipeline.Described):
                rows.append(event.features.layers[LAYER])
                times.append(event.features.seconds)
    return np.concatenate(rows), np.concatenate(times)
