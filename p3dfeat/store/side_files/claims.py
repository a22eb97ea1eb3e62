"""Claims, the replacement of locks on a file system without them: files that only one process can create.

A run claims the folder of an output by creating the file ``owner`` in it. Each claim identifies its run and has a
token of its own. If a run finds that the run of the last claim is dead, it creates the file ``after-TOKEN``, with that
claim's token. Only one of several runs can do this, so no two take over from the same one. A run that ends removes
``owner`` first; files ``after-...`` without a predecessor are ignored. After a kill at any moment, others can go on.
"""

import json
import os
import re
import secrets
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from p3dfeat.store.side_files.parts import OWNER
from p3dfeat.system.disk import Folder, write_at
from p3dfeat.text.jsons import parse_object

ENDED: Final = "ended"
SIGNATURE_BYTES: Final = 4096  # maximum size of a signature
DEAD: Final = "ZXx"  # states in /proc of processes that have ended, but whose parents have not waited for them yet


@dataclass(frozen=True)
class Holder:
    """A run, as written in its lock or claim.

    system: the scope of process numbers and times: one boot of one machine, in one container.
    started: start time of the process, in the system's count; a later process may get the same number.
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
    def read(cls, signature: bytes) -> "Holder | None":
        """None if the run has just begun, or could not sign."""
        try:
            found = cls(**parse_object(signature))
        except (ValueError, TypeError):
            return None
        texts = (found.host, found.since, found.system, found.started, found.token)
        fits = isinstance(found.pid, int) and 0 < found.pid < 1 << 31 and all(isinstance(text, str) for text in texts)
        return found if fits and re.fullmatch("[0-9a-f]*", found.token) else None

    @property
    def text(self) -> str:
        return json.dumps(asdict(self))

    @property
    def is_of_here(self) -> bool:
        """Whether this process can check if it is alive."""
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
        except PermissionError:  # it is alive, and of another user
            pass
        started = _started(self.pid)
        return bool(self.started and started) and started != self.started

    @property
    def words(self) -> str:
        return f"being written by process {self.pid} on {self.host} since {self.since}"


class ClaimedError(Exception):
    """Another run has the claim. The text says which, and what to do."""


class Claim:
    """A claim on a folder; this run has it once ``take`` returns True."""

    def __init__(self, folder: Folder):
        self._folder = folder
        self._row: dict[str, Holder | None] = {}  # all claims up to this one

    def take(self) -> bool:
        """Claim the folder; False if another run was faster: then try again.

        Raises ClaimedError if a run that may be alive has it, OSError if nothing can be written.
        """
        row = claims(self._folder)
        if words := _words(self._folder, row):
            raise ClaimedError(words)
        last = list(row.values())[-1] if row else None
        name = OWNER if last is None else f"after-{last.token}"
        me = Holder.this()
        try:
            fd = self._folder.new(name)
        except (FileExistsError, FileNotFoundError):
            return False
        try:
            try:
                write_at(fd, me.text.encode(), 0)
            finally:
                os.close(fd)
            row = claims(self._folder)
        except BaseException:
            self._folder.unlink(name)
            raise
        if row.get(name) == me and list(row)[-1] == name:
            self._row = row
            return True
        self._folder.unlink(name)  # the claim before it was released in the meantime
        return False

    @property
    def holds(self) -> bool:
        """Whether this run still has it: a user may have removed it."""
        return claims(self._folder) == self._row

    def give_up(self) -> None:
        """Release the folder for other runs."""
        if self.holds:
            for name in self._row:
                self._folder.unlink(name)


def claims(folder: Folder) -> dict[str, Holder | None]:
    """The claims on a folder by file name: all but the last are of runs that the next one found dead."""
    found: dict[str, Holder | None] = {}
    name = OWNER
    while True:
        try:
            holder = Holder.read(folder.read(name, SIGNATURE_BYTES))
        except FileNotFoundError:
            return found
        found[name] = holder
        if holder is None:
            return found
        name = f"after-{holder.token}"


def claimed(folder: Folder) -> str | None:
    """The run that may be working in a folder, and what to do if it is not; None if there is none."""
    return _words(folder, claims(folder))


def _words(folder: Folder, row: dict[str, Holder | None]) -> str | None:
    if not row:
        return None
    holder = list(row.values())[-1]
    if holder is not None and holder.is_dead:
        return None
    if holder is not None and holder.is_of_here:
        return f"{holder.words}; wait for its end, or choose another output"
    words = "being written by another run" if holder is None else holder.words
    return f"{words}; if that run is no more, remove {folder.path / OWNER}"


def _system() -> str:
    """Boot id and process namespace; empty on systems other than Linux."""
    found = []
    with suppress(OSError):
        found.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        found.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(found)


def _started(pid: int) -> str:
    """Start time of a process, in ticks since boot; ENDED if it has ended; empty if not available."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    state, *fields = text.rpartition(")")[2].split()  # the name before them may contain anything
    return ENDED if state in DEAD else fields[18]  # the 22nd of all, see proc_pid_stat(5)
