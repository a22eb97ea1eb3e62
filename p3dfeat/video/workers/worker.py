"""The inside of a decoder process. It reads the videos that it is given, until its parent has ended."""

import gc
import mmap
import os
import tempfile
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from p3dfeat.errors import OutOfMemoryError, OutOfTimeError, VideoError
from p3dfeat.system.confinement import confine, gain_no_rights
from p3dfeat.types import Clip, UInt8Array, VideoEnd, VideoStart
from p3dfeat.video.heartbeat import tick
from p3dfeat.video.ranged import RangedFile
from p3dfeat.video.reading.clips import LastIndex, read_clips, read_plan
from p3dfeat.video.reading.gpu_decoding import better_decoder, kind_of
from p3dfeat.video.workers.asking import Asking
from p3dfeat.video.workers.download import RemoteFiles
from p3dfeat.video.workers.limits import CLOCK_BYTES, LIMITED, Clock, Memory, be_expendable, end_with
from p3dfeat.video.workers.messages import ClipAt, Ended, Message, Ready, encoded
from p3dfeat.video.workers.task import DecodeJob, Task

GB: Final = 10**9


def main(connection_file: int, memory_file: int, asking_file: int, parent: int, by_signal: bool, gpu: bool) -> None:
    """Serve the process ``parent`` at the other end of the connection, until it closes its end."""
    be_expendable()
    gain_no_rights()
    if not gpu:
        confine(writable=(tempfile.gettempdir(), "/dev"))  # before threads start
    end_with(parent, by_signal=by_signal)
    Worker(Connection(connection_file), memory_file, Asking(asking_file)).serve()


class Worker:
    """Reads one video after the other. Each clip goes into a free slot of the shared memory."""

    def __init__(self, connection: Connection, memory_file: int, asking: Asking):
        self._connection, self._memory_file = connection, memory_file
        self._clock = Clock(mmap.mmap(memory_file, CLOCK_BYTES))
        self._jobs: deque[DecodeJob] = deque()
        self._task: Task | None = None
        self._better: dict[object, str] = {}  # {kind of video: decoder}, from a test on the first video of the kind
        self._indexes = LastIndex()
        self._remote = RemoteFiles(asking)
        self._memory: mmap.mmap | None = None
        self._slots: list[UInt8Array] = []
        self._free: list[int] = []
        self._held = Memory()

    def serve(self) -> None:
        """Read videos until this process is worn. Raises SystemExit when the other end is closed."""
        self._say(Ready())
        worn = False
        while not worn:
            while not self._jobs:
                self._listen()
            ended = self._read(self._jobs.popleft())
            self._say(ended)
            worn = ended.worn

    def _read(self, job: DecodeJob) -> Ended:
        assert self._task is not None
        outcome: VideoEnd | VideoError
        try:
            with self._clock.running(self._task.timeout), self._remote.readable(job.video, tick=tick) as where:
                outcome = self._told(job, where, self._task)
        except Exception as error:
            outcome = self._failure(error, self._task)
        # A frame and its side data, once read, refer to each other. They hold memory that Python does not count.
        gc.collect(1)
        # After a lack of memory, a heap may be broken. And a high peak hides the peaks of smaller videos.
        worn = isinstance(outcome, OutOfMemoryError) or self._held.was_scarce(self._task.size)
        return Ended(outcome, self._held.give_back() or worn)

    def _told(self, job: DecodeJob, where: str | RangedFile, task: Task) -> VideoEnd:
        """Send all items of a video except its VideoEnd, which is returned. Raises all errors of reading."""
        for item in self._items(job, where, task):
            self._clock.tick()
            if isinstance(item, VideoEnd):
                if item.info.damage is not None and self._held.was_scarce(task.size):
                    raise VideoError(item.info.damage)
                return item
            if isinstance(item, Clip):
                seconds = item.start_seconds, item.end_seconds
                self._say(ClipAt(self._free.pop(), *seconds, item.padded_frames, item.first_frame))
            else:
                self._say(item)
        raise VideoError("its reading ended too soon")

    def _items(self, job: DecodeJob, where: str | RangedFile, task: Task) -> Iterator[VideoStart | Clip | VideoEnd]:
        if task.only_plan:
            return read_plan(
                job.video,
                task.sampling,
                where=where,
                partial=task.partial,
                strict=task.strict,
                check=task.check,
                indexes=self._indexes,
            )
        decoder = task.decoder
        if decoder == "auto":
            kind = kind_of(where)
            if kind not in self._better:
                self._better[kind] = better_decoder(
                    job.video, where, kind, task.spec, task.sampling, threads=job.threads
                )
            decoder = self._better[kind]
        return read_clips(
            job.video,
            task.spec,
            task.sampling,
            where=where,
            threads=job.threads,
            decoder=decoder,
            room=self._free_slot,
            partial=task.partial,
            strict=task.strict,
            check=task.check,
            distrust=task.distrust,
            indexes=self._indexes,
        )

    def _failure(self, error: Exception, task: Task) -> VideoError:
        limit = f"--decoder-memory {task.memory:g} GB allows; raise it" if LIMITED else "there is"
        if _in_want_of_memory(error):
            return OutOfMemoryError(f"needs more memory than {limit}")
        if isinstance(error, OutOfTimeError):
            return error
        if self._held.was_scarce(task.size):
            return OutOfMemoryError(f"seems to need more memory than {limit} ({error})")
        if isinstance(error, VideoError):
            return error
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name} line {place.lineno}"
        return VideoError(f"a bug in p3dfeat: {type(error).__name__} in {where} ({error}); please report it")

    def _free_slot(self) -> UInt8Array:
        """The most recently used free slot, (T, C, H, W) uint8. It may still be in the processor's cache."""
        while not self._free or self._connection.poll():
            self._listen()
        return self._slots[self._free[-1]]

    def _listen(self) -> None:
        """Wait for a message and handle it."""
        with self._clock.waiting(), _until_alone():
            message = self._connection.recv()
        if isinstance(message, int):
            self._free.append(message)
        elif isinstance(message, DecodeJob):
            self._jobs.append(message)
        else:
            assert isinstance(message, Task)
            self._held.limit(round(message.memory * GB))
            if self._memory is None or len(self._memory) < message.size:  # else keep the mapped pages
                self._memory = mmap.mmap(self._memory_file, message.size)
            self._task, self._slots = message, message.slot_views(self._memory)
            self._free = list(range(message.slots))

    def _say(self, message: Message) -> None:
        line = memoryview(encoded(message))
        with self._clock.waiting(), _until_alone():
            while line:
                line = line[os.write(self._connection.fileno(), line) :]


@contextmanager
def _until_alone() -> Iterator[None]:
    """End this process if the other end of the connection is closed."""
    try:
        yield
    except (EOFError, OSError):
        raise SystemExit(0) from None


def _in_want_of_memory(error: BaseException | None) -> bool:
    """Whether the cause of an error is a lack of memory, which FFmpeg's callers may have raised as another error."""
    seen = 0
    while error is not None and seen < 20:
        if isinstance(error, MemoryError):
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False
