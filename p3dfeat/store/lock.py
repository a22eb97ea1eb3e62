"""The folder beside a feature file that one run at a time works in."""

import fcntl
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from p3dfeat.disk import writing
from p3dfeat.errors import OutputError
from p3dfeat.store.claims import FIRST, Claim, ClaimedError, Holder, claimed
from p3dfeat.store.journal import journals


def parts_of(output: Path) -> Path:
    """The folder that a run works in until the output itself is up to date; one for all names of an output."""
    real = Path(os.path.realpath(output)) if os.path.islink(output) else output
    return real.with_name(real.name + ".parts")


class Lock:
    """Keeps other runs off an output, from one end of a with statement to the other.

    The system gives it up when the process dies, however it dies. On a file system without locks, a claim stands in for
    it (see claims.py). Raises OutputError where another run holds it, and says which; where the output's folder is
    missing or not writable.
    warning: what is to be said of the file system; None where it has locks.
    """

    def __init__(self, output: str | Path):
        self.output = Path(output)
        self.parts = parts_of(self.output)
        self.warning: str | None = None
        self._claim: Claim | None = None

    def __enter__(self) -> Self:
        if not os.path.isdir(self.parts.parent):
            raise OutputError(f"{self.output}: its folder {self.parts.parent} does not exist; make it first")
        with writing(self.output):
            while not self._taken():
                continue  # the run that held it removed the folder as it ended
        return self

    def _taken(self) -> bool:
        path = self.parts / "lock"
        try:
            self.parts.mkdir(exist_ok=True)
        except FileExistsError:  # as a file; or, for a moment, as a folder that another run is removing
            if os.path.lexists(self.parts) and not self.parts.is_dir():
                raise
            return False
        try:
            self._file = open(path, "a+", encoding="utf-8")  # noqa: SIM115  # open for as long as the run
        except FileNotFoundError:
            return False
        try:
            _hold(self._file)
        except BlockingIOError:
            with self._file:
                text = f"{self.output}: {_holder(self._file)}; wait for its end, or choose another output"
            raise OutputError(text) from None
        except OSError:
            return self._claimed()
        try:
            found = os.path.samestat(os.fstat(self._file.fileno()), os.stat(path))
        except FileNotFoundError:
            found = False
        if found:
            self._sign()
        else:
            self._file.close()
        return found

    def _claimed(self) -> bool:
        """On a file system without locks."""
        self._file.close()
        claim = Claim(self.parts)
        try:
            if not claim.take():
                return False
        except ClaimedError as error:
            raise OutputError(f"{self.output}: {error}") from None
        self._claim = claim
        self.warning = (
            f"{self.output}: its file system has no locks; {self.parts / FIRST} keeps other runs off instead, "
            "which a run that is killed on another host leaves behind"
        )
        return True

    def _sign(self) -> None:
        """Say who holds it. On a disk that is full it is held all the same."""
        with suppress(OSError):
            self._file.truncate(0)
            os.write(self._file.fileno(), Holder.this().text.encode())

    def __exit__(self, *_: object) -> None:
        """Let go, and leave nothing behind that means nothing."""
        empty = not journals(self.parts)
        if self._claim is not None:
            self._claim.give_up(empty=empty)
        elif empty:
            shutil.rmtree(self.parts, ignore_errors=True)
        self._file.close()


def unfinished(output: Path) -> str | None:
    """What became of the last run on an output that has not ended: half a sentence; None where all have."""
    try:
        with open(parts_of(output) / "lock", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _holder(file)
            except OSError:  # a file system without locks
                if words := claimed(parts_of(output)):
                    return words
    except OSError:
        return None
    if not journals(parts_of(output)):
        return None
    return "a run was interrupted, and the same extract command finishes it"


def _hold(file: Any) -> None:
    """Raises BlockingIOError where another run holds it; who only looks at it (see unfinished) is gone at once."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(0.05)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(file: Any) -> str:
    """Whose lock it is, as that run signed it."""
    holder = None
    with suppress(OSError):
        file.seek(0)
        holder = Holder.read(file.read())
    return "being written by another run" if holder is None else holder.words
