"""The members of a feature file itself: only hard links, no group inside itself, names that can be ids.

A file may come from an untrusted source. A soft or external link may lead to another file, which is then read, or even
written to. A group may contain itself. An array may have its data in any file of the disk. None of this is followed.
Skipped items are reported: users may have linked ``train`` to train.h5, and wonder where its videos are.
"""

import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import h5py
import numpy as np

from p3dfeat.errors import FeatureFileError, P3DFeatWarning
from p3dfeat.store.metadata_cache import MetadataCache
from p3dfeat.types import DEEPEST_ID, is_id

LINK: Final = "a link to elsewhere, which p3dfeat does not follow"
AGAIN: Final = "the same group as another"
ITSELF: Final = "a group inside itself"
MOST_NAMES: Final = 32  # of one group: if each of nested groups has two names, the number doubles at each level

OWN_FILTERS: Final = frozenset({*range(1, 7), 32000})  # those of HDF5 itself, and that of h5py (LZF)

Item: TypeAlias = "h5py.Group | h5py.Dataset | h5py.Datatype"
Look = Callable[[Item], None]
Tell = Callable[[str, str], None]  # takes the path of an item, and its description


def is_hard(group: h5py.Group, name: str) -> bool:
    """Whether a member of ``group`` is in this file itself; nothing is opened. Raises KeyError."""
    return _address(group, name) is not None


def _address(group: h5py.Group, name: str) -> int | None:
    """Address of a member in the file; None for a link to elsewhere. Raises KeyError."""
    link = group.id.links.get_info(name.encode("utf-8", "surrogateescape"))
    return int(link.u) if link.type == h5py.h5l.TYPE_HARD else None


def has(group: h5py.Group, name: str) -> bool:
    """Whether ``group`` has a member of this name, including broken links; nothing is opened."""
    return bool(group.id.links.exists(name.encode("utf-8", "surrogateescape")))


def link_on_the_way(file: h5py.File, id: str) -> str | None:
    """The first part of an id's path that is a link, as an id; None if all existing parts are in the file itself."""
    place: Any = file
    parts = id.split("/")
    for count, name in enumerate(parts, 1):
        if not isinstance(place, h5py.Group) or not has(place, name):
            return None
        if not is_hard(place, name):
            return "/".join(parts[:count])
        place = place[name]
    return None


def address_of(group: h5py.Group) -> int:
    """Address of a group in the file; the same for all its names."""
    return int(h5py.h5o.get_info(group.id).addr)


def own_groups(
    file: h5py.File, is_video: Callable[[h5py.Group], bool], tell: Tell, look: Look = lambda item: None
) -> Iterator[str]:
    """Ids of all videos in the file itself, as ``own_videos``."""
    return (id for id, _ in own_videos(file, is_video, tell, look))


def own_videos(
    file: h5py.File, is_video: Callable[[h5py.Group], bool], tell: Tell, look: Look = lambda item: None
) -> Iterator[tuple[str, h5py.Group]]:
    """(id, group) of all videos in the file itself, folder by folder; groups inside a video are not searched.

    look: called with each folder, and with all other items in a folder.
    """
    root = frozenset({address_of(file)})
    return _Walk(is_video, tell, look, MetadataCache(file)).below(file, "", root)


def refers(item: Item) -> bool:
    """Whether an array's values, or an attribute of it or of a folder, may be references to objects of the file."""
    try:
        types = [item.attrs.get_id(name).dtype for name in item.attrs]
        own = [] if isinstance(item, h5py.Group) else [item.dtype]
    except TypeError:  # of a type that NumPy lacks
        return True
    return any(map(_is_of_references, [*types, *own]))


def _is_of_references(dtype: Any) -> bool:
    if h5py.check_ref_dtype(dtype) is not None:
        return True
    inner = h5py.check_vlen_dtype(dtype)
    parts = [inner] if isinstance(inner, np.dtype) else [dtype.subdtype[0]] if dtype.subdtype else []
    return any(map(_is_of_references, [*parts, *(kind for kind, *_ in (dtype.fields or {}).values())]))


@dataclass(frozen=True)
class _Walk:
    is_video: Callable[[h5py.Group], bool]
    tell: Tell
    look: Look
    cache: MetadataCache
    names: Counter[int] = field(default_factory=Counter)  # of each group, so far

    def below(self, group: h5py.Group, folder: str, above: frozenset[int]) -> Iterator[tuple[str, h5py.Group]]:
        self.cache.enter(folder)
        self.look(group)
        for name in group:
            if not isinstance(name, str):  # h5py returns bytes for a name that is not UTF-8
                self.tell(f"{folder}/{name!r}", "no name of a video: it is not UTF-8")
                continue
            id = f"{folder}/{name}" if folder else name
            if "/" in name or not is_id(id):
                self.tell(id[:200], f"no name of a video; at most {DEEPEST_ID} folders in each other are looked at")
            elif (address := _address(group, name)) is None:
                self.tell(id, LINK)
            elif isinstance(child := _opened(group, name), h5py.Group):
                if address in above:
                    self.tell(id, ITSELF)
                    continue
                self.names[address] += 1
                if self.names[address] > 1:
                    self.tell(id, AGAIN)
                if self.is_video(child):
                    yield id, child
                elif self.names[address] <= MOST_NAMES:
                    yield from self.below(child, id, above | {address})
            else:
                self.look(child)


def _opened(group: h5py.Group, name: str) -> Item:
    """A member that is in the file itself; three times as fast as ``group[name]`` for a group."""
    member = h5py.h5o.open(group.id, name.encode("utf-8", "surrogateescape"))
    return h5py.Group(member) if isinstance(member, h5py.h5g.GroupID) else group[name]


def own_array(group: h5py.Group, name: str, path: Path) -> h5py.Dataset:
    """An array of a video, with its data in this file. Raises FeatureFileError, KeyError."""
    place = f"{path}: {str(group.name).lstrip('/')}/{name}"
    if not is_hard(group, name):
        raise FeatureFileError(f"{place}: {LINK}")
    item = group[name]
    if not isinstance(item, h5py.Dataset):
        raise FeatureFileError(f"{place}: not an array")
    if item.is_virtual or item.external is not None:
        raise FeatureFileError(f"{place}: its numbers lie in another file, which is not read")
    if foreign := foreign_filters(item):
        raise FeatureFileError(
            f"{place}: compressed with filter {foreign[0]}, which is not HDF5's own; h5repack can decompress it"
        )
    return item


def foreign_filters(item: h5py.Dataset) -> list[int]:
    """Numbers of an array's filters that HDF5 and h5py lack: HDF5 would load code from its plugin folders for them."""
    if "hdf5plugin" in sys.modules:  # the program that imported it has chosen its filters
        return []
    packed = item.id.get_create_plist()
    codes = [int(packed.get_filter(number)[0]) for number in range(packed.get_nfilters())]
    return [code for code in codes if code not in OWN_FILTERS]


class PassedOver:
    """Collects the items of a file that are skipped, and reports them in one line."""

    def __init__(self, path: Path):
        self._path = path
        self._first, self._count = "", 0

    def tell(self, id: str, what: str) -> None:
        self._first = self._first or f"{id!r} is {what}"
        self._count += 1

    def say(self) -> None:
        """Warn with P3DFeatWarning if items were skipped."""
        if self._count:
            more = f", and {self._count - 1} more like it" if self._count > 1 else ""
            warnings.warn(f"{self._path}: {self._first}{more}", P3DFeatWarning, stacklevel=2)
