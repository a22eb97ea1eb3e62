"""Feature files as datasets for PyTorch: rows of each video, or one vector per video, with labels."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from p3dfeat.errors import UsageError
from p3dfeat.labels import Labels
from p3dfeat.store import open_features


class Sample(NamedTuple):
    """One video. label: number of its class in ``classes``; -1 without labels."""

    features: Tensor
    label: int
    id: str


class SampleBatch(NamedTuple):
    """Videos of different lengths together.

    features: (N, T, ...) float32; rows beyond the length of a video are zero. lengths: (N,) int64. labels: (N,) int64.
    """

    features: Tensor
    lengths: Tensor
    labels: Tensor
    ids: list[str]


class FeatureDataset(Dataset[Sample]):
    """The videos of a feature file as a map-style dataset.

    It can be used by a ``DataLoader`` with any number of workers, forked or spawned: each opens the file once, at its
    first access. Tensors share the memory of the arrays that are read; nothing is copied.

    Args:
        path (str | Path): Feature file.
        layer (str): Array of each video: a stored layer, such as "pool5", or "pooled", one vector per video.
        labels (str | Path | None): A CSV or JSON file of ids and labels, "folders", or "column:NAME" for a column of
            the CSV that named the videos. Videos without a label are left out. None: no labels.
        classes (Sequence[str] | None): Names of classes, in order, such as those of the training set. None: the labels
            that occur, sorted.
        transform (Callable | None): Applied to the features of each video: a tensor to a tensor.

    Attributes:
        ids (list[str]): Ids of the videos, in order.
        labels (list[int]): Number of the class of each video; empty without labels.
        classes (list[str]): Names of the classes.
        without_label (list[str]): Ids of videos that were left out.

    Raises:
        UsageError: The layer is not stored, the labels cannot be used, or no video has a label.
        FeatureFileError: The file is missing, damaged or not a p3dfeat file.

    Example:
        >>> dataset = p3dfeat.FeatureDataset("feats.h5", layer="pooled", labels="folders")
        >>> features, label, id = dataset[0]
        >>> loader = torch.utils.data.DataLoader(dataset, batch_size=64, shuffle=True, num_workers=4)
    """

    def __init__(
        self,
        path: str | Path,
        layer: str = "pool5",
        labels: str | Path | None = None,
        *,
        classes: Sequence[str] | None = None,
        transform: Callable[[Tensor], Tensor] | None = None,
    ):
        self.layer, self._transform = layer, transform
        self._file = open_features(path)
        self._file.check_stored(layer)
        self.ids: list[str] = list(self._file)
        self.labels: list[int] = []
        self.classes: list[str] = []
        self.without_label: list[str] = []
        if labels is not None:
            self._label(Labels.of(labels), classes)

    def _label(self, labels: Labels, classes: Sequence[str] | None) -> None:
        names: dict[str, str] = {}
        for video in self._file.scan([], columns=True):
            label = labels.label(video.id, video.columns)
            if label is None:
                self.without_label.append(video.id)
            else:
                names[video.id] = label
        if not names:
            raise UsageError(f"labels: none of {len(self.ids)} videos has one; the ids are like {self.ids[:1]}")
        self.classes = sorted(set(names.values())) if classes is None else list(classes)
        numbers = {name: number for number, name in enumerate(self.classes)}
        unknown = sorted(set(names.values()) - numbers.keys())
        if unknown:
            raise UsageError(f"labels: {unknown[0]!r} is none of the classes")
        self.ids = list(names)
        self.labels = [numbers[name] for name in names.values()]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        id = self.ids[index]
        features = torch.from_numpy(self._file.array(id, self.layer))
        if self._transform is not None:
            features = self._transform(features)
        return Sample(features, self.labels[index] if self.labels else -1, id)

    @staticmethod
    def collate(samples: Sequence[Sample]) -> SampleBatch:
        """Join videos of different lengths, for ``DataLoader(collate_fn=FeatureDataset.collate)``.

        Args:
            samples (Sequence[Sample]): Videos with features (T, ...).

        Returns:
            SampleBatch: Features padded with zeros to the longest video, lengths, labels and ids.

        Example:
            >>> loader = DataLoader(dataset, batch_size=8, collate_fn=p3dfeat.FeatureDataset.collate)
            >>> for features, lengths, labels, ids in loader: ...
        """
        features = torch.nn.utils.rnn.pad_sequence([sample.features for sample in samples], batch_first=True)
        lengths = torch.tensor([len(sample.features) for sample in samples])
        return SampleBatch(
            features, lengths, torch.tensor([sample.label for sample in samples]), [sample.id for sample in samples]
        )

    def close(self) -> None:
        """Close the file in this process."""
        self._file.close()
