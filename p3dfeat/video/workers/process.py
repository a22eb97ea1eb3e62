"""A decoder process, from outside: starting it, telling it what to read, hearing what it says, ending it.

A clip's pixels cross in memory that both sides share.
"""

import fcntl
import mmap
import os
import signal
import socket
import struct
import subprocess
import tempfile
import threading
from collections import deque
from contextlib import suppress
from multiprocessing import reduction
from typing import Any, Final

import numpy as np

from p3dfeat.errors import DecoderError, OutOfTimeError, VideoError
from p3dfeat.system.confinement import environment
from p3dfeat.system.processes import interrupts_held, python_command
from p3dfeat.types import Clip, VideoEnd, VideoStart
from p3dfeat.video.workers.decode_progress import DecodeProgress
from p3dfeat.video.workers.limits import CLOCK_BYTES, Clock, out_of_time
from p3dfeat.video.workers.messages import MESSAGE_BYTES, ClipAt, Ended, Message, NonsenseError, Ready, decoded
from p3dfeat.video.workers.task import Task

WORKER: Final = "p3dfeat.video.workers.worker"  # the module that such a process runs
NEARLY_DONE: Final = 2  # clips: a process with so few to go is given its next video, since a network may run meanwhile
HANG_SECONDS: Final = 120.0  # without a packet or a frame, the disk's and the network's pauses included
START_SECONDS: Final = 120.0  # until it is ready, which a cold disk can draw out
GRACE_SECONDS: Final = 1.0  # beyond --timeout, for the process to end the video itself
TONGUE_BYTES: Final = 256 << 10  # that may wait to be read; what is on its way at once takes a quarter of that
KILL_SECONDS: Final = 5.0  # for a killed process to be gone; one that waits for a dead disk stays
# Where the process itself did wrong; any other signal came from outside, such as the system's for want of memory.
FAULTS: Final = frozenset({"SIGSEGV", "SIGBUS", "SIGABRT", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS"})


class DecoderProcess:
    """One decoder process. Raises DecoderError where it cannot be started.

    gpu: whether it may use one, whose driver writes where it likes; else it can change no files.
    """

    def __init__(self, *, gpu: bool = False) -> None:
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, TONGUE_BYTES)
        with ours, theirs:
            try:
                self._memory_file = _shared_file()
            except OSError as error:
                raise _no_process(error) from None
            try:
                self._process = _launched(theirs.fileno(), self._memory_file, gpu=gpu)
            except OSError as error:
                os.close(self._memory_file)
                raise _no_process(error) from None
            self._wire = ours.dup()
        self.readings: deque[DecodeProgress] = deque()  # the first is being read
        self.started = False  # whether it has said that it is ready
        self._worn = False  # whether it has said that it ends, being of no more use
        self._fate: VideoError | None = None  # why it is to be killed: what the video that it is at fails with
        self._unparsed = b""
        self._clock = Clock(mmap.mmap(self._memory_file, CLOCK_BYTES))
        self._moves, self._still_seconds = 0, 0.0  # what its clock last showed, and for how long
        self._watched_seconds = 0.0  # that it was seen to work at its video, by this process's own clock
        self._task: Task | None = None
        self._memory: mmap.mmap | None = None
        self._slots: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
        self._lent: set[int] = set()  # slots that hold clips not yet taken

    def fileno(self) -> int:
        """For ``connection.wait``."""
        return self._wire.fileno()

    @property
    def busy(self) -> bool:
        return bool(self.readings)

    @property
    def ended(self) -> bool:
        """Whether it died, as the system may let it for want of memory, after it had begun well."""
        if self._process.poll() is None:
            return False
        self.attend(0.0)  # did it say that it was ready?
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
        self._task, self._slots, self._lent = task, task.slot_views(self._memory), set()
        self._tell(task)

    def take(self, reading: DecodeProgress) -> None:
        """Read a video, from its beginning; what another process has said of it already is not said again."""
        reading.clips_left = None
        self.readings.append(reading)
        self._tell(reading.job)

    def attend(self, seconds: float) -> bool:
        """Take in what the process has said, and look whether it still works; whether it is of no more use.

        seconds: for how long it was watched since the last time.
        """
        try:
            self._listen()
        except EOFError:
            return True
        except NonsenseError as error:
            self._fate = VideoError(f"its decoder answered nonsense: {error}")
        else:
            self._fate = self._fate or self._overdue(seconds)
        return self._fate is not None

    def _listen(self) -> None:
        """Take in all that can be heard now. Raises EOFError where the process is dead, or NonsenseError."""
        while True:
            try:
                heard = self._wire.recv(MESSAGE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                heard = b""
            if not heard:
                raise EOFError
            *lines, self._unparsed = (self._unparsed + heard).split(b"\n")
            for line in lines:
                self._hear(decoded(line))
            if len(self._unparsed) > MESSAGE_BYTES:
                raise NonsenseError("a line without an end")

    def _hear(self, message: Message) -> None:
        self._still_seconds = 0.0
        if isinstance(message, Ready):
            if self.started:
                raise NonsenseError("that it is ready, twice")
            self.started = True
            return
        if not self.readings:
            raise NonsenseError("of a video that it was not given")
        reading = self.readings[0]
        if isinstance(message, Ended):
            self._worn = message.worn
            if isinstance(message.outcome, VideoEnd) and not self._is_end(reading, message.outcome):
                raise NonsenseError("an end before the last clip")
            reading.items.append((message.outcome, _nothing))
            self.readings.popleft()
            self._watched_seconds = 0.0
        elif isinstance(message, VideoStart):
            self._hear_start(reading, message)
        else:
            self._hear_clip(reading, message)

    def _is_end(self, reading: DecodeProgress, end: VideoEnd) -> bool:
        """Whether a video's clips have all come, but for those left out of a damaged one."""
        assert self._task is not None
        left_out = end.info.clips_left_out if self._task.partial and not self._task.only_plan else 0
        return reading.clips_left == left_out

    def _hear_start(self, reading: DecodeProgress, start: VideoStart) -> None:
        if (reading.clips_left is not None) != start.again or start.num_clips < 0:
            raise NonsenseError("a second beginning")
        # Where one has begun again, the next process comes to that by itself, and what it says first counts once more.
        again = start.again or (reading.beginnings > 0 and reading.num_clips is not None)
        if again and not reading.begins_again():
            raise NonsenseError("too many beginnings")
        if reading.num_clips is None:
            reading.items.append((VideoStart(start.num_clips, again), _nothing))
        elif reading.num_clips != start.num_clips:
            raise NonsenseError("another number of clips than before")
        assert self._task is not None
        reading.num_clips = start.num_clips
        reading.clips_left = 0 if self._task.only_plan else start.num_clips

    def _hear_clip(self, reading: DecodeProgress, clip: ClipAt) -> None:
        if not reading.clips_left or reading.num_clips is None:
            raise NonsenseError("a clip too many")
        if not 0 <= clip.slot < len(self._slots) or clip.slot in self._lent:
            raise NonsenseError("a clip where there is no room")
        if not 0 <= clip.padded_frames < len(self._slots[clip.slot]):
            raise NonsenseError("a clip of repeated frames alone")
        number = reading.num_clips - reading.clips_left
        reading.clips_left -= 1
        self._lent.add(clip.slot)
        if number < reading.heard:  # of another process, before it died
            self._give_back(clip.slot)
            return
        reading.heard += 1
        pixels = self._slots[clip.slot].transpose(0, 2, 3, 1)
        item = Clip(pixels, clip.start_seconds, clip.end_seconds, clip.padded_frames)
        reading.items.append((item, lambda: self._give_back(clip.slot)))

    def _give_back(self, slot: int) -> None:
        self._lent.discard(slot)
        self._tell(slot)

    def _tell(self, message: object) -> None:
        """In the form of a multiprocessing Connection. A process that does not listen must not hold this one up."""
        data = bytes(reduction.ForkingPickler.dumps(message))
        line = memoryview(struct.pack("!i", len(data)) + data)
        try:
            while line:
                line = line[self._wire.send(line, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            self._fate = VideoError("its decoder does not listen")
        except OSError:  # it is dead, as listening to it shows or has shown
            return

    def _overdue(self, seconds: float) -> VideoError | None:
        """What the video that it is at is to fail with, where that takes too long. It must have been heard before."""
        if not self.readings or self._task is None:
            return None
        moves = self._clock.moves
        if moves != self._moves or len(self._lent) == len(self._slots):  # it works, or has no room to
            self._moves, self._still_seconds = moves, 0.0
        else:
            self._still_seconds += seconds
        if len(self._lent) < len(self._slots):
            self._watched_seconds += seconds
        if self._still_seconds > (HANG_SECONDS if self.started else START_SECONDS):
            return OutOfTimeError(f"hangs: its decoder did nothing for {HANG_SECONDS:g} s")
        timeout = self._task.timeout
        worked = max(self._watched_seconds, self._clock.worked())  # the process could turn its clock back
        if timeout is not None and worked > timeout + GRACE_SECONDS:
            return out_of_time(timeout)
        return None

    @property
    def given_up(self) -> bool:
        """Whether it was ended from here, for what it did or did not do."""
        return self._fate is not None

    def bury(self) -> str:
        """End what is of no more use, and settle the video that it was at; ``readings`` are then those still to read.

        Returns how it ended.
        """
        if self._fate is not None:
            self._process.kill()
        ending = self._ending()
        if self.started and self.readings and not self._worn:  # else it had begun none, or just finished one
            reading = self.readings[0]
            reading.deaths += 1
            begun = reading.clips_left is not None  # else what killed it may have been the video before
            if self._fate is not None or reading.deaths > 1 or (begun and ending in FAULTS):
                error = self._fate or VideoError(_cause_of_death(ending))
                self.readings.popleft().items.append((error, _nothing))
        self._close()
        return ending

    def _ending(self) -> str:
        """How the process ends, which it does by itself in a moment if it is not made to."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(KILL_SECONDS)
        code = self._process.returncode
        if code is None:
            return "it does not end"
        if code >= 0:
            return f"exit {code}"
        return signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"

    def kill(self) -> None:
        self.readings.clear()
        self._close()

    def _close(self) -> None:
        self._wire.close()
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(KILL_SECONDS)
        os.close(self._memory_file)


def _nothing() -> None:
    """What is to be done about an item that holds no shared memory."""


def _cause_of_death(ending: str) -> str:
    if ending == "SIGKILL":
        return "its decoder was killed (SIGKILL), perhaps for want of memory"
    return f"its decoder crashed ({ending})"


def _no_process(error: OSError) -> DecoderError:
    return DecoderError(f"decoder process: cannot be started ({error.strerror})")


def _launched(connection_file: int, memory_file: int, *, gpu: bool) -> subprocess.Popen[bytes]:
    by_signal = threading.current_thread() is threading.main_thread()
    command = python_command(WORKER, connection_file, memory_file, os.getpid(), by_signal, gpu)
    with interrupts_held():
        return subprocess.Popen(
            command,
            pass_fds=(connection_file, memory_file),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=environment(network=True),
        )


def _shared_file() -> int:
    """A file without a name, which nothing is left of when its holders are gone; as long as a clock needs."""
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as file:
            os.ftruncate(file.fileno(), CLOCK_BYTES)
            return os.dup(file.fileno())
    descriptor = os.memfd_create("p3dfeat-clips", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, CLOCK_BYTES)
    # A decoder could make it shorter, and reading what is gone would be the end of this process.
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
    return descriptor
