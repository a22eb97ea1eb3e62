"""The record beside an export of one file: what it was made of, and with which settings."""

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from p3dfeat.errors import UsageError
from p3dfeat.exports.record import FORMAT, MOST_BYTES, SETTINGS, check_same, refuse_foreign, write_new
from p3dfeat.system.disk import Folder, writing
from p3dfeat.text.jsons import json_line, parse_object

STATE: Final = "of"  # of the record: the videos in the file, and its size and time


class Facts:
    """Facts about the videos of this run, on the disk: there may be millions."""

    def __init__(self, file: BinaryIO):
        self._file = file

    def add(self, facts: Mapping[str, Any]) -> None:
        self._file.write(json_line(facts).encode() + b"\n")

    def all(self) -> Iterator[dict[str, Any]]:
        """All facts so far, in order."""
        self._file.seek(0)
        for line in self._file:
            yield parse_object(line)
        self._file.seek(0, os.SEEK_END)


class SingleFile:
    """The output of an export to one file. Raises UsageError, OutputError if something else has its name."""

    def __init__(self, output: Path, settings: Mapping[str, Any]):
        self.output = output
        self._record = output.with_name(f"{output.name}.{SETTINGS}")
        self._settings = {"format": FORMAT, **settings}
        self._state: Any = None
        with writing(output):
            refuse_foreign(output, self._record)
            if self._record.exists():
                found = self._read()
                self._state = found.pop(STATE, None)
                check_same(json.dumps(found).encode(), self._settings, output)

    def _read(self) -> dict[str, Any]:
        if self._record.stat().st_size > MOST_BYTES:
            raise UsageError(f"{self._record}: not an export's record; move it away")
        try:
            return parse_object(self._record.read_bytes())
        except ValueError:
            return {}

    def is_current(self, keys: int) -> bool:
        """Whether the file holds exactly the videos of these keys, and has not been changed."""
        return self.output.exists() and self._state == self._state_of(keys)

    def _state_of(self, keys: int) -> list[int]:
        status = self.output.stat()
        return [keys, status.st_size, status.st_mtime_ns]

    @contextmanager
    def lines(self) -> Iterator[Facts]:
        """A place for facts about videos while the file is written."""
        with tempfile.TemporaryFile() as file:
            yield Facts(file)

    def write(self, name: str, content: Iterable[bytes]) -> None:
        """Write a file beside the output, whose name begins with that of the output."""
        path = self.output.with_name(f"{self.output.name}.{name}")
        with writing(path), Folder.opened(path.parent) as folder:
            write_new(folder, path.name, content)

    def settle(self, keys: int) -> None:
        """The run is complete."""
        record = {**self._settings, STATE: self._state_of(keys) if self.output.exists() else None}
        self.write(SETTINGS, [(json.dumps(record, indent=1) + "\n").encode()])
