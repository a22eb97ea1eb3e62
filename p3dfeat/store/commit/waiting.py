"""Videos in journals, waiting to be added to the feature file."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np

from p3dfeat.store.commit.journal import JournalReader, Record
from p3dfeat.system.disk import Folder

BATCH_VIDEOS: Final = 500  # created by HDF5 before its memory is written to the file
COMPRESSED_BYTES: Final = 64 << 20  # of arrays to be compressed, in one batch
COPIED_BYTES: Final = 4 << 20  # from a journal at a time


@dataclass(frozen=True)
class Waiting:
    """A video that is complete in a journal. offset: of its last record."""

    id: str
    journal: str  # its name in the folder of the journals
    offset: int
    compress: bool = False  # whether arrays with time, height and width are compressed in the file


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
        """Videos that are created together; compressed arrays stay in memory until a batch is written."""
        batch, size = list[StoredVideo](), 0
        for waiting in self.waiting:
            video = self.stored(waiting)
            batch.append(video)
            size += video.compressed_bytes
            if len(batch) == BATCH_VIDEOS or size >= COMPRESSED_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def stored(self, video: Waiting) -> "StoredVideo":
        journal = self._readers[video.journal]
        return StoredVideo(video.id, journal, journal.record(video.offset), compress=video.compress)


class StoredVideo:
    """A video in a journal."""

    def __init__(self, id: str, journal: JournalReader, last: Record, *, compress: bool):
        self.id, self._compress = id, compress
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

    def is_compressed(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape is compressed in the file: one chunk per clip."""
        return self._compress and len(shape) > 2 and min(shape) > 0

    @property
    def compressed_bytes(self) -> int:
        """Size of the arrays that are compressed, before compression."""
        return sum(dtype.itemsize * prod(shape) for _, dtype, shape in self.arrays() if self.is_compressed(shape))

    def data(self, name: str) -> Iterator[bytes]:
        """The bytes of an array, in order."""
        for record in self._records:
            if name in record.arrays:
                yield from self._journal.data(record, name, COPIED_BYTES)
