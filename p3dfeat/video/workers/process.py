"""The outside of a decoder process: it is started, given videos, listened to, and ended.

Clips are transferred in shared memory.
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
from p3dfeat.types import Clip, VideoEnd, VideoStart, is_in_store
from p3dfeat.video.workers.asking import Answering
from p3dfeat.video.workers.decode_progress import DecodeProgress
from p3dfeat.video.workers.limits import CLOCK_BYTES, Clock, out_of_time
from p3dfeat.video.workers.messages import MESSAGE_BYTES, ClipAt, Ended, Message, NonsenseError, Ready, decoded
from p3dfeat.video.workers.task import Task

WORKER: Final = "p3dfeat.video.workers.worker"  # the module that the process runs
NEARLY_DONE: Final = 2  # clips left: the process then gets its next video, since the parent may be busy with a network
HANG_SECONDS: Final = 120.0  # without a packet or a frame, including pauses of the disk and the network
START_SECONDS: Final = 120.0  # until the process is ready; a cold disk may take long
GRACE_SECONDS: Final = 1.0  # after --timeout, so that the process can end the video itself
TONGUE_BYTES: Final = 256 << 10  # of messages that wait to be read; a quarter is enough for those sent at once
KILL_SECONDS: Final = 5.0  # until a killed process has ended; one that waits for a dead disk stays
# Signals for faults of the process itself. Others come from outside, such as from the system when memory runs out.
FAULTS: Final = frozenset({"SIGSEGV", "SIGBUS", "SIGABRT", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS"})


class DecoderProcess:
    """One decoder process. Raises DecoderError if it cannot be started.

    gpu: whether it may use a GPU, whose driver may write anywhere; otherwise it cannot change files.
    """

    def __init__(self, *, gpu: bool = False) -> None:
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, TONGUE_BYTES)
        with ours, theirs:
            try:
                self._memory_file = _shared_file()
            except OSError as error:
                raise _no_process(error) from None
            self._answering = Answering()
            try:
                with self._answering.theirs as asking:
                    self._process = _launched(theirs.fileno(), self._memory_file, asking.fileno(), gpu=gpu)
            except OSError as error:
                os.close(self._memory_file)
                self._answering.close()
                raise _no_process(error) from None
            self._wire = ours.dup()
        self.readings: deque[DecodeProgress] = deque()  # the process reads the first one
        self.started = False  # whether it has reported that it is ready
        self._worn = False  # whether it has reported that it is worn and ends
        self._fate: VideoError | None = None  # why it must be killed; the error of its current video
        self._unparsed = b""
        self._clock = Clock(mmap.mmap(self._memory_file, CLOCK_BYTES))
        self._moves, self._still_seconds = 0, 0.0  # the last count of its clock, and seconds without a change
        self._watched_seconds = 0.0  # working time on its video, by this process's own clock
        self._task: Task | None = None
        self._memory: mmap.mmap | None = None
        self._slots: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
        self._lent: set[int] = set()  # slots with clips that are still in use

    def fileno(self) -> int:
        """The file descriptor for ``connection.wait``."""
        return self._wire.fileno()

    @property
    def busy(self) -> bool:
        return bool(self.readings)

    @property
    def ended(self) -> bool:
        """Whether it died after a successful start, for example killed by the system when memory ran out."""
        if self._process.poll() is None:
            return False
        self.attend(0.0)  # it may have reported that it is ready
        return self.started

    @property
    def nearly_done(self) -> bool:
        """Whether it is near the end of its last video."""
        left = self.readings[0].clips_left if len(self.readings) == 1 else None
        return left is not None and left <= NEARLY_DONE

    def prepare(self, task: Task) -> None:
        if self._memory is None or len(self._memory) < task.size:  # never shrink: clips of another task may be in use
            os.ftruncate(self._memory_file, task.size)
            self._memory = mmap.mmap(self._memory_file, task.size)
        self._task, self._slots, self._lent = task, task.slot_views(self._memory), set()
        self._tell(task)

    def take(self, reading: DecodeProgress) -> None:
        """Read a video from its beginning. Items that another process has already delivered are not repeated."""
        reading.clips_left = None
        self.readings.append(reading)
        if is_in_store(reading.job.video.path):
            self._answering.allow(reading.job.video.path)
        self._tell(reading.job)

    def attend(self, seconds: float) -> bool:
        """Handle the messages of the process, and check that it still works. True if it must be replaced.

        seconds: time watched since the last call.
        """
        try:
            self._listen()
        except EOFError:
            return True
        except NonsenseError as error:
            self._fate = VideoError(f"its decoder sent an invalid message: {error}")
        else:
            self._fate = self._fate or self._overdue(seconds)
        return self._fate is not None

    def _listen(self) -> None:
        """Handle all messages that have arrived. Raises EOFError if the process is dead, or NonsenseError."""
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
        """Whether all clips of a video have come, except those left out of a damaged video."""
        assert self._task is not None
        left_out = end.info.clips_left_out if self._task.partial and not self._task.only_plan else 0
        return reading.clips_left == left_out * self._task.num_crops

    def _hear_start(self, reading: DecodeProgress, start: VideoStart) -> None:
        if (reading.clips_left is not None) != start.again or start.num_clips < 0:
            raise NonsenseError("a second beginning")
        # If a process restarted and died, the next process will restart, too. So its first start counts as a restart.
        again = start.again or (reading.beginnings > 0 and reading.num_clips is not None)
        if again and not reading.begins_again():
            raise NonsenseError("too many beginnings")
        if reading.num_clips is None:
            reading.items.append((VideoStart(start.num_clips, again), _nothing))
        elif reading.num_clips != start.num_clips:
            raise NonsenseError("another number of clips than before")
        assert self._task is not None
        reading.num_clips = start.num_clips
        reading.clips_left = 0 if self._task.only_plan else start.num_clips * self._task.num_crops

    def _hear_clip(self, reading: DecodeProgress, clip: ClipAt) -> None:
        if not reading.clips_left or reading.num_clips is None:
            raise NonsenseError("a clip too many")
        if not 0 <= clip.slot < len(self._slots) or clip.slot in self._lent:
            raise NonsenseError("a clip where there is no room")
        if not 0 <= clip.padded_frames < len(self._slots[clip.slot]):
            raise NonsenseError("a clip of repeated frames alone")
        if clip.first_frame < 0:
            raise NonsenseError("a frame before the first one")
        assert self._task is not None
        number = reading.num_clips * self._task.num_crops - reading.clips_left
        reading.clips_left -= 1
        self._lent.add(clip.slot)
        if number < reading.heard:  # another process delivered this clip before it died
            self._give_back(clip.slot)
            return
        reading.heard += 1
        pixels = self._slots[clip.slot].transpose(0, 2, 3, 1)
        item = Clip(pixels, clip.start_seconds, clip.end_seconds, clip.padded_frames, clip.first_frame)
        reading.items.append((item, lambda: self._give_back(clip.slot)))

    def _give_back(self, slot: int) -> None:
        self._lent.discard(slot)
        self._tell(slot)

    def _tell(self, message: object) -> None:
        """Send a message in the form of a multiprocessing Connection. Never wait for a process that does not read."""
        data = bytes(reduction.ForkingPickler.dumps(message))
        line = memoryview(struct.pack("!i", len(data)) + data)
        try:
            while line:
                line = line[self._wire.send(line, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            self._fate = VideoError("its decoder does not listen")
        except OSError:  # it is dead; _listen reports this
            return

    def _overdue(self, seconds: float) -> VideoError | None:
        """The error for its current video if that takes too long, or None. Call it after ``_listen``."""
        if not self.readings or self._task is None:
            return None
        moves = self._clock.moves
        if moves != self._moves or len(self._lent) == len(self._slots):  # it works, or waits for a free slot
            self._moves, self._still_seconds = moves, 0.0
        else:
            self._still_seconds += seconds
        if len(self._lent) < len(self._slots):
            self._watched_seconds += seconds
        if self._still_seconds > (HANG_SECONDS if self.started else START_SECONDS):
            return OutOfTimeError(f"hangs: its decoder did nothing for {HANG_SECONDS:g} s")
        timeout = self._task.timeout
        worked = max(self._watched_seconds, self._clock.worked())  # the process could set its clock back
        if timeout is not None and worked > timeout + GRACE_SECONDS:
            return out_of_time(timeout)
        return None

    @property
    def given_up(self) -> bool:
        """Whether this process ended it, because of an error or a timeout."""
        return self._fate is not None

    def bury(self) -> str:
        """End a useless process, and decide about its current video. ``readings`` then holds the videos still to read.

        Returns the reason of its end.
        """
        if self._fate is not None:
            self._process.kill()
        ending = self._ending()
        if self.started and self.readings and not self._worn:  # else no video had begun, or one had just ended
            reading = self.readings[0]
            reading.deaths += 1
            begun = reading.clips_left is not None  # else the video before may have killed it
            if self._fate is not None or reading.deaths > 1 or (begun and ending in FAULTS):
                error = self._fate or VideoError(_cause_of_death(ending))
                self.readings.popleft().items.append((error, _nothing))
        self._close()
        return ending

    def _ending(self) -> str:
        """The reason of the process's end. If it was not killed, it ends by itself within a moment."""
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
        self._answering.close()
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(KILL_SECONDS)
        os.close(self._memory_file)


