"""The stored videos, in an output and in the journals beside it, and their attributes."""

from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, Final

import h5py

from p3dfeat.store.commit.journal import JournalReader
from p3dfeat.store.identity import IDENTITY, source_if_same
from p3dfeat.store.layout import open_hdf5, reading
from p3dfeat.store.metadata_cache import MetadataCache
from p3dfeat.system.disk import Folder, writing
from p3dfeat.types import Video

IN_OUTPUT: Final = -1  # instead of a record's offset

Places = dict[str, tuple[str, int]]  # of each video: the journal's name, and the offset of its record
Replaced = Mapping[str, str | int | float]  # identifies a video that is replaced, see resuming.identity_of
PLACE_IN_OUTPUT: Final = ("", IN_OUTPUT)


class Stored:
    """The place of each stored video; to be closed after use. folder: of the journals; None if there is none."""

    def __init__(self, output: Path, folder: Folder | None):
        self.where: Places = {}
        self.replaced: dict[str, Replaced] = {}  # videos of the output that are recomputed because they changed
        self._output, self._folder = output, folder
        self._reader: h5py.File | None = None

    @property
    def ids(self) -> Set[str]:
        return self.where.keys()

    def about(self, id: str) -> Mapping[str, Any]:
        """The attributes that identify a video; only these, because a run asks for every stored video."""
        name, offset = self.where[id]
        if offset == IN_OUTPUT:
            with reading(self._output):
                file = self.opened()
                self._cache.enter_folder_of(id)
                attributes = file[id].attrs
                return {name: attributes[name] for name in IDENTITY if name in attributes}
        assert self._folder is not None
        with writing(self._output), JournalReader(self._folder, name) as journal:
            about: Mapping[str, Any] = journal.record(offset).header["attributes"]
            return about

    def has_columns(self, id: str, columns: Mapping[str, str]) -> bool:
        """Whether a video in the output has these attributes; they come from a user's CSV."""
        if not columns or self.where[id][1] != IN_OUTPUT:  # without columns, nothing needs to be read
            return True
        with reading(self._output):
            attributes = self.opened()[id].attrs
            return all(attributes.get(name) == value for name, value in columns.items())

    def opened(self) -> h5py.File:
        """The output, open for reading until ``close``."""
        if self._reader is None:
            self._reader = open_hdf5(self._output)
            self._cache = MetadataCache(self._reader)
        return self._reader

    def source_of(self, video: Video) -> str | None:
        """The source stored under this video's id, if it is the same video; None if not."""
        return source_if_same(video, self.about(video.id)) if video.id in self.where else None

    def close(self) -> None:
        """Close the output; later access opens it again."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
