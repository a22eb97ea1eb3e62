"""The lock on the folder beside a feature file: only one run at a time works in it."""

import errno
import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from p3dfeat.errors import OutputError
from p3dfeat.store.side_files.claims import SIGNATURE_BYTES, Claim, ClaimedError, Holder, claimed
from p3dfeat.store.side_files.parts import (
    LOCK,
    OWNER,
    check_ours,
    journals,
    opened_parts,
    parts_of,
    remove_all,
    target_of,
    user_name,
)
from p3dfeat.system.disk import Folder, write_at, writing


class Lock:
    """Excludes other runs from an output during a with statement.

    The system releases it when the process ends in any way. On a file system without locks, a claim replaces it (see
    claims.py). Raises OutputError if another run holds it (the text says which), if the output's folder is missing or
    not writable, or if the folder ``parts`` is not p3dfeat's, or holds a file that is not.
    target: the file that is written; if the output is a link, its target. It is looked up once.
    folder: the open folder ``parts``, in which no link is followed.
    warning: about a file system without locks; otherwise None.
    """

    folder: Folder

    def __init__(self, output: str | Path):
        self.output = Path(output)
        self.target = target_of(self.output)
        self.parts = parts_of(self.target)
        self.warning: str | None = None
        self._claim: Claim | None = None

    def __enter__(self) -> Self:
        if not os.path.isdir(self.parts.parent):
            raise OutputError(f"{self.output}: its folder {self.parts.parent} does not exist; make it first")
        with writing(self.output):
            self._beside = Folder.opened(self.parts.parent)
            try:
                while not self._taken():
                    continue  # the run that held it ended and removed the folder
            except BaseException:
                self._beside.close()
                raise
        return self

    def _taken(self) -> bool:
        with suppress(FileExistsError):
            self._beside.make_folder(self.parts.name)
        try:
            folder = self._beside.inner(self.parts.name)
        except FileNotFoundError:  # another run has just removed it
            return False
        except PermissionError:
            owner = user_name(self._beside.status(self.parts.name).st_uid)
            raise OutputError(
                f"{self.parts}: of a run of another user, {owner}, who alone can finish it; choose another output"
            ) from None
        try:
            taken = self._taken_in(folder)
        except BaseException:
            folder.close()
            raise
        if taken:
            self.folder = folder
        else:
            folder.close()
        return taken

    def _taken_in(self, folder: Folder) -> bool:
        check_ours(folder, self._beside)
        try:
            self._file = os.fdopen(_opened(folder), "r+b", buffering=0)  # open for as long as the run
        except FileNotFoundError:
            return False
        fd, taken = self._file.fileno(), False
        try:
            try:
                _hold(fd)
            except BlockingIOError:
                text = f"{self.output}: {_holder(fd)}; wait for its end, or choose another output"
                raise OutputError(text) from None
            except OSError:
                return self._claimed(folder)
            taken = self._is_there(folder, fd)
            if taken:
                _sign(fd)
            return taken
        finally:
            if not taken:
                self._file.close()

    def _is_there(self, folder: Folder, fd: int) -> bool:
        """Whether the locked file and folder still have their names: the run that held them may have removed them."""
        try:
            same_file = os.path.samestat(os.fstat(fd), folder.status(LOCK))
            return same_file and os.path.samestat(os.fstat(folder.fd), self._beside.status(self.parts.name))
        except FileNotFoundError:
            return False

    def check_folder(self) -> None:
        """Raise OSError if the output's folder is no longer the locked one: links and mounts may change."""
        if not os.path.samestat(os.stat(self.parts.parent), os.fstat(self._beside.fd)):
            raise OSError(errno.ENOENT, "its folder has vanished")

    def _claimed(self, folder: Folder) -> bool:
        """Take a claim, on a file system without locks."""
        claim = Claim(folder)
        try:
            if not claim.take():
                return False
        except ClaimedError as error:
            raise OutputError(f"{self.output}: {error}") from None
        self._claim = claim
        self.warning = (
            f"{self.output}: its file system has no locks; {self.parts / OWNER} keeps other runs away instead, "
            "and stays if a run is killed on another host"
        )
        return True

    def __exit__(self, *_: object) -> None:
        """Release the lock, and remove the folder if it is no longer needed."""
        try:
            with suppress(OSError):
                self._leave()
        finally:
            self._file.close()
            self.folder.close()
            self._beside.close()

    def _leave(self) -> None:
        if journals(self.folder):  # the next run resumes from them
            if self._claim is not None:
                self._claim.give_up()
        elif self._claim is None or self._claim.holds:
            remove_all(self.folder)
            self._beside.remove_folder(self.parts.name)


def unfinished(output: Path) -> str | None:
    """The state of an unfinished run on an output, as half a sentence; None if there is none."""
    try:
        folder = opened_parts(output)
        if folder is None:
            return None
        with folder:
            return _unfinished(folder)
    except PermissionError:
        return "a run of another user works on it, or was interrupted"
    except OSError:
        return None


def _unfinished(folder: Folder) -> str | None:
    fd = folder.open(LOCK)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(fd)
    except OSError:  # a file system without locks
        if words := claimed(folder):
            return words
    finally:
        os.close(fd)
    return "a run was interrupted, and the same extract command finishes it" if journals(folder) else None


def _opened(folder: Folder) -> int:
    """The lock file, created if needed. Raises FileNotFoundError if the folder is being removed at this moment."""
    try:
        return folder.new(LOCK)
    except FileExistsError:
        return folder.open(LOCK, os.O_RDWR, several_names=True)  # locking it changes nothing


def _sign(fd: int) -> None:
    """Write the holder into the file; not on a full disk (the lock still holds), nor in a backup of hard links."""
    with suppress(OSError):
        if os.fstat(fd).st_nlink == 1:
            os.ftruncate(fd, 0)
            write_at(fd, Holder.this().text.encode(), 0)


def _hold(fd: int) -> None:
    """Raises BlockingIOError if another run holds it. ``unfinished`` also holds it, but only for a moment."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(0.05)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(fd: int) -> str:
    """The holder of the lock, in words, as that run signed it."""
    holder = None
    with suppress(OSError):
        holder = Holder.read(os.pread(fd, SIGNATURE_BYTES, 0))
    return "being written by another run" if holder is None else holder.words
