"""Probabilities of labels from the layers of clips: of the model's own labels, or of a classifier trained on top."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from p3dfeat.config import CENTRE, InputSpec, default_model, recorded
from p3dfeat.errors import UsageError
from p3dfeat.evaluation.learning.head import Head
from p3dfeat.options import ClassifySettings
from p3dfeat.types import FloatArray
from p3dfeat.workflows.job import spec_for
from p3dfeat.zoo import Model


class Labelling(Protocol):
    """What a video shows, from one layer of its clips."""

    @property
    def layer(self) -> str:
        """What the network must compute."""
        ...

    @property
    def labels(self) -> Sequence[str]:
        """Names of the probabilities."""
        ...

    def clip_rows(self, values: FloatArray, crops: int) -> FloatArray:
        """A layer of clips as rows: (clips, C)."""
        ...

    def of_clips(self, rows: FloatArray) -> NDArray[np.floating]:
        """(clips, labels), for a timeline."""
        ...

    def of_video(self, rows: FloatArray) -> NDArray[np.floating]:
        """(labels,) of all clips of a video together."""
        ...


@dataclass(frozen=True)
class OwnLabels:
    """The labels that the network was trained on: the mean of their probabilities."""

    labels: Sequence[str]
    layer: str = "prob"

    def clip_rows(self, values: FloatArray, crops: int) -> FloatArray:
        return values.mean(axis=1) if crops > 1 else values

    def of_clips(self, rows: FloatArray) -> NDArray[np.floating]:
        return rows

    def of_video(self, rows: FloatArray) -> NDArray[np.floating]:
        return np.asarray(rows.mean(axis=0, dtype=np.float64))


@dataclass(frozen=True)
class HeadLabels:
    """Labels of a classifier: those of the mean descriptor of a video, as it was trained."""

    head: Head

    @property
    def layer(self) -> str:
        return self.head.layer

    @property
    def labels(self) -> Sequence[str]:
        return self.head.labels

    def clip_rows(self, values: FloatArray, crops: int) -> FloatArray:
        channel = 2 if crops > 1 else 1
        others = tuple(axis for axis in range(1, values.ndim) if axis != channel)
        return values.mean(axis=others, dtype=np.float64).astype(np.float32) if others else values

    def of_clips(self, rows: FloatArray) -> NDArray[np.floating]:
        from p3dfeat.evaluation.descriptors import normalised  # which loads h5py

        return self.head.probabilities(normalised(rows, self.head.normalise))

    def of_video(self, rows: FloatArray) -> NDArray[np.floating]:
        mean = rows.mean(axis=0, dtype=np.float64, keepdims=True).astype(np.float32)
        return np.asarray(self.of_clips(mean)[0])


def with_heads_model(settings: ClassifySettings) -> ClassifySettings:
    """The settings with the model that a classifier was trained on, unless another one than the default is named."""
    if settings.head is None or settings.model not in (None, default_model()):
        return settings
    return replace(settings, model=Head.loaded(Path(settings.head)).model)


def labelling_for(settings: ClassifySettings, model: Model) -> tuple[Labelling, InputSpec]:
    """What labels the clips, and their preprocessing: with the crops that a classifier was trained on.

    Raises UsageError for a classifier that was trained on other features.
    """
    spec = spec_for(settings, model)
    if settings.head is None:
        return OwnLabels(model.card.labels), spec
    head = Head.loaded(Path(settings.head))
    if head.weights_sha256 != model.weights_sha256:
        raise UsageError(
            f"classifier {settings.head}: trained on features of {head.model}, whose weights are not those of "
            f"{model.name}; give --model {head.model}"
        )
    if settings.crops == 1 and not settings.mirror:
        spec = replace(spec, crops=tuple(head.preprocessing.get("crops", CENTRE)))
    now = json.loads(json.dumps(recorded(spec)))  # as files hold it: lists, not tuples
    unlike = sorted(name for name, value in head.preprocessing.items() if name != "crops" and now.get(name) != value)
    if unlike:
        raise UsageError(
            f"classifier {settings.head}: trained on clips with another {unlike[0]}: "
            f"{head.preprocessing[unlike[0]]}, not {now.get(unlike[0])}"
        )
    return HeadLabels(head), spec
