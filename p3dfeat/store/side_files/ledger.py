"""The list of videos that could not be read, beside the feature file."""

import errno
import os
import re
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from p3dfeat.errors import FeatureFileError, OutputError
from p3dfeat.fingerprint import size_and_time
from p3dfeat.system.disk import Folder, SecondNameError, write_at, writing
from p3dfeat.text.jsons import json_line, parse_object
from p3dfeat.text.urls import ADDRESS

TAIL_BYTES: Final = 4096
ENTRY: Final = ("id", "source", "error")
STATE: Final = ("size_bytes", "modified")  # of the file, when it failed
MOST_BYTES: Final = 1 << 30  # of a list; a million failures take a quarter of that

Entry = dict[str, Any]
Key = tuple[str, str]  # id and path: two files may have been given one id


@dataclass(frozen=True)
class _State:
    """What tells that a list is the same, and that nobody else has added to it."""

    size: int
    tail: bytes

    @classmethod
    def of(cls, fd: int) -> Self:
        size = os.fstat(fd).st_size
        return cls(size, os.pread(fd, TAIL_BYTES, max(0, size - TAIL_BYTES)))


class Ledger:
    """``<output>.failed.jsonl``: a line for each video that could not be read, with the reason.

    Use in a with statement, whose end writes it anew without the lines that were dropped. A kill, or a disk that is
    full, loses at most the line that was being written. A link in the list's place is refused. So is a list that
    someone else makes or changes while a run lasts.
    """

    def __init__(self, output: str | Path):
        self.path = Path(f"{output}.failed.jsonl")
        self._earlier: dict[Key, Entry] = {}  # of earlier runs
        self._entries: list[Entry] = []  # of this run
        self._stored_after_all: set[Key] = set()  # of those of earlier runs
        self._size = 0  # of the lines that are whole, in bytes
        self._ended = True  # whether the last of these has a newline
        with writing(self.path), Folder.opened(self.path.parent) as folder:
            self._folder = os.fstat(folder.fd)
            self._state = self._found(folder)  # as this run left it
            if self._state is not None:
                self._recall(folder.read(self.path.name, MOST_BYTES + 1))

    def _recall(self, data: bytes) -> None:
        *lines, last = data.split(b"\n")
        self._size = len(data) - len(last)
        last = last.rstrip(b"\0")  # of a power cut
        try:
            if len(data) > MOST_BYTES:
                raise ValueError
            for line in filter(None, lines):
                entry = _entry(line)
                self._take_in(entry)
        except ValueError:
            raise FeatureFileError(f"{self.path}: not a list of failures; move it out of the way") from None
        try:
            entry = _entry(last)
            self._take_in(entry)
            self._size, self._ended = self._size + len(last), False  # as some editors leave it
        except ValueError:
            if last and (is_object(last) or not b'{"id": "'.startswith(last[:8])):
                raise FeatureFileError(f"{self.path}: not a list of failures; move it out of the way") from None

    def _take_in(self, entry: Entry) -> None:
        """A line of an earlier run. What a user has added to another line of the same video stays in it."""
        self._earlier[_key(entry)] = self._earlier.get(_key(entry), {}) | entry

    def __len__(self) -> int:
        return len(self._earlier) + len(self._entries)

    def entries(self) -> list[Entry]:
        """{"id", "source", "error"} of each video, and "path" where that is another, those of earlier runs first."""
        return [*self._earlier.values(), *self._entries]

    def drop_earlier(self) -> None:
        """Drop all that earlier runs recorded: the output is another one by now."""
        self._earlier.clear()

    def drop_stored(self) -> None:
        """Drop the lines of videos that were stored after all, see ``forget``."""
        for key in self._stored_after_all:
            self._earlier.pop(key, None)

    def record(self, id: str, source: str, error: str, path: str = "") -> None:
        """Add a failure. A kill does not lose it; a power cut may. Raises OutputError.

        source: what the user called the video. path: the file, if there is one.
        What a user has added to an earlier line of the same video stays in it.
        """
        entry = {"id": id, "source": source, "error": error} | _place(source, path)
        before = self._earlier.pop(self._earlier_key(entry), {})
        entry = {name: value for name, value in before.items() if name not in STATE} | entry | _state(path)
        self._entries.append(entry)
        with writing(self.path), self._opened() as folder:
            self._append(folder, _line(entry))

    def is_known(self, id: str, source: str, path: str = "") -> bool:
        """Whether a video failed in an earlier run, and its file is still as it was then, by size and time.

        An address may give something else each time: it is never known.
        """
        entry = self._earlier.get(self._earlier_key({"id": id, "source": source} | _place(source, path)))
        if entry is None or ADDRESS.match(source) or ADDRESS.match(path):
            return False
        return {name: entry[name] for name in STATE if name in entry} == _state(path)

    def _opened(self) -> Folder:
        """The list's folder. What is found under its name once its disk has gone is not the place for a list."""
        folder = Folder.opened(self.path.parent)
        if not os.path.samestat(os.fstat(folder.fd), self._folder):
            folder.close()
            raise OSError(errno.ENOENT, "its folder has vanished")
        return folder

    def _append(self, folder: Folder, line: bytes) -> None:
        self._check_is_ours(folder)
        line = line if self._ended else b"\n" + line
        try:
            fd = folder.new(self.path.name) if self._state is None else folder.open(self.path.name, os.O_RDWR)
        except SecondNameError:  # of a backup of hard links, which stays as it is
            self._write_anew(folder)
            return
        try:
            try:
                write_at(fd, line, self._size)
                os.ftruncate(fd, self._size + len(line))
            except OSError:
                os.ftruncate(fd, self._size)
                raise
            finally:
                self._state = _State.of(fd)
        finally:
            os.close(fd)
        self._size, self._ended = self._size + len(line), True

    def forget(self, id: str, source: str, path: str = "") -> None:
        """A video that failed in an earlier run was stored after all; its line stays until ``drop_stored``.

        The line of another file of the same id stays for good.
        """
        key = self._earlier_key({"id": id, "source": source} | _place(source, path))
        if key in self._earlier:
            self._stored_after_all.add(key)

    def _earlier_key(self, entry: Entry) -> Key:
        """The key of an earlier line of this video. Lines of former versions do not tell the path."""
        key = _key(entry)
        return key if key in self._earlier else (entry["id"], entry["source"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with suppress(*([] if kind is None else [OutputError])):  # what has gone wrong before is what is to be said
            self.save()

    def save(self) -> None:
        """Write the list anew without what was mended, or remove it where nothing failed. Raises OutputError."""
        with writing(self.path), self._opened() as folder:
            self._tidy(folder)
            if len(self):
                self._write_anew(folder)
            elif self._state is not None:
                self._check_is_ours(folder)
                self._check_writable(folder)
                folder.unlink(self.path.name)
                self._state = None

    def _found(self, folder: Folder) -> _State | None:
        """What tells that the list is still the same; None where there is none."""
        try:
            fd = folder.open(self.path.name)
        except FileNotFoundError:
            return None
        try:
            return _State.of(fd)
        finally:
            os.close(fd)

    def _check_is_ours(self, folder: Folder) -> None:
        """Raise OutputError for a list that something else has made or changed; one that was removed is made anew."""
        found = self._found(folder)
        if found is None:
            self._state, self._size, self._ended = None, 0, True
        elif found != self._state:
            done = "made" if self._state is None else "changed"
            raise OutputError(f"{self.path}: {done} by something else while this run computed; move it away")

    def _check_writable(self, folder: Folder) -> None:
        """What may not be written to is neither replaced nor removed. Raises OSError."""
        os.close(folder.open(self.path.name, os.O_RDWR, several_names=True))

    def _tidy(self, folder: Folder) -> None:
        """Remove what runs that were killed had begun to write anew."""
        begun = re.compile(rf"{re.escape(self.path.name)}\.writing-[0-9a-f]{{16}}")
        with suppress(OSError):  # a folder that may be entered, but not listed
            for name in folder.names():
                if begun.fullmatch(name):
                    folder.unlink(name)

    def _write_anew(self, folder: Folder) -> None:
        fresh = f"{self.path.name}.writing-{secrets.token_hex(8)}"
        data = b"".join(map(_line, self.entries()))
        try:
            fd = folder.new(fresh)
            try:
                write_at(fd, data, 0)
            finally:
                os.close(fd)
            self._check_is_ours(folder)
            if self._state is not None:
                self._check_writable(folder)
                os.chmod(fresh, stat.S_IMODE(folder.status(self.path.name).st_mode), dir_fd=folder.fd)
                folder.replace(fresh, self.path.name)
            else:
                folder.link_new(fresh, self.path.name, folder)
        finally:
            folder.unlink(fresh)
        self._state, self._size, self._ended = self._found(folder), len(data), True


def _entry(line: bytes) -> Entry:
    """A line's record, with what a user has added to it. Raises ValueError for what is none."""
    found = parse_object(line, errors="replace")
    if not all(isinstance(found.get(name), str) for name in ENTRY):
        raise ValueError
    return found


def _key(entry: Entry) -> Key:
    return entry["id"], str(entry.get("path", entry["source"]))


def _state(path: str) -> Entry:
    """Size and time of a file; nothing where it cannot be asked."""
    try:
        return dict(zip(STATE, size_and_time(path), strict=True)) if path else {}
    except OSError:
        return {}


def _place(source: str, path: str) -> Entry:
    """{"path": the file, from the root on}, where ``source`` does not say it; nothing for addresses, which may hold
    secrets in their queries.
    """
    if ADDRESS.match(source) or ADDRESS.match(path):
        return {}
    with suppress(FileNotFoundError):  # the folder that the user is in has gone
        place = os.path.abspath(path or source)
        return {} if place == source else {"path": place}
    return {}


def _line(entry: Entry) -> bytes:
    return (json_line(entry) + "\n").encode()


def is_object(line: bytes) -> bool:
    """Whether a line is whole JSON, and so not one that was cut off."""
    try:
        parse_object(line, errors="replace")
    except ValueError:
        return False
    return True
