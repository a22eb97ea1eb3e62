"""The folder beside a feature file that one run at a time works in."""

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
    """Keeps other runs off an output, from one end of a with statement to the other.

    The system gives it up when the process dies, however it dies. On a file system without locks, a claim stands in for
    it (see claims.py). Raises OutputError where another run holds it, and says which; where the output's folder is
    missing or not writable; where something that is not p3dfeat's has the name of the folder, or lies in it.
    target: the file that is written, which the output may be a link to; it is looked up once.
    folder: the open folder ``parts``, in which no link is followed.
    warning: what is to be said of the file system; None where it has locks.
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
                    continue  # the run that held it removed the folder as it ended
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
        """Whether what is locked still has its names: the run that held it may have removed them as it ended."""
        try:
            same_file = os.path.samestat(os.fstat(fd), folder.status(LOCK))
            return same_file and os.path.samestat(os.fstat(folder.fd), self._beside.status(self.parts.name))
        except FileNotFoundError:
            return False

    def check_folder(self) -> None:
        """Raise OSError where the output's folder is no longer the one that is locked: links and mounts may change."""
        if not os.path.samestat(os.stat(self.parts.parent), os.fstat(self._beside.fd)):
            raise OSError(errno.ENOENT, "its folder has vanished")

    def _claimed(self, folder: Folder) -> bool:
        """On a file system without locks."""
        claim = Claim(folder)
        try:
            if not claim.take():
                return False
        except ClaimedError as error:
            raise OutputError(f"{self.output}: {error}") from None
        self._claim = claim
        self.warning = (
            f"{self.output}: its file system has no locks; {self.parts / OWNER} keeps other runs off instead, "
            "which a run that is killed on another host leaves behind"
        )
        return True

    def __exit__(self, *_: object) -> None:
        """Let go, and leave nothing behind that means nothing."""
        try:
            with suppress(OSError):
                self._leave()
        finally:
            self._file.close()
            self.folder.close()
            self._beside.close()

    def _leave(self) -> None:
        if journals(self.folder):  # the next run goes on with them
            if self._claim is not None:
                self._claim.give_up()
        elif self._claim is None or self._claim.holds:
            remove_all(self.folder)
            self._beside.remove_folder(self.parts.name)


def unfinished(output: Path) -> str | None:
    """What became of the last run on an output that has not ended: half a sentence; None where all have."""
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
    """The lock's file, made where there is none. Raises FileNotFoundError where the folder is just being removed."""
    try:
        return folder.new(LOCK)
    except FileExistsError:
        return folder.open(LOCK, os.O_RDWR, several_names=True)  # locking it changes nothing


def _sign(fd: int) -> None:
    """Say who holds it; not on a full disk, where it is held all the same, nor in a backup of hard links."""
    with suppress(OSError):
        if os.fstat(fd).st_nlink == 1:
            os.ftruncate(fd, 0)
            write_at(fd, Holder.this().text.encode(), 0)


def _hold(fd: int) -> None:
    """Raises BlockingIOError where another run holds it; who only looks at it (see unfinished) is gone at once."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(0.05)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(fd: int) -> str:
    """Whose lock it is, as that run signed it."""
    holder = None
    with suppress(OSError):
        holder = Holder.read(os.pread(fd, SIGNATURE_BYTES, 0))
    return "being written by another run" if holder is None else holder.words
