"""Reading feature files."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import FeatureFileError
from p3dfeat.store.layout import (
    COLUMNS,
    VIDEO_MARK,
    array_names,
    column_names,
    open_hdf5,
    read_attributes,
    reading,
)
from p3dfeat.store.members import Look, PassedOver, link_on_the_way, own_array, own_groups
from p3dfeat.store.metadata_cache import MetadataCache
from p3dfeat.store.side_files.lock import unfinished
from p3dfeat.types import VIDEO_ATTRIBUTES, is_id


class VideoFeatures(Mapping[str, NDArray[Any]]):
    """What is stored of one video: ``features["pool5"]`` (clips, ...), ``["pooled"]``, ``["seconds"]`` (clips, 2).

    attributes: source, duration_seconds, frame_rate, num_frames, padded_frames and the like.
    columns: further columns of the CSV that named the video, such as {"label": "archery"}, as text.
    Arrays are read when asked for. What users have added to the video is left out.
    """

    def __init__(self, file: "FeatureFile", id: str, group: h5py.Group):
        self._file, self._id = file, id
        self._arrays = array_names(file.settings["layers"])
        found = {name: group.attrs[name] for name in group.attrs if name in VIDEO_ATTRIBUTES}
        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in found.items()}
        self.attributes: dict[str, Any] = {
            name: value for name, value in plain.items() if isinstance(value, str | int | float)
        }
        given = {name: group.attrs.get(name) for name in column_names(self.attributes)}
        self.columns: dict[str, str] = {name: value for name, value in given.items() if isinstance(value, str)}
        self.attributes.pop(COLUMNS, None)

    @property
    def _group(self) -> h5py.Group:
        """Looked up each time: another process that got this by a fork or a pickle opens the file for itself."""
        return self._file.group(self._id)

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._arrays:
            raise KeyError(name)
        return np.asarray(self._array(name)[()])

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._group if name in self._arrays)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of an array, without reading it."""
        return tuple(self._array(name).shape)

    def rows(self, name: str, first: int, count: int) -> NDArray[Any]:
        """Some rows of an array, (at most count, ...), without reading the others."""
        return np.asarray(self._array(name)[first : first + count])

    def _array(self, name: str) -> h5py.Dataset:
        return own_array(self._group, name, self._file.path)

    @property
    def pooled(self) -> NDArray[np.float32]:
        """The video's descriptor: the mean of pool5 over its clips."""
        return self["pooled"]


@dataclass(frozen=True)
class _Opened:
    """A file as one process has opened it."""

    pid: int
    file: h5py.File
    cache: MetadataCache

    @classmethod
    def now(cls, path: Path) -> Self:
        file = open_hdf5(path)
        return cls(os.getpid(), file, MetadataCache(file))


class FeatureFile(Mapping[str, VideoFeatures]):
    """A feature file as a mapping from video id to VideoFeatures, in order of ids; for use in a with statement.

    settings: how the numbers were made (model, weights, preprocessing, sampling, engine, precision ...).
    It may be used in child processes, however they are started, and be pickled: each process opens the file for itself
    when it first uses it. HDF5 does not promise that a child may read through what its parent has opened.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._place = Path(os.path.abspath(path))  # for processes that work in another folder
        state = None if self.path.exists() else unfinished(self.path)
        if state is not None:
            raise FeatureFileError(f"{self.path}: not there yet: {state}")
        self._closed = False
        self._opened: _Opened | None = _Opened.now(self.path)
        try:
            with reading(self.path):
                self.settings = read_attributes(self._opened.file, self.path)
        except BaseException:
            self.close()
            raise

    def _here(self) -> _Opened:
        """The file, as this process has opened it."""
        if self._closed:
            raise FeatureFileError(f"{self.path}: is closed; use it inside its with statement")
        opened = self._opened
        if opened is None or opened.pid != os.getpid():
            opened = self._opened = _Opened.now(self._place)
        return opened

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_opened": None}

    def __getitem__(self, id: str) -> VideoFeatures:
        group = self._find(id) if isinstance(id, str) and is_id(id) else None
        if not isinstance(group, h5py.Group) or VIDEO_MARK not in group.attrs:
            raise KeyError(id)
        return VideoFeatures(self, id, group)

    def group(self, id: str) -> h5py.Group:
        """Where a video's arrays are. Raises KeyError."""
        group = self._find(id)
        if not isinstance(group, h5py.Group):
            raise KeyError(id)
        return group

    def _find(self, id: str) -> Any:
        here = self._here()
        if link_on_the_way(here.file, id) is not None:
            return None
        with suppress(KeyError):  # no such folder
            here.cache.enter_folder_of(id)
        return here.file.get(id)

    def __iter__(self) -> Iterator[str]:
        with reading(self.path):
            yield from video_ids(self._here().file, self.path)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def close(self) -> None:
        self._closed = True
        if self._opened is not None and self._opened.pid == os.getpid():
            self._opened.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def video_ids(file: h5py.File, path: Path, look: Look = lambda item: None) -> Iterator[str]:
    """Ids of all videos of a file, folder by folder. Warns, in one line, of links and the like that are passed over.

    look: as for ``own_groups``.
    """
    passed = PassedOver(path)
    yield from own_groups(file, lambda group: VIDEO_MARK in group.attrs, passed.tell, look)
    passed.say()


def is_own_video(file: h5py.File, id: str) -> bool:
    """Whether a file itself, and none that it links to, holds this video."""
    if link_on_the_way(file, id) is not None:
        return False
    group = file.get(id)
    return isinstance(group, h5py.Group) and VIDEO_MARK in group.attrs


def open_features(path: str | Path) -> FeatureFile:
    """Open a feature file for reading.

    Args:
        path (str | Path): A feature file.

    Returns:
        FeatureFile: A mapping from video id to VideoFeatures, for use in a with statement.

    Raises:
        FeatureFileError: The file is missing, damaged or not p3dfeat's.

    Example:
        >>> with p3dfeat.open_features("feats.h5") as features:
        ...     features["archery/clip7"]["pool5"].shape  # (clips, 2048)
    """
    return FeatureFile(path)
