"""The journal of a run: each finished video is appended to it, before it is added to the feature file.

A journal is a sequence of records: a header in JSON, then the bytes of arrays. Its first record holds the settings of
the run. Appending costs the same for the first video and the hundred thousandth. A kill can only truncate the record
that is being written, which readers then skip.
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
SYNCED_BYTES: Final = 64 << 20  # written between two syncs to the disk
NOT_WRITTEN: Final = "a journal that p3dfeat did not write"
HEAD: Final = struct.Struct("<8sIQI")  # mark, bytes of the header, bytes of the arrays, checksum of both

Arrays = Mapping[str, NDArray[Any]]


def next_journal(folder: Folder) -> str:
    """The next name after all journals in a folder."""
    found = journals(folder)
    return f"{int(found[-1].partition('.')[0]) + 1 if found else 0:08d}.journal"


@dataclass(frozen=True)
class Record:
    """A header, and the places of its arrays in the journal.

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
        """Add a record; return its offset. The record survives any end of this process."""
        arrays = {name: np.ascontiguousarray(values) for name, values in (arrays or {}).items()}
        about = [[name, values.dtype.str, values.shape] for name, values in arrays.items()]
        if self._end - self._synced > SYNCED_BYTES:
            self._sync()
        text = json.dumps({"header": header, "arrays": about}).encode()
        payload = b"".join(values.tobytes() for values in arrays.values())
        checksum = zlib.crc32(payload, zlib.crc32(text))
        try:
            self._write(HEAD.pack(MARK, len(text), len(payload), checksum) + text + payload)
        except BaseException:  # a full disk or Ctrl-C: later records must not follow half a record
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
        """Whether it still has its name, so that later runs find it: its disk may be gone."""
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
            self._folder.keep_names()  # otherwise the journal may have no name after a power cut
        self._synced = self._end

    def close(self) -> None:
        self._file.close()


class JournalReader:
    """Reads a journal's records, in order or by their offsets; use in a with statement.

    Raises OSError, and ForeignError for a file that is not a journal.
    """

    def __init__(self, folder: Folder, name: str):
        self._path = folder.path / name
        self._file = os.fdopen(folder.open(name), "rb")  # until the with statement ends
        self._size = os.fstat(self._file.fileno()).st_size

    def __iter__(self) -> Iterator[Record]:
        """All complete records up to the first that is not: a kill leaves half a record, a power cut may do worse."""
        offset = 0
        while (found := self._checked(offset)) is not None:
            record, offset = found
            yield record

    def _checked(self, offset: int) -> tuple[Record, int] | None:
        """The record at ``offset``, and the offset of the next one; None if there is none, or it is damaged."""
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
        """The record at ``offset``, which is known to be complete."""
        head = self._read(offset, HEAD.size)
        if len(head) < HEAD.size:
            raise ForeignError(self._path, NOT_WRITTEN)
        _, text_bytes, payload_bytes, _ = HEAD.unpack(head)
        return self._record(offset, self._file.read(text_bytes), payload_bytes)

    def _record(self, offset: int, text: bytes, payload_bytes: int) -> Record:
        """Raises ForeignError for a record that p3dfeat does not write, although its checksum is correct."""
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
        """The bytes of an array, at most ``count`` at a time."""
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
