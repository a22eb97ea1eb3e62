"""How much HDF5 keeps in memory of the groups that it has read.

It keeps up to 32 MB as they are in the file; with their attributes decoded they take twenty times that. So it is told
to keep little: the names in the folders on the way to a video, which it needs for each, and not much besides.
"""

from typing import Final

import h5py

BESIDES_BYTES: Final = 256 << 10  # as they are in the file: some 200 videos' attributes
MOST_BYTES: Final = 128 << 20  # that HDF5 takes for a limit


class MetadataCache:
    """Of an open file, from now on."""

    def __init__(self, file: h5py.File):
        self._file = file
        self._names_bytes: dict[str, int] = {}  # in a folder and in those above it, by its path
        self._most = -1

    def enter(self, folder: str) -> None:
        """Make room for the names on the way to a folder's members, before these are asked for. "" is the root."""
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
        """The same, before a video is asked for."""
        self.enter(id.rpartition("/")[0])

    def _limit(self, num_bytes: int) -> None:
        config = self._file.id.get_mdc_config()
        config.set_initial_size = True
        config.initial_size = config.min_size = config.max_size = num_bytes
        config.incr_mode = config.flash_incr_mode = config.decr_mode = 0  # neither more nor less
        self._file.id.set_mdc_config(config)
