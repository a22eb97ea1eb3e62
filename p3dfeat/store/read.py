"""Reading feature files."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import FeatureFileError
from p3dfeat.store.layout import VIDEO_MARK, open_hdf5, read_attributes, reading
from p3dfeat.store.lock import unfinished
from p3dfeat.store.metadata_cache import MetadataCache
from p3dfeat.types import is_id


class VideoFeatures(Mapping[str, NDArray[Any]]):
    """What is stored of one video: ``features["pool5"]`` (clips, ...), ``["pooled"]``, ``["seconds"]`` (clips, 2).

    attributes: source, duration_seconds, frame_rate, num_frames, padded_frames and the like.
    Arrays are read when asked for.
    """

    def __init__(self, group: h5py.Group):
        self._group = group
        self.attributes: dict[str, Any] = {
            name: value.item() if isinstance(value, np.generic) else value for name, value in group.attrs.items()
        }

    def __getitem__(self, name: str) -> NDArray[Any]:
        dataset = self._group[name]
        assert isinstance(dataset, h5py.Dataset)
        return np.asarray(dataset[()])

    def __iter__(self) -> Iterator[str]:
        return iter(self._group)

    def __len__(self) -> int:
        return len(self._group)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of an array, without reading it."""
        return tuple(self._group[name].shape)

    def rows(self, name: str, first: int, count: int) -> NDArray[Any]:
        """Some rows of an array, (at most count, ...), without reading the others."""
        return np.asarray(self._group[name][first : first + count])

    @property
    def pooled(self) -> NDArray[np.float32]:
        """The video's descriptor: the mean of pool5 over its clips."""
        return self["pooled"]


class FeatureFile(Mapping[str, VideoFeatures]):
    """A feature file as a mapping from video id to VideoFeatures, in order of ids; for use in a with statement.

    settings: how the numbers were made (model, weights, preprocessing, sampling, engine, precision ...).
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        state = None if self.path.exists() else unfinished(self.path)
        if state is not None:
            raise FeatureFileError(f"{self.path}: not there yet: {state}")
        self._file = open_hdf5(self.path)
        try:
            with reading(self.path):
                self.settings = read_attributes(self._file, self.path)
                self._cache = MetadataCache(self._file)
        except BaseException:
            self._file.close()
            raise

    def __getitem__(self, id: str) -> VideoFeatures:
        group = self._group(id) if isinstance(id, str) and is_id(id) else None
        if not isinstance(group, h5py.Group) or VIDEO_MARK not in group.attrs:
            raise KeyError(id)
        return VideoFeatures(group)

    def _group(self, id: str) -> Any:
        with suppress(KeyError):  # no such folder
            self._cache.enter_folder_of(id)
        return self._file.get(id)

    def __iter__(self) -> Iterator[str]:
        with reading(self.path):
            yield from video_ids(self._file)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def video_ids(file: h5py.File) -> Iterator[str]:
    """Ids of all videos of a file, folder by folder."""
    yield from _ids_below(file, "", MetadataCache(file))


def _ids_below(group: h5py.Group, folder: str, cache: MetadataCache) -> Iterator[str]:
    cache.enter(folder)
    for name, child in group.items():
        path = f"{folder}/{name}" if folder else name
        if isinstance(child, h5py.Group):  # nor a link to nowhere, which a user may have made
            if VIDEO_MARK in child.attrs:
                yield path
            else:
                yield from _ids_below(child, path, cache)


def open_features(path: str | Path) -> FeatureFile:
    """Open a feature file for reading: ``with p3dfeat.open_features("feats.h5") as features: ...``.

    Raises FeatureFileError for a file that is missing, damaged or not p3dfeat's.
    """
    return FeatureFile(path)
