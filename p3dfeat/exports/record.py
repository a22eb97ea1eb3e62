"""What an export has done so far, kept beside it: run again, it does only what is missing."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final, Self

from p3dfeat.errors import OutputError, UsageError
from p3dfeat.system.disk import Folder, writing
from p3dfeat.text.jsons import json_line, parse_object

SETTINGS: Final = "export.json"
DONE: Final = ".export-done.jsonl"
FORMAT: Final = "p3dfeat-export"
MOST_BYTES: Final = 16 << 20  # of a record of settings
FLUSHED_LINES: Final = 64


def key_of(*facts: Any) -> int:
    """A number for facts about a video; equal only if they are."""
    text = json.dumps(facts, sort_keys=True).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


class Record:
    """The record of an export to a folder; use in a with statement. Memory: some bytes per video.

    Raises UsageError if the folder holds something else, or an export with other settings.
    """

    def __init__(self, output: Path, settings: Mapping[str, Any]):
        self._output = output
        self._settings = {"format": FORMAT, **settings}
        with writing(output):
            os.makedirs(output, exist_ok=True)
            self.folder = Folder.opened(output)
        try:
            with writing(output):
                self._check()
                self._done = self._recalled()
                self._lines = os.fdopen(self._log(), "ab+")
                self._end = self._lines.seek(0, os.SEEK_END)
        except BaseException:
            self.folder.close()
            raise
        self._order: list[int] = []  # places of the lines of this run's videos
        self._added = 0  # lines

    def _check(self) -> None:
        if self.folder.holds(SETTINGS):
            check_same(self.folder.read(SETTINGS, MOST_BYTES), self._settings, self._output)
            return
        others = [name for name in self.folder.names() if name not in (DONE, f"{SETTINGS}.writing")]
        if others:
            raise UsageError(f"{self._output}: holds {others[0]!r}, and no export; choose a new folder")
        self.write(SETTINGS, [(json.dumps(self._settings, indent=1) + "\n").encode()])

    def _log(self) -> int:
        return self.folder.open(DONE, os.O_RDWR | os.O_APPEND) if self.folder.holds(DONE) else self.folder.new(DONE)

    def _recalled(self) -> dict[int, int]:
        """The place of each video's line. A line that a kill has cut is removed."""
        found: dict[int, int] = {}
        if not self.folder.holds(DONE):
            return found
        with os.fdopen(self.folder.open(DONE, os.O_RDWR), "rb+") as lines:
            place = 0
            for line in lines:
                try:
                    found[int(parse_object(line)["key"])] = place
                except (ValueError, KeyError, TypeError):
                    lines.truncate(place)
                    break
                place += len(line)
        return found

    def has(self, key: int, path: PurePosixPath) -> bool:
        """Whether a video's file is there, from an earlier run; if so, its line counts for this run, too."""
        place = self._done.get(key)
        if place is None:
            return False
        try:
            there = os.stat(path, dir_fd=self.folder.fd, follow_symlinks=False).st_size > 0
        except OSError:
            return False
        if there:
            self._order.append(place)
        return there

    def add(self, key: int, facts: Mapping[str, Any]) -> None:
        """A video's file is complete."""
        line = json_line({"key": key, **facts}).encode() + b"\n"
        self._order.append(self._end)
        self._added += 1
        self._end += len(line)
        self._lines.write(line)
        if len(self._order) % FLUSHED_LINES == 0:
            self._lines.flush()

    def facts(self) -> Iterator[dict[str, Any]]:
        """The facts about all videos of this run, in order, those of earlier runs included."""
        self._lines.flush()
        here = -1
        for place in self._order:
            if place != here:  # most lines follow each other
                self._lines.seek(place)
            line = self._lines.readline()
            here = place + len(line)
            facts: dict[str, Any] = json.loads(line)
            yield facts

    def write(self, name: str, content: Iterable[bytes]) -> None:
        """Write a file beside the features."""
        with writing(self._output):
            write_new(self.folder, name, content)

    def settle(self) -> None:
        """The run is complete: drop the lines of videos that are no longer in the feature files."""
        if len(self._done) + self._added == len(self._order):
            return
        self.write(DONE, (json_line(facts).encode() + b"\n" for facts in self.facts()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self.folder.close()


def write_new(folder: Folder, name: str, content: Iterable[bytes]) -> None:
    """Write a file, which replaces one of that name when it is complete. Raises OSError."""
    with folder.new_below(PurePosixPath(name)) as fd, os.fdopen(os.dup(fd), "wb") as file:
        file.writelines(content)


def check_same(stored: bytes, settings: Mapping[str, Any], place: Path) -> None:
    """Raise UsageError unless an export's record has these settings."""
    try:
        found = parse_object(stored)
    except (ValueError, TypeError):
        found = {}
    if found.get("format") != FORMAT:
        raise UsageError(f"{place}: holds an {SETTINGS} that is not an export's; choose another place")
    wanted = parse_object(json.dumps(settings))
    for name in wanted.keys() | found.keys():
        if found.get(name) != wanted.get(name):
            was, now = (shortened_json(record.get(name)) for record in (found, wanted))
            raise UsageError(f"{place}: holds an export with {name} {was}, not {now}; choose another place")


def shortened_json(value: Any) -> str:
    """A setting in a message."""
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def refuse_foreign(path: Path, record: Path) -> None:
    """Raise OutputError for an existing file that no export has written."""
    if path.exists() and not record.exists():
        raise OutputError(f"{path}: exists, and is no export of p3dfeat; choose another name, or remove it")
