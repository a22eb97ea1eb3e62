"""Processes that read damaged videos as extract does: each wait for one has an end, and one that dies is replaced."""

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Final, Self

import av
import numpy as np

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import VideoError
from p3dfeat.types import Video, VideoEnd, VideoStart
from p3dfeat.video.pictures.transform import PictureMaker
from p3dfeat.video.reading.clips import read_clips
from p3dfeat.video.reading.index import open_video
from stress.seeds import HEIGHT, WIDTH

DIES, WAITS = ":dies", ":waits"  # what a reader does that is asked for these: tests see what becomes of it
MEMORY_BYTES: Final = 3 << 30  # of a reader's address space; allocations beyond fail
SPEC: Final = InputSpec(resize=(HEIGHT, WIDTH), interpolation="nearest")
EVERY_FRAME: Final = Sampling(clips=None, stride=1, length=1)


@dataclass(frozen=True)
class Outcome:
    """What came of reading one file. kind: "read", "refused", "bug", "crashed" or "hung".

    text: why, unless it was read. frames: (start_seconds, end_seconds, checksum of its pixels) of each frame.
    remarks: what did not add up. shown: of a refused file, checksums of what a player shows all the same.
    """

    kind: str
    text: str = ""
    frames: tuple[tuple[float, float, str], ...] = ()
    elapsed_seconds: float = 0.0
    remarks: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()


def read(path: str) -> Outcome:
    """Read a video to its end, in this process, every frame of it."""
    frames: list[tuple[float, float, str]] = []
    remarks: tuple[str, ...] = ()
    try:
        for item in read_clips(Video("v", path, path), SPEC, EVERY_FRAME, threads=1):
            if isinstance(item, VideoStart):  # a second one takes back what came before
                frames.clear()
            elif isinstance(item, VideoEnd):
                remarks = item.info.remarks
            else:
                frames.append((item.start_seconds, item.end_seconds, _checksum(item.frames.transpose(0, 3, 1, 2))))
    except VideoError as error:
        text = str(error)
        plain = text and "\n" not in text and path not in text
        return Outcome("refused" if plain else "bug", text or "no reason", shown=tuple(_shown(path)))
    except MemoryError:
        return Outcome("refused", "needs more memory than there is")
    except Exception:
        return Outcome("bug", traceback.format_exc())
    return Outcome("read", frames=tuple(frames), remarks=remarks)


def _shown(path: str) -> Iterator[str]:
    """Checksums of the pictures that decoding in one pass gives, up to an error, or a frame marked as corrupt."""
    make, picture = PictureMaker(SPEC), np.empty((SPEC.num_channels, *SPEC.size), np.uint8)
    with suppress(VideoError, av.FFmpegError, OSError, ValueError, IndexError), open_video(path) as (container, stream):
        for frame in container.decode(stream):
            if frame.is_corrupt:
                return
            make(frame, picture)
            yield _checksum(picture)


def _checksum(pixels: np.ndarray) -> str:
    return hashlib.blake2b(pixels.tobytes(), digest_size=8).hexdigest()


def serve(connection_file: int) -> None:
    """Read what is asked for until the other end is closed."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with connection.Connection(connection_file) as asking:
        while True:
            try:
                path = asking.recv_bytes().decode()
            except (EOFError, OSError):
                return
            if path == DIES:
                os.kill(os.getpid(), signal.SIGSEGV)
            if path == WAITS:
                time.sleep(600)
            outcome = read(path)
            asking.send_bytes(
                json.dumps([outcome.kind, outcome.text, outcome.frames, outcome.remarks, outcome.shown]).encode()
            )


class Readers:
    """So many processes that read; for use in a with statement, whose end kills them."""

    def __init__(self, count: int, *, timeout_seconds: float):
        self._count, self._timeout = count, timeout_seconds
        self._readers: list[_Reader] = []

    def read(self, paths: Iterable[Path]) -> Iterator[tuple[Path, Outcome]]:
        """Each file with what came of reading it, in the order in which they are done."""
        waiting = iter(paths)
        exhausted = False
        while True:
            while not exhausted and (idle := self._idle()) is not None:
                path = next(waiting, None)
                if path is None:
                    exhausted = True
                else:
                    idle.ask(path)
            busy = [reader for reader in self._readers if reader.path is not None]
            if not busy:
                return
            connection.wait([reader.connection for reader in busy], timeout=0.5)
            for reader in busy:
                outcome = reader.outcome(self._timeout)
                if outcome is None:
                    continue
                path, reader.path = reader.path, None
                if outcome.kind in ("crashed", "hung"):
                    self._readers.remove(reader)
                    reader.kill()
                assert path is not None
                yield path, outcome

    def _idle(self) -> "_Reader | None":
        for reader in self._readers:
            if reader.path is None:
                return reader
        if len(self._readers) < self._count:
            self._readers.append(_Reader())
            return self._readers[-1]
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self._readers:
            reader.kill()
        self._readers.clear()


class _Reader:
    """One process, seen from here. path: what it is reading."""

    def __init__(self) -> None:
        self.connection, theirs = connection.Pipe()
        with theirs:
            code = f"from stress.readers import serve; serve({theirs.fileno()})"
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(folder for folder in sys.path if folder) or "."},
            )
        self.path: Path | None = None
        self._asked = 0.0
        self._ready = False

    def ask(self, path: Path) -> None:
        self.path, self._asked = path, time.monotonic()
        try:
            self.connection.send_bytes(str(path).encode())
        except OSError:
            return  # it is dead, as listening to it shows

    def outcome(self, timeout_seconds: float) -> Outcome | None:
        """What came of the file that it was asked for; None while it is at it."""
        waited = time.monotonic() - self._asked
        try:
            if self.connection.poll(0):
                kind, text, frames, remarks, shown = json.loads(self.connection.recv_bytes())
                self._ready = True
                return Outcome(kind, text, tuple(map(tuple, frames)), waited, tuple(remarks), tuple(shown))
        except (EOFError, OSError):
            return Outcome("crashed", self._ending(), elapsed_seconds=waited)
        # The first one also waits for Python to start.
        if waited > timeout_seconds + (0 if self._ready else 30):
            return Outcome("hung", f"no answer in {waited:.0f} s", elapsed_seconds=waited)
        return None

    def _ending(self) -> str:
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return "closed its connection"
        return f"signal {-code}" if code < 0 else f"exit {code}"

    def kill(self) -> None:
        self.connection.close()
        self._process.kill()
        self._process.wait(timeout=30)
