"""Check a feature file safely, in a process of its own, which a damaged file may crash."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import IO, Any, Final

from p3dfeat.errors import FeatureFileError, OutputError
from p3dfeat.store.layout import MOST_UNPACKED, PIECE_BYTES
from p3dfeat.system.confinement import environment
from p3dfeat.system.processes import python_command
from p3dfeat.text.counts import counted
from p3dfeat.text.jsons import parse_object

SILENT_SECONDS: Final = 45.0  # without a message, after which the process is killed; it ends itself after 30
ENDING_SECONDS: Final = 10.0  # between its last message and its end
MOST_DEATHS: Final = 5  # after each of them, the check continues behind the item that was being checked
MOST_HANGS: Final = 2  # among these deaths, because hangs take long

LINE_BYTES: Final = 4 << 20  # maximum length of a message
MOST_MESSAGES: Final = 100_000  # in addition to those for each piece of all arrays, and for each group
LEAST_GROUP_BYTES: Final = 10  # of a file, for each message of its groups; even an empty group takes a hundred

HUNG: Final = "did not finish, and was stopped"


@dataclass(frozen=True)
class Problem:
    """A problem of one video or, without an id, of the whole file."""

    id: str
    text: str


@dataclass(frozen=True)
class Foreign:
    """An item that a user has added to a video or, without an id, outside videos. text: its kind and name."""

    id: str
    text: str


@dataclass(frozen=True)
class Looked:
    """A video was checked completely. attributes: some of them, see video.TOLD."""

    id: str
    clips: int
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Root:
    """The root attributes of a file, undecoded; comes before any video."""

    attributes: Mapping[str, Any]


@dataclass
class _Progress:
    """The progress of the processes."""

    opened: int = 0  # groups
    at: str = ""  # id of the item that is being checked
    ended: bool = False


def check_file(path: Path) -> Iterator[Problem | Foreign | Looked | Root]:
    """Check all of a feature file, whatever its damage; yields a Problem for each problem.

    Raises FeatureFileError for a file that is missing or not readable.
    """
    size = _size_of_readable(path)
    most_messages = MOST_MESSAGES + MOST_UNPACKED * size // PIECE_BYTES + size // LEAST_GROUP_BYTES
    progress, deaths = _Progress(), list[str]()
    while len(deaths) < MOST_DEATHS and deaths.count(HUNG) < MOST_HANGS:
        before = progress.opened
        with _process(path, progress.opened) as (process, complaints):
            for message in _messages(process, most_messages):
                found = _understood(message, progress)
                if found is not None:
                    yield found
            deaths.append(_death(_waited_for(process), complaints))
        if progress.ended:
            return
        yield Problem(progress.at, f"the process that checked it {deaths[-1]}")
        if progress.opened == before:  # the cause is not a group: another start would end the same way
            return
    yield Problem("", f"the rest was not checked, after {counted(len(deaths), 'process')} that died")


def _size_of_readable(path: Path) -> int:
    """Size in bytes. Raises FeatureFileError if it is missing, not readable, or not a regular file."""
    try:
        if path.is_fifo() or path.is_char_device():  # reading it might never end
            raise FeatureFileError(f"{path}: not a feature file; it is a pipe or a device")
        with open(path, "rb") as file:
            file.read(1)
            return os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise FeatureFileError(f"{path}: no such file") from None
    except OSError as error:
        raise FeatureFileError(f"{path}: not readable ({error.strerror})") from None


@contextmanager
def _process(path: Path, start: int) -> "Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]":
    """The checking process, which is ended with the with statement, and the file with its stderr."""
    command = python_command("p3dfeat.store.check.file", str(path), start)
    settings = environment(network=False) | {
        "HDF5_PLUGIN_PRELOAD": "::",  # a file cannot make HDF5 load code
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    }
    with tempfile.TemporaryFile() as complaints:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, env=settings
            )
        except OSError as error:
            raise OutputError(f"{path}: no process can be started to check it ({error.strerror})") from None
        try:
            yield process, complaints
        finally:
            process.kill()
            _waited_for(process)
            assert process.stdout is not None
            process.stdout.close()


def _waited_for(process: "subprocess.Popen[bytes]") -> int:
    """The exit code of a process, after its last message."""
    try:
        return process.wait(timeout=ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        return -signal.SIGALRM


def _messages(process: "subprocess.Popen[bytes]", most: int) -> Iterator[dict[str, Any]]:
    """The messages of a process, until its end. It is killed if it is silent for too long or sends too much."""
    assert process.stdout is not None
    fd, rest, count = process.stdout.fileno(), b"", 0
    while True:
        heard = bool(connection.wait([fd], timeout=SILENT_SECONDS))
        data = os.read(fd, 1 << 16) if heard else b""
        *lines, rest = (rest + data).split(b"\n")
        count += len(lines)
        for line in lines:
            try:
                yield parse_object(line)
            except ValueError:  # its memory is corrupt
                process.send_signal(signal.SIGALRM)
                return
        if not heard or count > most or len(rest) > LINE_BYTES:
            process.send_signal(signal.SIGALRM)
            return
        if not data:
            return


def _understood(message: dict[str, Any], progress: _Progress) -> Problem | Foreign | Looked | Root | None:
    """None for progress messages and for invalid ones: a process with corrupt memory may send anything."""
    match message:
        case {"at": str(id)}:
            progress.at = id
            progress.opened += 1
        case {"finding": [str(id), str(text)]}:
            return Problem(id, text)
        case {"foreign": [str(id), str(text)]}:
            return Foreign(id, text)
        case {"video": str(id), "clips": int(clips), **about}:
            return Looked(id, clips, {name: value for name, value in about.items() if is_plain(value)})
        case {"settings": dict(attributes)} if not progress.opened:
            return Root({name: value for name, value in attributes.items() if is_plain(value)})
        case {"end": True}:
            progress.ended = True
    return None


def is_plain(value: object) -> bool:
    """Whether a value is text or a number."""
    return isinstance(value, str | int | float)


def _death(code: int, complaints: IO[bytes]) -> str:
    """How a process ended, in words."""
    if code == -signal.SIGALRM:
        return HUNG
    if code < 0:
        return f"died of {signal.Signals(-code).name}"
    complaints.seek(max(0, complaints.seek(0, os.SEEK_END) - LINE_BYTES))
    last = complaints.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
    return f"failed ({last or f'exit code {code}'})"
