"""What a run writes before the feature file is made anew: a journal, to whose end each video goes when it is done.

A journal is a row of records: a header in JSON, then the bytes of arrays. Its first record holds the settings of the
run. Appending costs the same for the first video and the hundred thousandth, and a kill can only cut off the record
that was being written, which readers then pass over.
"""

import json
import math
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from p3dfeat.store.side_files.parts import JOURNAL_START, journals
from p3dfeat.system.disk import Folder, ForeignError, bring_out_of_memory
from p3dfeat.text.jsons import parse_object
from p3dfeat.types import is_id

MARK: Final = JOURNAL_START
SYNCED_BYTES: Final = 64 << 20  # written between two times that the system is made to bring all to the disk
NOT_WRITTEN: Final = "a journal that p3dfeat did not write"
HEAD: Final = struct.Struct("<8sIQI")  # mark, bytes of the header, bytes of the arrays, checksum of both

Arrays = Mapping[str, NDArray[Any]]


def next_journal(folder: Folder) -> str:
    """A name after those of all journals in a folder."""
    found = journals(folder)
    return f"{int(found[-1].partition('.')[0]) + 1 if found else 0:08d}.journal"


@dataclass(frozen=True)
class Record:
    """A header, and where in the journal its arrays are.

    offset: of the record. arrays: {name: (offset, type, shape)}.
    """

    offset: int
    header: Mapping[str, Any]
    arrays: Mapping[str, tuple[int, str, tuple[int, ...]]]


class JournalWriter:
    """Appends records to a new journal. Raises OSError; the journal then ends with the last whole record."""

    def __init__(self, folder: Folder, name: str):
        self.name, self._path, self._folder = name, folder.path / name, folder
        self._file = os.fdopen(folder.new(name), "wb", buffering=0)  # open for as long as the run
        self._end = self._synced = 0

    def append(self, header: Mapping[str, Any], arrays: Arrays | None = None) -> int:
        """Add a record; return its offset. What is appended outlives this process, however it ends."""
        arrays = {name: np.ascontiguousarray(values) for name, values in (arrays or {}).items()}
        about = [[name, values.dtype.str, values.shape] for name, values in arrays.items()]
        if self._end - self._synced > SYNCED_BYTES:
            self._sync()
        text = json.dumps({"header": header, "arrays": about}).encode()
        payload = b"".join(values.tobytes() for values in arrays.values())
        checksum = zlib.crc32(payload, zlib.crc32(text))
        try:
            self._write(HEAD.pack(MARK, len(text), len(payload), checksum) + text + payload)
        except BaseException:  # a disk that is full, or Ctrl-C: what comes later must not stand behind half a record
            self._file.truncate(self._end)
            self._file.seek(self._end)
            raise
        offset, self._end = self._end, self._file.tell()
        return offset

    @property
    def size(self) -> int:
        """In bytes."""
        return self._end

    def is_there(self) -> bool:
        """Whether it is still found by its name, by others that take it up: its disk may have vanished."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), os.lstat(self._path))
        except OSError:
            return False

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]

    def _sync(self) -> None:
        bring_out_of_memory(self._file.fileno(), self._synced, self._end)
        if not self._synced:
            self._folder.keep_names()  # else the journal itself may have no name after a power cut
        self._synced = self._end

    def close(self) -> None:
        self._file.close()


class JournalReader:
    """Reads a journal's records, in order or by their offsets; use in a with statement.

    Raises OSError, and ForeignError for a file that is no journal.
    """

    def __init__(self, folder: Folder, name: str):
        self._path = folder.path / name
        self._file = os.fdopen(folder.open(name), "rb")  # until the with statement ends
        self._size = os.fstat(self._file.fileno()).st_size

    def __iter__(self) -> Iterator[Record]:
        """All whole records up to the first that is not: a kill leaves half a one, a power cut may leave worse."""
        offset = 0
        while (found := self._checked(offset)) is not None:
            record, offset = found
            yield record

    def _checked(self, offset: int) -> tuple[Record, int] | None:
        """The record at ``offset`` and where the next one begins; None where there is none, or a damaged one."""
        head = self._read(offset, HEAD.size)
        if len(head) < HEAD.size:
            return None
        mark, text_bytes, payload_bytes, checksum = HEAD.unpack(head)
        end = offset + HEAD.size + text_bytes + payload_bytes
        if mark != MARK or not text_bytes or end > self._size:
            return None
        text = self._file.read(text_bytes)
        if zlib.crc32(self._file.read(payload_bytes), zlib.crc32(text)) != checksum:
            return None
        return self._record(offset, text, payload_bytes), end

    def record(self, offset: int) -> Record:
        """The record at ``offset``, which is known to be whole."""
        head = self._read(offset, HEAD.size)
        if len(head) < HEAD.size:
            raise ForeignError(self._path, NOT_WRITTEN)
        _, text_bytes, payload_bytes, _ = HEAD.unpack(head)
        return self._record(offset, self._file.read(text_bytes), payload_bytes)

    def _record(self, offset: int, text: bytes, payload_bytes: int) -> Record:
        """Raises ForeignError for one that p3dfeat does not write, though its checksum is right."""
        try:
            about = parse_object(text, most_bytes=self._size)
            header, arrays, start = dict(about["header"]), {}, offset + HEAD.size + len(text)
            at = start
            for name, dtype, shape in about["arrays"]:
                if np.dtype(dtype).kind not in "fiu" or min(shape) < 0:
                    raise ValueError
                arrays[str(name)] = (at, str(dtype), tuple(map(int, shape)))
                at += math.prod(shape) * np.dtype(dtype).itemsize
            if at != start + payload_bytes or not _is_header(header):
                raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            raise ForeignError(self._path, NOT_WRITTEN) from None
        return Record(offset, header, arrays)

    def data(self, record: Record, name: str, count: int) -> Iterator[bytes]:
        """The bytes of an array, at most ``count`` at once."""
        offset, dtype, shape = record.arrays[name]
        end = offset + int(np.prod(shape)) * np.dtype(dtype).itemsize
        for first in range(offset, end, count):
            yield self._read(first, min(count, end - first))

    def _read(self, offset: int, count: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(count)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _is_header(header: Mapping[str, Any]) -> bool:
    if "video" in header:
        attributes, rows = header["attributes"], header["rows"]
        plain = all(isinstance(value, str | int | float) for value in attributes.values())
        return plain and is_id(header["video"]) and all(isinstance(row, int) and row >= 0 for row in rows)
    return "dropped" not in header or is_id(header["dropped"])