def _nothing() -> None:
    """Do nothing: after the use of an item without shared memory."""


def _cause_of_death(ending: str) -> str:
    if ending == "SIGKILL":
        return "its decoder was killed (SIGKILL), perhaps because memory ran out"
    return f"its decoder crashed ({ending})"


def _no_process(error: OSError) -> DecoderError:
    return DecoderError(f"decoder process: cannot be started ({error.strerror})")


def _launched(connection_file: int, memory_file: int, asking_file: int, *, gpu: bool) -> subprocess.Popen[bytes]:
    by_signal = threading.current_thread() is threading.main_thread()
    command = python_command(WORKER, connection_file, memory_file, asking_file, os.getpid(), by_signal, gpu)
    with interrupts_held():
        return subprocess.Popen(
            command,
            pass_fds=(connection_file, memory_file, asking_file),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=environment(network=True),
        )


def _shared_file() -> int:
    """A file without a name, of CLOCK_BYTES. Nothing is left of it when its users have ended."""
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as file:
            os.ftruncate(file.fileno(), CLOCK_BYTES)
            return os.dup(file.fileno())
    descriptor = os.memfd_create("p3dfeat-clips", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, CLOCK_BYTES)
    # Otherwise a decoder could shorten the file, and reading the missing part would crash this process.
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
    return descriptor
