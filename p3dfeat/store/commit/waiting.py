"""Videos in journals, waiting to be added to the feature file."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from p3dfeat.store.commit.journal import JournalReader, Record
from p3dfeat.system.disk import Folder

BATCH_VIDEOS: Final = 500  # created by HDF5 before its memory is written to the file
COPIED_BYTES: Final = 4 << 20  # from a journal at a time


@dataclass(frozen=True)
class Waiting:
    """A video that is complete in a journal. offset: of its last record."""

    id: str
    journal: str  # its name in the folder of the journals
    offset: int


class Journals:
    """The records of waiting videos; use in a with statement."""

    def __init__(self, folder: Folder, waiting: Sequence[Waiting]):
        self._folder = folder
        self.waiting = sorted(waiting, key=lambda video: (video.journal, video.offset))  # in their order on the disk
        self._stack = ExitStack()

    def __enter__(self) -> "Journals":
        journals = dict.fromkeys(video.journal for video in self.waiting)
        self._readers = {name: self._stack.enter_context(JournalReader(self._folder, name)) for name in journals}
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def batches(self) -> Iterator[list["StoredVideo"]]:
        for first in range(0, len(self.waiting), BATCH_VIDEOS):
            yield [self.stored(video) for video in self.waiting[first : first + BATCH_VIDEOS]]

    def stored(self, video: Waiting) -> "StoredVideo":
        return StoredVideo(video.id, self._readers[video.journal], self._readers[video.journal].record(video.offset))


class StoredVideo:
    """A video in a journal."""

    def __init__(self, id: str, journal: JournalReader, last: Record):
        self.id = id
        self._journal = journal
        self.attributes: Mapping[str, Any] = last.header["attributes"]
        self._records = [*(journal.record(offset) for offset in last.header["rows"]), last]

    def arrays(self) -> list[tuple[str, np.dtype[Any], tuple[int, ...]]]:
        """Name, type and shape of each array; its rows may be in several records."""
        found = []
        for name in dict.fromkeys(name for record in self._records for name in record.arrays):
            parts = [record.arrays[name] for record in self._records if name in record.arrays]
            _, dtype, shape = parts[0]
            found.append((name, np.dtype(dtype), (sum(shape[0] for _, _, shape in parts), *shape[1:])))
        return found

    def data(self, name: str) -> Iterator[bytes]:
        """The bytes of an array, in order."""
        for record in self._records:
            if name in record.arrays:
                yield from self._journal.data(record, name, COPIED_BYTES)
