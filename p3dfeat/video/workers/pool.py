"""Decoder processes: videos are decoded ahead of the network, and what goes wrong with a decoder costs one video."""

import time
from collections import deque
from collections.abc import Generator, Iterable
from multiprocessing import connection
from typing import Final, Self

from p3dfeat.config import DECODER_MEMORY, InputSpec, Sampling
from p3dfeat.errors import DecoderError, VideoError
from p3dfeat.types import Video, VideoEnd
from p3dfeat.video.workers.decode_progress import DecodeProgress, Read
from p3dfeat.video.workers.process import DecoderProcess
from p3dfeat.video.workers.task import DecodeJob, Task, check_decoding, gpu_present, usable_cores

PAUSES: Final = (0.2, 0.4)  # seconds between attempts at a process before giving up, where none has ever started
LATER_PAUSES: Final = (0.2, 1.0, 5.0, 15.0, 30.0)  # where some have, or it was killed: memory may be short for a while
MOST_WORKERS: Final = 4  # beside a network on the same cores; more would only hold memory
POLL_SECONDS: Final = 0.25  # between looks at whether decoders still work


class Decoders:
    """Processes that read videos ahead of whoever asks; for use in a with statement.

    One is started at once, so that it can get ready while its user does; the others when there are videos for them.
    Raises DecoderError where such a process does not start.
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
        distrust: bool = False,
    ):
        """workers: so many processes at most; None: one for each core, four at most.

        decoder: "cpu", "cuda", or "auto": a CUDA GPU where the first video shows that it gives the same pixels sooner.
        timeout: seconds that a process may work at a video; None: as long as it gets on.
        memory: GB that videos may take in a process, on Linux.
        partial, strict, distrust: as for ``read_clips``.
        """
        check_decoding(workers, decoder, timeout, memory)
        self._decoder = "cpu" if decoder == "auto" and not gpu_present() else decoder
        self._timeout, self._memory = timeout, memory
        self._ways = {"partial": partial, "strict": strict, "distrust": distrust}
        self._cores = usable_cores()
        self.workers = workers or min(MOST_WORKERS, self._cores)
        self._failed_starts, self._ever_started = 0, False
        self._processes = [DecoderProcess(gpu=self._decoder != "cpu")]

    def read(
        self, videos: Iterable[Video], spec: InputSpec, sampling: Sampling, *, only_plan: bool = False
    ) -> Generator[tuple[Video, Read], None, None]:
        """What ``read_clips`` yields for each video in turn, while the next ones are already being decoded.

        A clip's pixels may be overwritten as soon as the next item is asked for. A VideoError ends its video only.
        only_plan: no clips, and nothing is decoded for them.
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
        """A process that has nothing to do, or a new one, or one that is nearly done, or None."""
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
            except DecoderError:  # fewer must do
                self.workers = len(self._processes)
            else:
                self._processes[-1].prepare(task)
                return self._processes[-1]
        return next((process for process in self._processes if process.nearly_done), None)

    def _gather(self, task: Task) -> None:
        """Wait for what processes say, for a moment; take it in. Replace those that died, and those that must."""
        busy = [process for process in self._processes if process.busy]
        began = time.monotonic()
        connection.wait(busy, POLL_SECONDS)  # type: ignore[arg-type]
        seconds = min(time.monotonic() - began, 2 * POLL_SECONDS)  # a stop of this process is not theirs
        for process in busy:
            was_started = process.started
            useless = process.attend(seconds)
            if process.started and not was_started:
                self._failed_starts, self._ever_started = 0, True
            if useless:
                self._replace(process, task)

    def _replace(self, process: DecoderProcess, task: Task) -> None:
        """Let another process do what one that is of no more use has not done."""
        self._processes.remove(process)
        ending = process.bury()
        self._ever_started |= process.started
        if process.started:
            self._failed_starts = 0
        else:
            error = DecoderError(f"decoder process: ends as it starts ({ending}); it may say why above")
            self._pause(error, killed=ending == "SIGKILL" and not process.given_up)
        if process.readings:
            successor = self._add(task)
            for reading in process.readings:
                successor.take(reading)

    def _add(self, task: Task) -> DecoderProcess:
        """One more process, as soon as one can be had. Raises DecoderError."""
        while True:
            try:
                self._processes.append(DecoderProcess(gpu=self._decoder != "cpu"))
            except DecoderError as error:
                self._pause(error)
            else:
                self._processes[-1].prepare(task)
                return self._processes[-1]

    def _pause(self, error: DecoderError, *, killed: bool = False) -> None:
        """After a process that did not start: wait until the next attempt. Raises ``error`` after the last.

        killed: from outside, as the system does when memory runs out.
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
