"""Videos -> clips -> batches -> features on one machine: decoding runs ahead in threads, batches fill across videos."""

import os
import queue
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import UsageError, VideoError
from p3dfeat.types import Batch, Clip, Failure, Features, FloatArray, Video, VideoInfo
from p3dfeat.video import VideoEnd, VideoStart, read_clips

CLIPS_AHEAD: Final = 24  # clips decoded but not yet run, a video; bounds memory


class Engine(Protocol):
    """What runs a net on batches."""

    @property
    def batch_size(self) -> int: ...

    def run(self, batch: Batch) -> dict[str, FloatArray]: ...


@dataclass(frozen=True)
class Started:
    """A video was opened and its clips are planned."""

    video: Video
    num_clips: int


@dataclass(frozen=True)
class Described:
    """Features of the next clips of a video, in time order."""

    video: Video
    features: Features


@dataclass(frozen=True)
class Finished:
    """Every clip of a video is described."""

    video: Video
    info: VideoInfo


@dataclass(frozen=True)
class Failed:
    """A video could not be read to its end; what was described of it is to be thrown away."""

    video: Video
    failure: Failure


Event = Started | Described | Finished | Failed
_Read = VideoStart | Clip | VideoEnd | VideoError


def describe(
    videos: Sequence[Video],
    *,
    engine: Engine,
    spec: InputSpec,
    sampling: Sampling,
    batch_size: int | None = None,
    workers: int | None = None,
) -> Generator[Event, None, None]:
    """Run ``engine`` over all clips of all videos; yield events in the order of ``videos``, whatever the timing.

    A video that cannot be read costs only itself. Memory is bounded by the settings, not by the videos.
    """
    batch_size = engine.batch_size if batch_size is None else batch_size
    if batch_size < 1:
        raise UsageError(f"batch size {batch_size}: must be at least 1")
    waiting: list[tuple[Video, Clip | VideoEnd | VideoError]] = []
    with closing(decoded_ahead(videos, spec, sampling, workers)) as decoded:
        for video, item in decoded:
            if isinstance(item, VideoStart):
                yield Started(video, item.num_clips)
                continue
            if isinstance(item, VideoError):  # what waits of this video need not be run any more
                waiting = [entry for entry in waiting if entry[0].id != video.id]
            waiting.append((video, item))
            num_clips = sum(isinstance(entry[1], Clip) for entry in waiting)
            if num_clips >= batch_size or not num_clips:
                yield from _described(waiting, engine)
                waiting = []
    yield from _described(waiting, engine)


def default_workers() -> int:
    """How many videos are decoded at once: as many as there are cores to use, four at most."""
    return max(1, min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


def _described(waiting: list[tuple[Video, Clip | VideoEnd | VideoError]], engine: Engine) -> Iterator[Event]:
    """Run the clips that wait as one batch; yield their features, a video at a time, and the videos' ends."""
    clips = [item for _, item in waiting if isinstance(item, Clip)]
    rows = engine.run(Batch(np.stack([clip.frames for clip in clips]))) if clips else {}
    first = 0
    while waiting:
        video, item = waiting[0]
        if isinstance(item, VideoEnd):
            waiting.pop(0)
            yield Finished(video, item.info)
            continue
        if isinstance(item, VideoError):
            waiting.pop(0)
            yield Failed(video, Failure(video.id, video.source, item))
            continue
        count = 0
        while count < len(waiting) and waiting[count][0].id == video.id and isinstance(waiting[count][1], Clip):
            count += 1
        del waiting[:count]
        part = slice(first, first + count)
        seconds = np.array([(clip.start_seconds, clip.end_seconds) for clip in clips[part]], np.float64)
        padded = sum(clip.padded_frames for clip in clips[part])
        yield Described(video, Features({name: values[part] for name, values in rows.items()}, seconds, padded))
        first += count


def decoded_ahead(
    videos: Sequence[Video], spec: InputSpec, sampling: Sampling, workers: int | None = None
) -> Generator[tuple[Video, _Read], None, None]:
    """What ``read_clips`` yields for each video in turn, while the next ``workers`` are already being decoded."""
    workers = workers or default_workers()
    stop = threading.Event()
    ahead: deque[tuple[Video, queue.Queue[_Read | BaseException | None]]] = deque()
    remaining = iter(videos)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")

    def start_next() -> None:
        video = next(remaining, None)
        if video is not None:
            results: queue.Queue[_Read | BaseException | None] = queue.Queue(CLIPS_AHEAD)
            ahead.append((video, results))
            pool.submit(_decode_into, results, video, spec, sampling, stop)

    try:
        for _ in range(workers):
            start_next()
        while ahead:
            video, results = ahead[0]
            while (item := results.get()) is not None:
                if isinstance(item, BaseException) and not isinstance(item, VideoError):
                    raise item
                yield video, item
            ahead.popleft()
            start_next()
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)


def _decode_into(
    results: "queue.Queue[_Read | BaseException | None]",
    video: Video,
    spec: InputSpec,
    sampling: Sampling,
    stop: threading.Event,
) -> None:
    """Put what one video gives, then None, into its queue; give up when nobody listens any more."""

    def put(item: _Read | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                results.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    try:
        for item in read_clips(video, spec, sampling):
            if not put(item):
                return
    except VideoError as error:
        put(error)
    except BaseException as error:  # a bug: it must end the run, not this thread alone
        put(error)
    put(None)
