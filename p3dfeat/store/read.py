"""Read feature files."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from p3dfeat.config import CENTRE
from p3dfeat.errors import FeatureFileError
from p3dfeat.store.layout import (
    CLASSES,
    COLUMNS,
    DIMENSIONS,
    VIDEO_MARK,
    array_names,
    column_names,
    open_hdf5,
    read_attributes,
    reading,
)
from p3dfeat.store.members import Look, PassedOver, link_on_the_way, own_array, own_groups
from p3dfeat.store.metadata_cache import MetadataCache
from p3dfeat.store.scan import Scanned, scan
from p3dfeat.store.side_files.lock import unfinished
from p3dfeat.types import VIDEO_ATTRIBUTES, is_id


class VideoFeatures(Mapping[str, NDArray[Any]]):
    """The features of one video: ``features["pool5"]`` (clips, ...), ``["pooled"]``, ``["seconds"]`` (clips, 2).

    ``["first_frames"]`` (clips,): number of each clip's first frame in the file, from 0 in display order. Files of
    versions before 0.2 do not have it. With several crops per clip, layers are (clips, crops, ...).

    attributes: source, duration_seconds, frame_rate, num_frames, padded_frames and others.
    columns: other columns of the CSV that named the video, such as {"label": "archery"}, as text.
    Each array is read on access. Data that users added to the video are left out.
    """

    def __init__(self, file: "FeatureFile", id: str):
        self._file, self._id = file, id
        self._arrays = array_names(file.settings["layers"])

    @cached_property
    def _found(self) -> tuple[dict[str, Any], dict[str, str]]:
        """The attributes, and those of them that are columns of a CSV."""
        with reading(self._file.path):
            attrs = dict(self._group.attrs)
        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in attrs.items()}
        own = {name: value for name, value in plain.items() if isinstance(value, str | int | float)}
        columns = {name: text for name in column_names(own) if isinstance(text := own.get(name), str)}
        return {name: value for name, value in own.items() if name in VIDEO_ATTRIBUTES and name != COLUMNS}, columns

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the video, by name."""
        return self._found[0]

    @property
    def columns(self) -> dict[str, str]:
        """Other columns of the CSV that named the video."""
        return self._found[1]

    @property
    def _group(self) -> h5py.Group:
        """Looked up each time: after a fork or a pickle, the other process opens the file itself."""
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

    def dims(self, name: str) -> tuple[str, ...]:
        """Names of an array's dimensions, such as for xarray.

        Args:
            name (str): An array, such as "pool5" or "res2a".

        Returns:
            tuple[str, ...]: ("clip", "channel", "time", "height", "width"), or as many as the array has.

        Example:
            >>> xarray.DataArray(video["res2a"], dims=video.dims("res2a"))
        """
        special = {"seconds": ("clip", "bound"), "first_frames": ("clip",), "pooled": ("channel",)}
        if name in special:
            return special[name]
        crops = ("crop",) if len(self._file.crops) > 1 else ()
        count = len(self.shape(name)) - len(crops)
        names = ("clip", "class") if name in CLASSES else DIMENSIONS.get(count, ("clip", "channel")[:count])
        return names[:1] + crops + names[1:]

    def rows(self, name: str, first: int, count: int) -> NDArray[Any]:
        """Rows of an array, (at most count, ...), without reading the others."""
        return np.asarray(self._array(name)[first : first + count])

    def _array(self, name: str) -> h5py.Dataset:
        return own_array(self._group, name, self._file.path)

    @property
    def pooled(self) -> NDArray[np.float32]:
        """The video's descriptor: the mean of pool5 over its clips."""
        return self["pooled"]


@dataclass(frozen=True)
class _Opened:
    """A file as opened by one process."""

    pid: int
    file: h5py.File
    cache: MetadataCache

    @classmethod
    def now(cls, path: Path) -> Self:
        file = open_hdf5(path)
        return cls(os.getpid(), file, MetadataCache(file))


