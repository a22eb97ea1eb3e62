"""Probabilities of labels from the layers of clips: of the model's own labels, or of a classifier trained on top."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from p3dfeat.evaluation.learning.head import Head
from p3dfeat.types import FloatArray


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
