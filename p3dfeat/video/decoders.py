"""Decoder processes: videos are decoded ahead of the net, and a decoder that crashes costs one video."""

import time
from collections import deque
from collections.abc import Generator, Iterable
from multiprocessing import connection
from typing import Final, Self

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import DecoderError, VideoError
from p3dfeat.types import Video, VideoEnd
from p3dfeat.video.process import DecoderProcess, Read, Reading
from p3dfeat.video.task import Job, Task, check_decoding, gpu_present, usable_cores

STARTS: Final = 3  # attempts at a process before giving up
MOST_WORKERS: Final = 4  # beside a net on the same cores; more would only hold memory


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
        self._processes = [DecoderProcess()]

    def read(
        self, videos: Iterable[Video], spec: InputSpec, sampling: Sampling
    ) -> Generator[tuple[Video, Read], None, None]:
        """What ``read_clips`` yields for each video in turn, while the next ones are already being decoded.

        A clip's pixels may be overwritten as soon as the next item is asked for. A VideoError ends its video only.
        """
        task = Task(spec, sampling, self._decoder)
        waiting = deque(videos)
        threads = max(1, self._cores // max(1, min(self.workers, len(waiting))))
        ahead: deque[Reading] = deque()
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

    def _with_room(self, task: Task) -> DecoderProcess | None:
        """A process that has nothing to do, or a new one, or one that is nearly done, or None."""
        for process in [process for process in self._processes if not process.busy]:
            if not process.ended:
                return process
            self._processes.remove(process)
            process.kill()
        if len(self._processes) < self.workers:
            self._processes.append(DecoderProcess())
            self._processes[-1].prepare(task)
            return self._processes[-1]
        return next((process for process in self._processes if process.nearly_done), None)

    def _gather(self, task: Task) -> None:
        """Wait until some process says something; take in all that has been said. Replace those that died."""
        for process in connection.wait([process for process in self._processes if process.busy]):  # type: ignore[misc]
            assert isinstance(process, DecoderProcess)
            try:
                process.listen()
            except EOFError:
                self._processes.remove(process)
                self._replace(process, task)

    def _replace(self, process: DecoderProcess, task: Task) -> None:
        """Let another process do what one that died has not begun."""
        ending, left = process.bury()
        self._failed_starts = 0 if process.started else self._failed_starts + 1
        if self._failed_starts >= STARTS:
            raise DecoderError(f"decoder process: ended {STARTS} times as it started ({ending}); it may say why above")
        if left:
            time.sleep(0.2 * self._failed_starts)  # memory may be short for a moment
            successor = DecoderProcess()
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