class FeatureFile(Mapping[str, VideoFeatures]):
    """A feature file as a mapping from video id to VideoFeatures, in order of ids; for use in a with statement.

    settings: of the extraction (model, weights, preprocessing, sampling, engine, precision ...).
    It can be pickled and used in child processes, whatever their start method: each process opens the file itself at
    first use. HDF5 does not guarantee that a child can read from a file that its parent opened.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._place = Path(os.path.abspath(path))  # for processes with another working folder
        state = None if self.path.exists() else unfinished(self.path)
        if state is not None:
            raise FeatureFileError(f"{self.path}: not there yet: {state}")
        self._closed = False
        self._ids: tuple[str, ...] | None = None
        self._opened: _Opened | None = _Opened.now(self.path)
        try:
            with reading(self.path):
                self.settings = read_attributes(self._opened.file, self.path)
        except BaseException:
            self.close()
            raise

    @property
    def crops(self) -> tuple[str, ...]:
        """Names of the crops of each clip, in the order of the second axis of layers; with one, there is no such axis.

        Names are places in the resized picture, such as "top-left"; "-mirrored" says that left and right are exchanged.
        """
        found = self.settings.get("preprocessing")
        names = found.get("crops", CENTRE) if isinstance(found, dict) else CENTRE
        return tuple(names) if isinstance(names, list) else CENTRE

    def _here(self) -> _Opened:
        """The file as opened by this process."""
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
        return VideoFeatures(self, id)

    def group(self, id: str) -> h5py.Group:
        """The group with a video's arrays. Raises KeyError."""
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

    def _all_ids(self) -> tuple[str, ...]:
        """Ids of all videos, looked up once: an open file does not change."""
        here = self._here()
        if self._ids is None:
            with reading(self.path):
                self._ids = tuple(video_ids(here.file, self.path))
        return self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(self._all_ids())

    def __len__(self) -> int:
        return len(self._all_ids())

    def scan(
        self, arrays: Sequence[str], attributes: Sequence[str] = (), *, columns: bool = False
    ) -> Iterator[Scanned]:
        """Read the same arrays of all videos in one pass, which is faster than to look up each id.

        Args:
            arrays (Sequence[str]): Names, such as "pool5", "pooled", "seconds" and "first_frames".
            attributes (Sequence[str]): Names, such as "duration_seconds".
            columns (bool): Also read the other columns of the CSV that named the video.

        Yields:
            Scanned: id, arrays, attributes and columns of each video. What a video lacks is left out.

        Raises:
            FeatureFileError: The file is damaged.

        Example:
            >>> for video in features.scan(["pooled"]):
            ...     print(video.id, video.arrays["pooled"].shape)
        """
        return scan(self._here().file, self.path, arrays, attributes, columns=columns)

    def table(self) -> dict[str, list[Any]]:
        """Attributes of all videos as columns of one table, such as for ``pandas.DataFrame``.

        Returns:
            dict[str, list]: "id", "clips" (number of rows), attributes, and columns of CSV files. None for a video that
                lacks a value.

        Raises:
            FeatureFileError: The file is damaged.

        Example:
            >>> pandas.DataFrame(features.table())
        """
        rows = []
        for id, video in self.items():
            with reading(self.path):
                clips = video.shape("seconds")[0]
            rows.append({"id": id, "clips": clips} | video.attributes | video.columns)
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: [row.get(name) for row in rows] for name in names}

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
    """Ids of all videos of a file, folder by folder. Skipped items, such as links, give one warning of one line.

    look: as for ``own_groups``.
    """
    passed = PassedOver(path)
    yield from own_groups(file, lambda group: VIDEO_MARK in group.attrs, passed.tell, look)
    passed.say()


def is_own_video(file: h5py.File, id: str) -> bool:
    """Whether a file itself holds this video, not a file that it links to."""
    if link_on_the_way(file, id) is not None:
        return False
    group = file.get(id)
    return isinstance(group, h5py.Group) and VIDEO_MARK in group.attrs


def open_features(path: str | Path) -> FeatureFile:
    """Open a feature file for reading.

    Args:
        path (str | Path): Feature file.

    Returns:
        FeatureFile: A mapping from video id to VideoFeatures, for use in a with statement.

    Raises:
        FeatureFileError: The file is missing, damaged or not a p3dfeat file.

    Example:
        >>> with p3dfeat.open_features("feats.h5") as features:
        ...     features["archery/clip7"]["pool5"].shape  # (clips, 2048)
    """
    return FeatureFile(path)
