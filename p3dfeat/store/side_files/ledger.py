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
MOST_BYTES: Final = 1 << 30  # of a list; a million failures take a quarter of this

Entry = dict[str, Any]
Key = tuple[str, str]  # id and path: two files may have the same id


@dataclass(frozen=True)
class _State:
    """The size and the end of a list. They show whether another program has changed it."""

    size: int
    tail: bytes

    @classmethod
    def of(cls, fd: int) -> Self:
        size = os.fstat(fd).st_size
        return cls(size, os.pread(fd, TAIL_BYTES, max(0, size - TAIL_BYTES)))


class Ledger:
    """``<output>.failed.jsonl``: a line for each video that could not be read, with the reason.

    Use in a with statement: its end rewrites the list without the dropped lines. A kill or a full disk loses at most
    the line being written. A link in place of the list is refused. So is a list that another program creates or
    changes during a run.
    """

    def __init__(self, output: str | Path):
        self.path = Path(f"{output}.failed.jsonl")
        self._earlier: dict[Key, Entry] = {}  # of earlier runs
        self._entries: list[Entry] = []  # of this run
        self._stored_after_all: set[Key] = set()  # entries of earlier runs
        self._size = 0  # of the complete lines, in bytes
        self._ended = True  # whether the last of these ends with a newline
        with writing(self.path), Folder.opened(self.path.parent) as folder:
            self._folder = os.fstat(folder.fd)
            self._state = self._found(folder)  # as this run left it
            if self._state is not None:
                self._recall(folder.read(self.path.name, MOST_BYTES + 1))

    def _recall(self, data: bytes) -> None:
        *lines, last = data.split(b"\n")
        self._size = len(data) - len(last)
        last = last.rstrip(b"\0")  # from a power cut
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
            self._size, self._ended = self._size + len(last), False  # some editors leave it like this
        except ValueError:
            if last and (is_object(last) or not b'{"id": "'.startswith(last[:8])):
                raise FeatureFileError(f"{self.path}: not a list of failures; move it out of the way") from None

    def _take_in(self, entry: Entry) -> None:
        """Add a line of an earlier run. Fields that a user added to another line of the same video are kept."""
        self._earlier[_key(entry)] = self._earlier.get(_key(entry), {}) | entry

    def __len__(self) -> int:
        return len(self._earlier) + len(self._entries)

    def entries(self) -> list[Entry]:
        """{"id", "source", "error"} of each video, and "path" if it differs from source; earlier runs first."""
        return [*self._earlier.values(), *self._entries]

    def drop_earlier(self) -> None:
        """Drop all lines of earlier runs: the output has been replaced."""
        self._earlier.clear()

    def drop_stored(self) -> None:
        """Drop the lines of videos that have been stored since, see ``forget``."""
        for key in self._stored_after_all:
            self._earlier.pop(key, None)

    def record(self, id: str, source: str, error: str, path: str = "") -> None:
        """Add a failure. A kill does not lose it; a power cut may. Raises OutputError.

        source: the name given by the user. path: the file, if there is one.
        Fields that a user added to an earlier line of the same video are kept.
        """
        entry = {"id": id, "source": source, "error": error} | _place(source, path)
        before = self._earlier.pop(self._earlier_key(entry), {})
        entry = {name: value for name, value in before.items() if name not in STATE} | entry | _state(path)
        self._entries.append(entry)
        with writing(self.path), self._opened() as folder:
            self._append(folder, _line(entry))

    def is_known(self, id: str, source: str, path: str = "") -> bool:
        """Whether a video failed in an earlier run, and its file still has the same size and time.

        The content of an address may change each time: it is never known.
        """
        entry = self._earlier.get(self._earlier_key({"id": id, "source": source} | _place(source, path)))
        if entry is None or ADDRESS.match(source) or ADDRESS.match(path):
            return False
        return {name: entry[name] for name in STATE if name in entry} == _state(path)

    def _opened(self) -> Folder:
        """The list's folder. Raises OSError if its disk is gone and the name leads to another folder."""
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
        except SecondNameError:  # a backup of hard links must not change
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
        """A video that failed in an earlier run is now stored; its line stays until ``drop_stored``.

        The line of another file with the same id stays permanently.
        """
        key = self._earlier_key({"id": id, "source": source} | _place(source, path))
        if key in self._earlier:
            self._stored_after_all.add(key)

    def _earlier_key(self, entry: Entry) -> Key:
        """The key of an earlier line of this video. Lines of older versions do not have the path."""
        key = _key(entry)
        return key if key in self._earlier else (entry["id"], entry["source"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with suppress(*([] if kind is None else [OutputError])):  # the first error is the one to report
            self.save()

    def save(self) -> None:
        """Rewrite the list without the dropped lines, or remove it if nothing failed. Raises OutputError."""
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
        """The state of the list; None if there is none."""
        try:
            fd = folder.open(self.path.name)
        except FileNotFoundError:
            return None
        try:
            return _State.of(fd)
        finally:
            os.close(fd)

    def _check_is_ours(self, folder: Folder) -> None:
        """Raise OutputError if another program created or changed the list; a removed list is created again."""
        found = self._found(folder)
        if found is None:
            self._state, self._size, self._ended = None, 0, True
        elif found != self._state:
            done = "made" if self._state is None else "changed"
            raise OutputError(f"{self.path}: {done} by something else while this run computed; move it away")

    def _check_writable(self, folder: Folder) -> None:
        """Raise OSError if the list is not writable: it is then neither replaced nor removed."""
        os.close(folder.open(self.path.name, os.O_RDWR, several_names=True))

    def _tidy(self, folder: Folder) -> None:
        """Remove unfinished new lists of killed runs."""
        begun = re.compile(rf"{re.escape(self.path.name)}\.writing-[0-9a-f]{{16}}")
        with suppress(OSError):  # a folder without read permission
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
    """A line's record, with fields that a user added. Raises ValueError if it is not a record."""
    found = parse_object(line, errors="replace")
    if not all(isinstance(found.get(name), str) for name in ENTRY):
        raise ValueError
    return found


def _key(entry: Entry) -> Key:
    return entry["id"], str(entry.get("path", entry["source"]))


def _state(path: str) -> Entry:
    """Size and time of a file; empty if not available."""
    try:
        return dict(zip(STATE, size_and_time(path), strict=True)) if path else {}
    except OSError:
        return {}


def _place(source: str, path: str) -> Entry:
    """{"path": absolute path of the file}, if it differs from ``source``; empty for addresses, whose queries may hold
    secrets.
    """
    if ADDRESS.match(source) or ADDRESS.match(path):
        return {}
    with suppress(FileNotFoundError):  # the working folder is gone
        place = os.path.abspath(path or source)
        return {} if place == source else {"path": place}
    return {}


def _line(entry: Entry) -> bytes:
    return (json_line(entry) + "\n").encode()


def is_object(line: bytes) -> bool:
    """Whether a line is complete JSON, and so not truncated."""
    try:
        parse_object(line, errors="replace")
    except ValueError:
        return False
    return True
