"""Read the same arrays of all videos of a feature file, one video after another, at the speed of plain h5py.

Looking up an id costs more than reading a short array. A scan opens each group once, as it walks through the file.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import FeatureFileError
from p3dfeat.store.layout import VIDEO_MARK, column_names, reading
from p3dfeat.store.members import PassedOver, own_array, own_videos

MARK: Final = VIDEO_MARK.encode()


@dataclass(frozen=True)
class Scanned:
    """Arrays and attributes of one video. An array or attribute that the video lacks is left out."""

    id: str
    arrays: Mapping[str, NDArray[Any]]
    attributes: Mapping[str, Any]
    columns: Mapping[str, str]


Wanted = Callable[[str, Mapping[str, Any]], bool]


def scan(
    file: h5py.File,
    path: Path,
    arrays: Sequence[str],
    attributes: Sequence[str],
    *,
    columns: bool = False,
    wanted: Wanted | None = None,
) -> Iterator[Scanned]:
    """All videos, folder by folder. Raises FeatureFileError for damaged data.

    columns: also read the attributes that come from columns of a user's CSV.
    wanted: takes the id and the attributes; arrays and columns of other videos are not read.
    """
    passed = PassedOver(path)
    groups = own_videos(file, _is_video, passed.tell)
    while True:
        with reading(path):
            found = next(groups, None)
            if found is None:
                break
            id, group = found
            about = {name: value for name in attributes if (value := _attribute(group, name)) is not None}
            values: dict[str, NDArray[Any]] = {}
            extra: dict[str, str] = {}
            reads = wanted is None or wanted(id, about)
            if reads:
                values = {name: array for name in arrays if (array := _array(group.id, name, path)) is not None}
            if reads and columns:
                extra = {name: str(_attribute(group, name)) for name in column_names(group.attrs)}
            scanned = Scanned(id, values, about, extra)
        yield scanned
    passed.say()


def _is_video(group: h5py.Group) -> bool:
    return bool(h5py.h5a.exists(group.id, MARK))


def array_of(file: h5py.File, path: Path, id: str, name: str) -> NDArray[Any] | None:
    """An array of the video with this id; None if there is none. Links on the way are not followed."""
    place: Any = file.id
    for part in id.split("/"):
        key = part.encode("utf-8", "surrogateescape")
        if not isinstance(place, h5py.h5g.GroupID | h5py.h5f.FileID) or not place.links.exists(key):
            return None
        if place.links.get_info(key).type != h5py.h5l.TYPE_HARD:
            return None
        place = h5py.h5o.open(place, key)
    if not isinstance(place, h5py.h5g.GroupID) or not h5py.h5a.exists(place, MARK):
        return None
    return _array(place, name, path)


def _array(group: Any, name: str, path: Path) -> NDArray[Any] | None:
    """An array, or None if the video has none of this name. Raises FeatureFileError for data in other files.

    group: a low-level GroupID.
    """
    key = name.encode()
    if not group.links.exists(key):
        return None
    if group.links.get_info(key).type == h5py.h5l.TYPE_HARD:
        item = h5py.h5o.open(group, key)
        if isinstance(item, h5py.h5d.DatasetID):
            created = item.get_create_plist()
            if created.get_layout() == h5py.h5d.CONTIGUOUS and not created.get_external_count():
                if item.get_storage_size() < np.prod(item.shape, dtype=np.int64) * item.dtype.itemsize:
                    raise FeatureFileError(f"{path}: damaged: {name} of a video has fewer bytes than its shape says")
                values = np.empty(item.shape, item.dtype)
                if values.size:
                    item.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
                return values
    return np.asarray(own_array(h5py.Group(group), name, path)[()])  # chunked, or an error


def _attribute(group: h5py.Group, name: str) -> Any:
    """A number or a text; None if there is none."""
    key = name.encode()
    if not h5py.h5a.exists(group.id, key):
        return None
    found = h5py.h5a.open(group.id, key)
    if found.shape == () and found.dtype.kind in "if":
        value = np.empty((), found.dtype)
        found.read(value)
        return value.item()
    value = group.attrs[name]
    return value if isinstance(value, str) else None
