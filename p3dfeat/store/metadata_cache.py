"""A limit on the memory that HDF5 uses for groups that it has read.

By default, it keeps up to 32 MB, as in the file; with decoded attributes they take twenty times as much. The limit is
low: the names in the folders of a video's path, which are needed for each video, and a little more.
"""

from typing import Final

import h5py

BESIDES_BYTES: Final = 256 << 10  # size in the file: the attributes of about 200 videos
MOST_BYTES: Final = 128 << 20  # maximum limit that HDF5 accepts


class MetadataCache:
    """Limits the cache of an open file."""

    def __init__(self, file: h5py.File):
        self._file = file
        self._names_bytes: dict[str, int] = {}  # of a folder and its parent folders, by path
        self._most = -1

    def enter(self, folder: str) -> None:
        """Make room for the names in the path of a folder's members, before these are accessed. "" is the root."""
        if folder in self._names_bytes:
            return
        parts, total = folder.split("/") if folder else [], 0
        for depth in range(len(parts) + 1):
            path = "/".join(parts[:depth])
            if path not in self._names_bytes:
                group = self._file[path] if path else self._file
                self._names_bytes[path] = total + int(h5py.h5o.get_info(group.id).meta_size.obj.heap_size)
            total = self._names_bytes[path]
        if total > self._most:
            self._most = total
            self._limit(min(total + BESIDES_BYTES, MOST_BYTES))

    def enter_folder_of(self, id: str) -> None:
        """The same, before a video is accessed."""
        self.enter(id.rpartition("/")[0])

    def _limit(self, num_bytes: int) -> None:
        config = self._file.id.get_mdc_config()
        config.set_initial_size = True
        config.initial_size = config.min_size = config.max_size = num_bytes
        config.incr_mode = config.flash_incr_mode = config.decr_mode = 0  # keep this size
        self._file.id.set_mdc_config(config)
