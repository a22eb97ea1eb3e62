"""Who works on an output on a file system without locks: claims, which are files that only one process can make.

A run claims the folder of an output by making the file ``owner`` in it. Each claim says who made it and has a token of
its own. Where a run finds that the one that made the last claim is dead, it makes the file ``after-TOKEN``, with that
claim's token: of several runs only one can, so no two take over from the same one. A run that ends removes ``owner``
first; files ``after-...`` that nothing leads to mean nothing. A kill at any moment leaves what others can go on from.
"""

import json
import os
import secrets
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from p3dfeat.disk import write_at

FIRST: Final = "owner"
ENDED: Final = "ended"
DEAD: Final = "ZXx"  # states in /proc of processes that have ended, which their parents have not asked for yet


@dataclass(frozen=True)
class Holder:
    """A run, as it signs what it holds.

    system: what process numbers count on, and their times: one start of one machine, seen from one container.
    started: when the process began, by the system's own count; a later one may get its number.
    """

    pid: int
    host: str
    since: str
    system: str = ""
    started: str = ""
    token: str = ""

    @classmethod
    def this(cls) -> "Holder":
        pid, since = os.getpid(), datetime.now(UTC).isoformat(timespec="seconds")
        return cls(pid, socket.gethostname(), since, _system(), _started(pid), secrets.token_hex(8))

    @classmethod
    def read(cls, text: str) -> "Holder | None":
        """None where it has just begun, or could not sign."""
        try:
            found = cls(**json.loads(text))
        except (ValueError, TypeError):
            return None
        return found if isinstance(found.pid, int) else None

    @property
    def text(self) -> str:
        return json.dumps(asdict(self))

    @property
    def is_of_here(self) -> bool:
        """Whether this process can tell if it lives."""
        return (self.host, self.system) == (socket.gethostname(), _system())

    @property
    def is_dead(self) -> bool:
        """Whether it is known to have ended."""
        if not self.is_of_here:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # it is another user's, and lives
            pass
        started = _started(self.pid)
        return bool(self.started and started) and started != self.started

    @property
    def words(self) -> str:
        return f"being written by process {self.pid} on {self.host} since {self.since}"


class ClaimedError(Exception):
    """Another run has the claim. Its text says which, and what to do."""


class Claim:
    """On a folder; it is this run's once ``take`` returns True."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._row: dict[str, Holder | None] = {}  # up to this one

    def take(self) -> bool:
        """Claim the folder; False where others were quicker, and it is to be looked at again.

        Raises ClaimedError where a run that may be alive has it, OSError where nothing can be written.
        """
        row = claims(self._folder)
        if words := _words(self._folder, row):
            raise ClaimedError(words)
        last = list(row.values())[-1] if row else None
        name = FIRST if last is None else f"after-{last.token}"
        me = Holder.this()
        try:
            fd = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except (FileExistsError, FileNotFoundError):
            return False
        try:
            try:
                write_at(fd, me.text.encode(), 0)
            finally:
                os.close(fd)
            row = claims(self._folder)
        except BaseException:
            (self._folder / name).unlink(missing_ok=True)
            raise
        if row.get(name) == me and list(row)[-1] == name:
            self._row = row
            return True
        (self._folder / name).unlink(missing_ok=True)  # what it followed was given up meanwhile
        return False

    def give_up(self, *, empty: bool) -> None:
        """Let others claim the folder. empty: remove it, with all that is in it, if nobody is quicker."""
        with suppress(OSError):
            if claims(self._folder) != self._row:  # it was taken away by hand, and what is there may be another run's
                return
            for path in list(self._folder.iterdir()) if empty else []:
                if path.name not in self._row:
                    path.unlink(missing_ok=True)
            for name in self._row:
                (self._folder / name).unlink(missing_ok=True)
            if empty:
                self._folder.rmdir()


def claims(folder: Path) -> dict[str, Holder | None]:
    """The claims on a folder by their files' names: each but the last is of a run that the next one found dead."""
    found: dict[str, Holder | None] = {}
    name = FIRST
    while True:
        try:
            holder = Holder.read((folder / name).read_text(encoding="utf-8", errors="replace"))
        except (FileNotFoundError, NotADirectoryError):
            return found
        found[name] = holder
        if holder is None:
            return found
        name = f"after-{holder.token}"


def claimed(folder: Path) -> str | None:
    """Who may be working in a folder, and what to do if that is not so; None where nobody is."""
    return _words(folder, claims(folder))


def _words(folder: Path, row: dict[str, Holder | None]) -> str | None:
    if not row:
        return None
    holder = list(row.values())[-1]
    if holder is not None and holder.is_dead:
        return None
    if holder is not None and holder.is_of_here:
        return f"{holder.words}; wait for its end, or choose another output"
    words = "being written by another run" if holder is None else holder.words
    return f"{words}; if that run is no more, remove {folder / FIRST}"


def _system() -> str:
    """Told by Linux alone."""
    found = []
    with suppress(OSError):
        found.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        found.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(found)


def _started(pid: int) -> str:
    """When a process began, in ticks since the system did; ENDED of one that has; nothing where no one tells."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    state, *fields = text.rpartition(")")[2].split()  # the name before them may hold anything
    return ENDED if state in DEAD else fields[18]  # the 22nd of all, see proc_pid_stat(5)
