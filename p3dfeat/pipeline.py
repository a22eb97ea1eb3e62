"""Videos -> clips -> batches -> features on one machine: decoders run ahead, batches fill across videos."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import UsageError, VideoError
from p3dfeat.types import Batch, Clip, Failure, Features, FloatArray, Video, VideoEnd, VideoInfo, VideoStart
from p3dfeat.video import Decoders, Read


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


def describe(
    videos: Sequence[Video],
    *,
    engine: Engine,
    spec: InputSpec,
    sampling: Sampling,
    batch_size: int | None = None,
    decoders: Decoders | None = None,
) -> Generator[Event, None, None]:
    """Run ``engine`` over all clips of all videos; yield events in the order of ``videos``, whatever the timing.

    decoders: what reads the videos; None: processes that are started here and end here.
    A video that cannot be read costs only itself. Memory is bounded by the settings, not by the videos.
    """
    batch_size = engine.batch_size if batch_size is None else batch_size
    if batch_size < 1:
        raise UsageError(f"batch size {batch_size}: must be at least 1")
    waiting: list[tuple[Video, Clip | VideoEnd | VideoError]] = []
    with closing(decoded_ahead(videos, spec, sampling, decoders)) as decoded:
        for video, item in decoded:
            if isinstance(item, VideoStart):
                yield Started(video, item.num_clips)
                continue
            if isinstance(item, VideoError):  # what waits of this video need not be run any more
                waiting = [entry for entry in waiting if entry[0].id != video.id]
            waiting.append((video, replace(item, frames=item.frames.copy()) if isinstance(item, Clip) else item))
            num_clips = sum(isinstance(entry[1], Clip) for entry in waiting)
            if num_clips >= batch_size or not num_clips:
                yield from _described(waiting, engine)
                waiting = []
    yield from _described(waiting, engine)


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
    videos: Sequence[Video], spec: InputSpec, sampling: Sampling, decoders: Decoders | None = None
) -> Generator[tuple[Video, Read], None, None]:
    """``Decoders.read``, where there are none yet with some that end with it."""
    if decoders is not None:
        yield from decoders.read(videos, spec, sampling)
    elif videos:
        with Decoders() as own:
            yield from own.read(videos, spec, sampling)
