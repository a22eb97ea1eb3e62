"""The folder beside a feature file that one run at a time works in."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from p3dfeat.errors import OutputError
from p3dfeat.store.journal import journals


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """One line for whatever the file system says."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error).split("(")[0].strip()
        raise OutputError(f"{path}: cannot be written ({reason})") from None


class Lock:
    """A folder that one run holds. The system gives it up when the process dies."""

    def __init__(self, folder: Path):
        self._folder = folder
        while not self._taken():
            continue  # the run that held it removed the folder as it ended

    def _taken(self) -> bool:
        self._folder.mkdir(exist_ok=True)
        path = self._folder / "lock"
        try:
            self._file = open(path, "a")  # noqa: SIM115  # open for as long as the run
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise OutputError(
                f"{self._folder}: held by another run; wait for its end or choose another output"
            ) from None
        except OSError:
            return True  # a file system without locks: as good as it gets
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), os.stat(path))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let go, and leave nothing behind that means nothing."""
        if not journals(self._folder):
            shutil.rmtree(self._folder, ignore_errors=True)
        self._file.close()
