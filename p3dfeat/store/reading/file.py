"""Read feature files."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, overload

import h5py
from numpy.typing import NDArray

from p3dfeat.config import CENTRE
from p3dfeat.errors import FeatureFileError, UsageError
from p3dfeat.store.layout import (
    POOLED,
    VIDEO_MARK,
    array_names,
    open_hdf5,
    read_attributes,
    reading,
)
from p3dfeat.store.members import Look, PassedOver, link_on_the_way, own_groups
from p3dfeat.store.metadata_cache import MetadataCache
from p3dfeat.store.reading.scan import ArrayReader, Scanned
from p3dfeat.store.reading.tables import attribute_columns, stacked
from p3dfeat.store.reading.video import VideoFeatures
from p3dfeat.store.side_files.lock import unfinished
from p3dfeat.types import is_id


@dataclass(frozen=True)
class _Opened:
    """A file as opened by one process."""

    pid: int
    file: h5py.File
    cache: MetadataCache
    reader: ArrayReader

    @classmethod
    def now(cls, path: Path) -> Self:
        file = open_hdf5(path)
        return cls(os.getpid(), file, MetadataCache(file), ArrayReader(file, path))


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

    def check_stored(self, name: str) -> None:
        """Raise UsageError unless this is an array of each video: a stored layer, or with pool5 "pooled"."""
        layers = list(self.settings["layers"])
        stored = [*layers, *(["pooled"] if POOLED in layers else [])]
        if name not in stored:
            raise UsageError(f"{self.path}: layer {name!r} is not stored; stored are {', '.join(stored)}")

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
        self,
        arrays: Sequence[str],
        attributes: Sequence[str] = (),
        *,
        columns: bool = False,
        wanted: Callable[[str, Mapping[str, Any]], bool] | None = None,
    ) -> Iterator[Scanned]:
        """Read the same arrays of all videos in one pass, which is faster than to look up each id.

        Args:
            arrays (Sequence[str]): Names, such as "pool5", "pooled", "seconds" and "first_frames".
            attributes (Sequence[str]): Names, such as "duration_seconds".
            columns (bool): Also read the other columns of the CSV that named the video.
            wanted (Callable | None): Takes id and attributes; arrays of other videos are not read.

        Yields:
            Scanned: id, arrays, attributes and columns of each video. What a video lacks is left out.

        Raises:
            FeatureFileError: The file is damaged.

        Example:
            >>> for video in features.scan(["pooled"]):
            ...     print(video.id, video.arrays["pooled"].shape)
        """
        return self._here().reader.scan(arrays, attributes, columns=columns, wanted=wanted)

    @overload
    def table(self, name: None = None) -> dict[str, list[Any]]: ...
    @overload
    def table(self, name: str) -> tuple[list[str], NDArray[Any]]: ...
    def table(self, name: str | None = None) -> dict[str, list[Any]] | tuple[list[str], NDArray[Any]]:
        """One array of all videos as a matrix, or their attributes as columns.

        Args:
            name (str | None): An array of the same shape in all videos, such as "pooled". None: the attributes.

        Returns:
            tuple[list[str], ndarray]: The ids, and the array of each video: (videos, ...). Without ``name``, a
            dict[str, list]: "id", "clips" (number of rows), attributes, and columns of CSV files, with None for a video
            that lacks a value.

        Raises:
            FeatureFileError: The file is damaged.
            UsageError: Videos have no such array, or arrays of different shapes.

        Example:
            >>> ids, X = features.table("pooled")
            >>> pandas.DataFrame(features.table())
        """
        if name is not None:
            return stacked(self.scan([name]), name, len(self))
        rows = []
        for id, video in self.items():
            with reading(self.path):
                clips = video.shape("seconds")[0]
            rows.append({"id": id, "clips": clips} | video.attributes | video.columns)
        return attribute_columns(rows)

    def frame(self) -> Any:
        """The attributes of all videos as a pandas DataFrame, with ids as its index. It needs pandas.

        Returns:
            pandas.DataFrame: As ``table()``.

        Raises:
            UsageError: pandas is not installed.
            FeatureFileError: The file is damaged.

        Example:
            >>> features.frame().groupby("label").clips.sum()
        """
        try:
            import pandas
        except ImportError:
            raise UsageError("frame: needs pandas; pip install pandas") from None
        return pandas.DataFrame(self.table()).set_index("id")

    def array(self, id: str, name: str) -> NDArray[Any]:
        """One array of one video; quicker than ``features[id][name]``, which also reads the names of its other arrays.

        Args:
            id (str): Id of the video.
            name (str): Array, such as "pool5" or "pooled".

        Returns:
            ndarray: A new array.

        Raises:
            KeyError: There is no such video or array.
            FeatureFileError: The file is damaged.

        Example:
            >>> features.array("archery/clip7", "pool5").shape
            (20, 2048)
        """
        here = self._here()
        with reading(self.path):
            values = here.reader.of_video(id, name)
        if values is None or name not in array_names(self.settings["layers"]):
            raise KeyError(f"{id}: {name}")
        return values

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
