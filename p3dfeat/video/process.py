"""A decoder process, from outside: starting it, telling it what to read, hearing what it says.

A clip's pixels cross in memory that both sides share. What a decoder says comes as JSON: it has read a file that nobody
vouches for, and must not be able to do worse here than give wrong numbers or end the run.
"""

import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import Any, Final

import numpy as np

from p3dfeat.errors import DecoderError, VideoError
from p3dfeat.types import Clip, Video, VideoEnd, VideoInfo, VideoStart
from p3dfeat.video.task import Job, Task

NEARLY_DONE: Final = 2  # clips: a process with so few to go is given its next video, since a net may run meanwhile

# With this process's path, so that a p3dfeat that was found by a changed sys.path is found there too.
START: Final = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from p3dfeat.video.worker import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)

Read = VideoStart | Clip | VideoEnd | VideoError


@dataclass
class Reading:
    """A video that a process was given, and what it has said of it: items, with what to call when one is used up."""

    job: Job
    items: deque[tuple[Read, Callable[[], None]]] = field(default_factory=deque)
    clips_left: int | None = None  # still to be decoded, once that is known
    again: bool = False  # whether another process was to read it and died

    @property
    def video(self) -> Video:
        return self.job.video


class DecoderProcess:
    """One decoder process, seen from here."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._memory_file = _shared_file()
        path = json.dumps([folder for folder in sys.path if isinstance(folder, str)])
        # -P: nothing is imported from the folder that the user happens to be in.
        command = [sys.executable, "-P", "-c", START, path, str(theirs.fileno()), str(self._memory_file)]
        files = (theirs.fileno(), self._memory_file)
        try:
            with theirs, _interrupts_held():
                self._process = subprocess.Popen(
                    command, pass_fds=files, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
                )
        except OSError as error:
            ours.close()
            os.close(self._memory_file)
            raise DecoderError(f"decoder process: cannot be started ({error.strerror})") from None
        self._connection = connection.Connection(ours.detach())
        self.readings: deque[Reading] = deque()  # the first is being read
        self.started = False  # whether it has said that it is ready
        self._memory: mmap.mmap | None = None
        self._slots: list[np.ndarray[Any, np.dtype[np.uint8]]] = []

    def fileno(self) -> int:
        """For ``connection.wait``."""
        return self._connection.fileno()

    @property
    def busy(self) -> bool:
        return bool(self.readings)

    @property
    def ended(self) -> bool:
        """Whether it died, as the system may let it for want of memory, after it had begun well."""
        if self._process.poll() is None:
            return False
        with suppress(EOFError):
            self.listen()  # did it say that it was ready?
        return self.started

    @property
    def nearly_done(self) -> bool:
        """Whether it is at its last video, and at the end of that."""
        left = self.readings[0].clips_left if len(self.readings) == 1 else None
        return left is not None and left <= NEARLY_DONE

    def prepare(self, task: Task) -> None:
        if self._memory is None or len(self._memory) < task.size:  # never less: clips of another task may be in use
            os.ftruncate(self._memory_file, task.size)
            self._memory = mmap.mmap(self._memory_file, task.size)
        self._slots = task.slot_views(self._memory)
        self._tell(task)

    def take(self, job: Job) -> Reading:
        reading = Reading(job)
        self.readings.append(reading)
        self._tell(job)
        return reading

    def take_over(self, readings: Iterable[Reading]) -> None:
        """Read what a process that died was still to read."""
        for reading in readings:
            self.readings.append(reading)
            self._tell(reading.job)

    def listen(self) -> None:
        """Take in what the process has said. Raises EOFError where it is dead."""
        while True:
            try:
                message = json.loads(self._connection.recv_bytes())
            except OSError:  # in the middle of a message
                raise EOFError from None
            if "bug" in message:
                raise RuntimeError(f"in a decoder process:\n{message['bug']}")
            if "ready" in message:
                self.started = True
            else:
                self._hear(message)
            if not self._connection.poll():
                return

    def _hear(self, message: dict[str, Any]) -> None:
        reading = self.readings[0]
        if "clip" in message:
            slot, start, end, padded = message["clip"]
            clip = Clip(self._slots[slot].transpose(0, 2, 3, 1), start, end, padded)
            reading.items.append((clip, lambda: self._tell(slot)))
            assert reading.clips_left is not None
            reading.clips_left -= 1
        elif "num_clips" in message:
            reading.clips_left = message["num_clips"]
            reading.items.append((VideoStart(message["num_clips"]), _nothing))
        else:
            ended = VideoError(message["error"]) if "error" in message else _video_end(message)
            reading.items.append((ended, _nothing))
            self.readings.popleft()

    def _tell(self, message: object) -> None:
        with suppress(OSError):  # it is dead, as listening to it shows or has shown
            self._connection.send(message)

    def bury(self) -> tuple[str, list[Reading]]:
        """After its death: how it ended, and the videos that it had not begun; the one that it was reading fails."""
        ending = _ending(self._process.wait())
        left = list(self.readings)
        if left and self.started:  # else it had just finished one, or had begun none
            reading = left[0]
            if reading.clips_left is not None or reading.again:
                left.pop(0).items.append((VideoError(f"its decoder crashed ({ending})"), _nothing))
            reading.again = True  # nothing was heard of it: what killed the process may have been the video before
        self.kill()
        return ending, left

    def kill(self) -> None:
        self.readings.clear()
        self._connection.close()
        self._process.kill()
        self._process.wait()
        os.close(self._memory_file)


def _nothing() -> None:
    """What is to be done about an item that holds no shared memory."""


def _video_end(message: dict[str, Any]) -> VideoEnd:
    return VideoEnd(VideoInfo(**message["info"]), message["frames_decoded"])


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit {code}"
    name = signal.Signals(-code).name
    return f"{name}: perhaps out of memory" if name == "SIGKILL" else name


def _shared_file() -> int:
    """A file without a name, which nothing is left of when its holders are gone."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("p3dfeat-clips")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """A process that is started in here is deaf to Ctrl-C and the like: this one decides what to do about them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
