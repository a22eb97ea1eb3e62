"""The features of one video in a feature file."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from p3dfeat.store.layout import CLASSES, COLUMNS, DIMENSIONS, array_names, column_names, reading
from p3dfeat.store.members import own_array
from p3dfeat.types import VIDEO_ATTRIBUTES

if TYPE_CHECKING:
    from p3dfeat.store.reading.file import FeatureFile


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
