"""Read the same arrays of all videos of a feature file, one video after another, at the speed of plain h5py.

Looking up an id costs more than reading a short array. A scan opens each group once, as it walks through the file.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import FeatureFileError
from p3dfeat.store.layout import COLUMNS, VIDEO_MARK, column_names, reading
from p3dfeat.store.members import PassedOver, own_array, own_videos

MARK: Final = VIDEO_MARK.encode()
COLUMNS_KEY: Final = COLUMNS.encode()


@dataclass(frozen=True)
class Scanned:
    """Arrays and attributes of one video. An array or attribute that the video lacks is left out."""

    id: str
    arrays: Mapping[str, NDArray[Any]]
    attributes: Mapping[str, Any]
    columns: Mapping[str, str]


Wanted = Callable[[str, Mapping[str, Any]], bool]


class ArrayReader:
    """Reads arrays of one open file. Most are read past HDF5: their bytes lie in one piece, as NumPy has them."""

    def __init__(self, file: h5py.File, path: Path):
        self._file, self._path = file, path
        self._types: list[tuple[Any, np.dtype[Any]]] = []  # of HDF5, and of NumPy: making one from the other takes time
        try:
            self._descriptor = int(file.id.get_vfd_handle()) if file.driver == "sec2" else None
        except (ValueError, RuntimeError):
            self._descriptor = None

    def scan(
        self, arrays: Sequence[str], attributes: Sequence[str], *, columns: bool = False, wanted: Wanted | None = None
    ) -> Iterator[Scanned]:
        """All videos, folder by folder. Raises FeatureFileError for damaged data.

        columns: also read the attributes that come from columns of a user's CSV.
        wanted: takes the id and the attributes; arrays and columns of other videos are not read.
        """
        passed = PassedOver(self._path)
        groups = own_videos(self._file, _is_video, passed.tell)
        while True:
            with reading(self._path):
                found = next(groups, None)
                if found is None:
                    break
                id, group = found
                about = {name: value for name in attributes if (value := self._attribute(group, name)) is not None}
                values: dict[str, NDArray[Any]] = {}
                extra: dict[str, str] = {}
                reads = wanted is None or wanted(id, about)
                if reads:
                    values = {name: array for name in arrays if (array := self.array(group.id, name)) is not None}
                if reads and columns and h5py.h5a.exists(group.id, COLUMNS_KEY):
                    extra = {name: str(self._attribute(group, name)) for name in column_names(group.attrs)}
                scanned = Scanned(id, values, about, extra)
            yield scanned
        passed.say()

    def of_video(self, id: str, name: str) -> NDArray[Any] | None:
        """An array of the video with this id; None if there is none. Links on the way are not followed."""
        place: Any = self._file.id
        for part in id.split("/"):
            key = part.encode("utf-8", "surrogateescape")
            if not isinstance(place, h5py.h5g.GroupID | h5py.h5f.FileID) or not place.links.exists(key):
                return None
            if place.links.get_info(key).type != h5py.h5l.TYPE_HARD:
                return None
            place = h5py.h5o.open(place, key)
        if not isinstance(place, h5py.h5g.GroupID) or not h5py.h5a.exists(place, MARK):
            return None
        return self.array(place, name)

    def array(self, group: Any, name: str) -> NDArray[Any] | None:
        """An array, or None if the video has none of this name. Raises FeatureFileError for data in other files.

        group: a low-level GroupID.
        """
        key = name.encode()
        if not group.links.exists(key):
            return None
        if group.links.get_info(key).type == h5py.h5l.TYPE_HARD:
            item = h5py.h5o.open(group, key)
            if isinstance(item, h5py.h5d.DatasetID) and (offset := item.get_offset()) is not None:
                return self._contiguous(item, offset, name)
        return np.asarray(own_array(h5py.Group(group), name, self._path)[()])  # chunked, or an error

    def _contiguous(self, item: Any, offset: int, name: str) -> NDArray[Any]:
        values = np.empty(item.shape, self._dtype(item))
        if item.get_storage_size() < values.nbytes:
            raise FeatureFileError(f"{self._path}: damaged: {name} of a video has fewer bytes than its shape says")
        if not values.size:
            return values
        plain = self._descriptor is not None and values.dtype.isnative and values.dtype.kind in "fi"
        if not (plain and _fill(self._descriptor, values, offset)):
            item.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
        return values

    def _attribute(self, group: h5py.Group, name: str) -> Any:
        """A number or a text; None if there is none."""
        key = name.encode()
        if not h5py.h5a.exists(group.id, key):
            return None
        found = h5py.h5a.open(group.id, key)
        dtype = self._dtype(found)
        if dtype.kind not in "ifO" or found.shape != ():
            return None
        value = np.empty((), dtype)
        found.read(value)
        plain = value.item()
        return plain.decode("utf-8", "surrogateescape") if isinstance(plain, bytes) else plain

    def _dtype(self, item: Any) -> np.dtype[Any]:
        stored = item.get_type()
        for known, dtype in self._types:
            if stored.equal(known):
                return dtype
        self._types.append((stored, item.dtype))
        return self._types[-1][1]


def _fill(descriptor: int | None, values: NDArray[Any], offset: int) -> bool:
    """Whether all bytes of an array could be read from this place of a file."""
    left = values.reshape(-1).view(np.uint8).data
    while left and descriptor is not None:
        count = os.preadv(descriptor, [left], offset)
        if not count:
            return False
        left, offset = left[count:], offset + count
    return not left


def _is_video(group: h5py.Group) -> bool:
    return bool(h5py.h5a.exists(group.id, MARK))
