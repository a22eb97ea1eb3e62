"""Decoder processes. Videos are decoded ahead of the network, and an error in a decoder loses only one video."""

import time
from collections import deque
from collections.abc import Generator, Iterable
from multiprocessing import connection
from typing import Any, Final, Self

from p3dfeat.config import DECODER_MEMORY, InputSpec, Sampling
from p3dfeat.errors import DecoderError, VideoError
from p3dfeat.types import Video, VideoEnd
from p3dfeat.video.workers.decode_progress import DecodeProgress, Read
from p3dfeat.video.workers.process import DecoderProcess
from p3dfeat.video.workers.task import DecodeJob, Task, check_decoding, gpu_present, usable_cores

PAUSES: Final = (0.2, 0.4)  # seconds between attempts to start a process, if none has ever started
LATER_PAUSES: Final = (0.2, 1.0, 5.0, 15.0, 30.0)  # if one has, or it was killed: memory may be short for a while
MOST_WORKERS: Final = 4  # with a network on the same cores; more would only use memory
POLL_SECONDS: Final = 0.25  # between checks that decoders still work


class Decoders:
    """Processes that read videos ahead of the caller, for use in a with statement.

    One process starts at once, so that it gets ready together with the caller. The others start when there are videos
    for them. Raises DecoderError if a process does not start.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        decoder: str = "auto",
        timeout: float | None = None,
        memory: float = DECODER_MEMORY,
        partial: bool = False,
        strict: bool = False,
        check: str = "read",
        distrust: bool = False,
    ):
        """workers: maximum number of processes; None: one per core, at most four.

        decoder: "cpu", "cuda", or "auto": a CUDA GPU if a test on the first video gives the same pixels in less time.
        timeout: seconds of work per video; None: no limit while it makes progress.
        memory: GB that videos may use per process, on Linux.
        partial, strict, check, distrust: as for ``read_clips``.
        """
        check_decoding(workers, decoder, timeout, memory)
        self._decoder = "cpu" if decoder == "auto" and not gpu_present() else decoder
        self._timeout, self._memory = timeout, memory
        self._ways: dict[str, Any] = {"partial": partial, "strict": strict, "check": check, "distrust": distrust}
        self._cores = usable_cores()
        self.workers = workers or min(MOST_WORKERS, self._cores)
        self._failed_starts, self._ever_started = 0, False
        self._processes = [DecoderProcess(gpu=self._decoder != "cpu")]

    def read(
        self, videos: Iterable[Video], spec: InputSpec, sampling: Sampling, *, only_plan: bool = False
    ) -> Generator[tuple[Video, Read], None, None]:
        """Yield (video, item) for the items of ``read_clips`` of each video in turn. The next videos are decoded ahead.

        A clip's pixels may be overwritten when the next item is asked for. A VideoError ends only its video.
        only_plan: yield no clips, and do not decode.
        """
        task = Task(spec, sampling, self._decoder, self._timeout, self._memory, only_plan, **self._ways)
        waiting = deque(videos)
        threads = max(1, self._cores // max(1, min(self.workers, len(waiting))))
        ahead: deque[DecodeProgress] = deque()
        for process in self._processes:
            process.prepare(task)
        try:
            while waiting or ahead:
                while waiting and (idle := self._with_room(task)) is not None:
                    ahead.append(DecodeProgress(DecodeJob(waiting.popleft(), threads)))
                    idle.take(ahead[-1])
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

    def _with_room(self, task: Task) -> DecoderProcess | None:
        """An idle process, or a new one, or one that is nearly done, or None."""
        for process in [process for process in self._processes if not process.busy]:
            if not process.ended:
                return process
            self._ever_started = True
            self._processes.remove(process)
            process.kill()
        if not self._processes:
            return self._add(task)
        if len(self._processes) < self.workers:
            try:
                self._processes.append(DecoderProcess(gpu=self._decoder != "cpu"))
            except DecoderError:  # continue with fewer processes
                self.workers = len(self._processes)
            else:
                self._processes[-1].prepare(task)
                return self._processes[-1]
        return next((process for process in self._processes if process.nearly_done), None)

    def _gather(self, task: Task) -> None:
        """Wait a moment for messages of the processes, and handle them. Replace processes that died or are useless."""
        busy = [process for process in self._processes if process.busy]
        began = time.monotonic()
        connection.wait(busy, POLL_SECONDS)  # type: ignore[arg-type]
        seconds = min(time.monotonic() - began, 2 * POLL_SECONDS)  # do not count a suspension of this process
        for process in busy:
            was_started = process.started
            useless = process.attend(seconds)
            if process.started and not was_started:
                self._failed_starts, self._ever_started = 0, True
            if useless:
                self._replace(process, task)

    def _replace(self, process: DecoderProcess, task: Task) -> None:
        """Give the remaining videos of a useless process to another one."""
        self._processes.remove(process)
        ending = process.bury()
        self._ever_started |= process.started
        if process.started:
            self._failed_starts = 0
        else:
            error = DecoderError(f"decoder process: stops as it starts ({ending}); it may say why above")
            self._pause(error, killed=ending == "SIGKILL" and not process.given_up)
        if process.readings:
            successor = self._add(task)
            for reading in process.readings:
                successor.take(reading)

    def _add(self, task: Task) -> DecoderProcess:
        """One more process, after several attempts if necessary. Raises DecoderError."""
        while True:
            try:
                self._processes.append(DecoderProcess(gpu=self._decoder != "cpu"))
            except DecoderError as error:
                self._pause(error)
            else:
                self._processes[-1].prepare(task)
                return self._processes[-1]

    def _pause(self, error: DecoderError, *, killed: bool = False) -> None:
        """After a process did not start, wait until the next attempt. Raises ``error`` after the last attempt.

        killed: whether it was killed from outside, as by the system when memory runs out.
        """
        pauses = LATER_PAUSES if self._ever_started or killed else PAUSES
        if self._failed_starts >= len(pauses):
            raise error
        time.sleep(pauses[self._failed_starts])
        self._failed_starts += 1

    def close(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.kill()
        self._processes.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
