"""Decoder processes: videos are decoded ahead of the net, and a decoder that crashes costs one video.

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
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from math import prod
from multiprocessing import connection
from typing import Any, Final, Self

import numpy as np

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import DecoderError, UsageError, VideoError
from p3dfeat.types import Clip, Video, VideoEnd, VideoInfo, VideoStart

DECODERS: Final = ("auto", "cpu", "cuda")
DRIVERS: Final = ("/dev/nvidiactl", "/dev/dxg")  # of NVIDIA's GPUs, on Linux and inside Windows
CLIPS_AHEAD: Final = 48  # decoded but not yet taken, a process: as many as it gets where an earlier video is long
BYTES_AHEAD: Final = 128 << 20  # of these, where clips are large
NEARLY_DONE: Final = 2  # clips: a process with so few to go is given its next video, since a net may run meanwhile
STARTS: Final = 3  # attempts at a process before giving up
MOST_WORKERS: Final = 4  # beside a net on the same cores; more would only hold memory

# With this process's path, so that a p3dfeat that was found by a changed sys.path is found there too.
_START: Final = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from p3dfeat.video.worker import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)

Read = VideoStart | Clip | VideoEnd | VideoError


@dataclass(frozen=True)
class Task:
    """What the next videos are read for."""

    spec: InputSpec
    sampling: Sampling
    decoder: str = "cpu"  # one of DECODERS

    @property
    def slots(self) -> int:
        """How many clips the shared memory holds."""
        return max(2, min(CLIPS_AHEAD, BYTES_AHEAD // prod(self.clip_shape)))

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """(T, C, H, W)"""
        return self.sampling.length, self.spec.num_channels, *self.spec.size

    @property
    def size(self) -> int:
        """Of the shared memory, in bytes."""
        return self.slots * prod(self.clip_shape)

    def slot_views(self, memory: mmap.mmap) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
        """The clips that ``memory`` holds, (T, C, H, W) uint8 each."""
        return list(np.frombuffer(memory, np.uint8, self.size).reshape(self.slots, *self.clip_shape))


@dataclass(frozen=True)
class Job:
    """A video to read, with so many threads for its decoder."""

    video: Video
    threads: int


class Decoders:
    """Processes that read videos ahead of whoever asks; for use in a with statement.

    One is started at once, so that it can get ready while its user does; the others when there are videos for them.
    Raises DecoderError where such a process does not start.
    """

    def __init__(self, workers: int | None = None, *, decoder: str = "auto"):
        """workers: so many processes at most; None: one for each core, four at most.

        decoder: "cpu", "cuda", or "auto": a CUDA GPU where the first video shows that it gives the same pixels sooner.
        """
        check_decoding(workers, decoder)
        self._decoder = "cpu" if decoder == "auto" and not gpu_present() else decoder
        self._cores = usable_cores()
        self.workers = workers or min(MOST_WORKERS, self._cores)
        self._failed_starts = 0
        self._processes = [_Process()]

    def read(
        self, videos: Iterable[Video], spec: InputSpec, sampling: Sampling
    ) -> Generator[tuple[Video, Read], None, None]:
        """What ``read_clips`` yields for each video in turn, while the next ones are already being decoded.

        A clip's pixels may be overwritten as soon as the next item is asked for. A VideoError ends its video only.
        """
        task = Task(spec, sampling, self._decoder)
        waiting = deque(videos)
        threads = max(1, self._cores // max(1, min(self.workers, len(waiting))))
        ahead: deque[_Reading] = deque()
        for process in self._processes:
            process.prepare(task)
        try:
            while waiting or ahead:
                while waiting and (idle := self._with_room(task)) is not None:
                    ahead.append(idle.take(Job(waiting.popleft(), threads)))
                reading = ahead[0]
                if not reading.items:
                    self._gather(task)
                    continue
                item, done_with = reading.items.popleft()
                yield reading.video, item
                done_with()
                if isinstance(item, VideoEnd | VideoError):
                    ahead.popleft()
        finally:
            for process in [process for process in self._processes if process.busy]:
                self._processes.remove(process)
                process.kill()

    def _with_room(self, task: Task) -> "_Process | None":
        """A process that has nothing to do, or a new one, or one that is nearly done, or None."""
        for process in [process for process in self._processes if not process.busy]:
            if not process.ended:
                return process
            self._processes.remove(process)
            process.kill()
        if len(self._processes) < self.workers:
            self._processes.append(_Process())
            self._processes[-1].prepare(task)
            return self._processes[-1]
        return next((process for process in self._processes if process.nearly_done), None)

    def _gather(self, task: Task) -> None:
        """Wait until some process says something; take in all that has been said. Replace those that died."""
        for process in connection.wait([process for process in self._processes if process.busy]):  # type: ignore[misc]
            assert isinstance(process, _Process)
            try:
                process.listen()
            except EOFError:
                self._processes.remove(process)
                self._replace(process, task)

    def _replace(self, process: "_Process", task: Task) -> None:
        """Let another process do what one that died has not begun."""
        ending, left = process.bury()
        self._failed_starts = 0 if process.started else self._failed_starts + 1
        if self._failed_starts >= STARTS:
            raise DecoderError(f"decoder process: ended {STARTS} times as it started ({ending}); it may say why above")
        if left:
            time.sleep(0.2 * self._failed_starts)  # memory may be short for a moment
            successor = _Process()
            successor.prepare(task)
            successor.take_over(left)
            self._processes.append(successor)

    def close(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.kill()
        self._processes.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_decoding(workers: int | None, decoder: str) -> None:
    """Raise UsageError for what ``Decoders`` cannot be made with."""
    if workers is not None and workers < 1:
        raise UsageError(f"workers {workers}: must be at least 1")
    if decoder not in DECODERS:
        raise UsageError(f"decoder {decoder!r}: unknown; known are {', '.join(DECODERS)}")
    if decoder == "cuda" and not gpu_present():
        raise UsageError("decoder 'cuda': this machine has no NVIDIA GPU; use --decoder cpu")


def gpu_present() -> bool:
    """Whether an NVIDIA driver is loaded, without loading anything that would talk to it."""
    return any(os.path.exists(path) for path in DRIVERS)


def usable_cores() -> int:
    """How many processor cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class _Reading:
    """A video that a process was given, and what it has said of it: items, with what to call when one is used up."""

    job: Job
    items: deque[tuple[Read, Callable[[], None]]] = field(default_factory=deque)
    clips_left: int | None = None  # still to be decoded, once that is known
    again: bool = False  # whether another process was to read it and died

    @property
    def video(self) -> Video:
        return self.job.video


class _Process:
    """One decoder process, seen from here."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._memory_file = _shared_file()
        path = json.dumps([folder for folder in sys.path if isinstance(folder, str)])
        # -P: nothing is imported from the folder that the user happens to be in.
        command = [sys.executable, "-P", "-c", _START, path, str(theirs.fileno()), str(self._memory_file)]
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
        self.readings: deque[_Reading] = deque()  # the first is being read
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

    def take(self, job: Job) -> _Reading:
        reading = _Reading(job)
        self.readings.append(reading)
        self._tell(job)
        return reading

    def take_over(self, readings: Iterable[_Reading]) -> None:
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

    def bury(self) -> tuple[str, list[_Reading]]:
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
