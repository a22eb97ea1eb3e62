"""The list of videos that could not be read, beside the feature file."""

import errno
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from p3dfeat.disk import replace, write_at, writing
from p3dfeat.errors import FeatureFileError

ENTRY: Final = ("id", "source", "error")


class Ledger:
    """``<output>.failed.jsonl``: a line for each video that could not be read, with the reason.

    Use in a with statement, whose end drops the lines of videos that were stored after all. A kill, or a disk that is
    full, loses at most the line that was being written.
    """

    def __init__(self, output: str | Path):
        self.path = Path(f"{output}.failed.jsonl")
        self._earlier: dict[str, dict[str, str]] = {}  # of earlier runs, by id
        self._entries: list[dict[str, str]] = []  # of this run
        self._size = 0  # of the lines that are whole, in bytes
        with writing(self.path):
            self._folder = os.stat(self.path.parent)
            if self.path.exists():
                self._recall(self.path.read_bytes())

    def _recall(self, data: bytes) -> None:
        *lines, last = data.split(b"\n")
        self._size = len(data) - len(last)
        try:
            for line in filter(None, lines):
                entry = json.loads(line.decode("utf-8", "replace"))
                self._earlier[entry["id"]] = {name: entry[name] for name in ENTRY}
        except (ValueError, KeyError, TypeError):
            raise FeatureFileError(f"{self.path}: not a list of failures; move it out of the way") from None
        if last and not lines and not b'{"id": "'.startswith(last[:8]):  # not a first line that was cut off
            raise FeatureFileError(f"{self.path}: not a list of failures; move it out of the way")
        with suppress(ValueError, KeyError, TypeError):
            entry = json.loads(last.decode("utf-8", "replace"))
            self._earlier[entry["id"]] = {name: entry[name] for name in ENTRY}

    def __len__(self) -> int:
        return len(self._earlier) + len(self._entries)

    def entries(self) -> list[dict[str, str]]:
        """{"id", "source", "error"} of each video, those of earlier runs first."""
        return [*self._earlier.values(), *self._entries]

    def clear(self) -> None:
        """Forget what earlier runs recorded."""
        self._earlier.clear()

    def record(self, id: str, source: str, error: str) -> None:
        """Add a failure, on disk at once. Raises OutputError."""
        self._earlier.pop(id, None)
        entry = dict(zip(ENTRY, (id, source, error), strict=True))
        self._entries.append(entry)
        with writing(self.path):
            self._check_folder()
            self._append(_line(entry))

    def _check_folder(self) -> None:
        """What is found under the folder's name once its disk has gone is not the place for a list. Raises OSError."""
        if not os.path.samestat(os.stat(self.path.parent), self._folder):
            raise OSError(errno.ENOENT, "its folder has vanished")

    def _append(self, line: bytes) -> None:
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            try:
                write_at(fd, line, self._size)
                os.ftruncate(fd, self._size + len(line))
            except OSError:
                os.ftruncate(fd, self._size)
                raise
        finally:
            os.close(fd)
        self._size += len(line)

    def forget(self, id: str) -> None:
        """A video that failed in an earlier run was stored after all."""
        self._earlier.pop(id, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.save()

    def save(self) -> None:
        """Write the list anew without what was mended, or remove it where nothing failed. Raises OutputError."""
        fresh = self.path.with_name(self.path.name + ".writing")
        data = b"".join(map(_line, (*self._earlier.values(), *self._entries)))
        with writing(self.path):
            self._check_folder()
            fresh.unlink(missing_ok=True)  # of a run that was killed
            if not data:
                self.path.unlink(missing_ok=True)
                return
            try:
                fresh.write_bytes(data)
                replace(fresh, self.path)
            finally:
                fresh.unlink(missing_ok=True)
            self._size = len(data)


def _line(entry: dict[str, str]) -> bytes:
    return (json.dumps(entry, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
