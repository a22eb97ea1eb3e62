"""Videos -> clips -> batches -> features on one machine: decoders run ahead, batches fill across videos."""

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import NotAVideoError, P3DFeatError, UsageError, VideoError
from p3dfeat.types import (
    Batch,
    Clip,
    Failure,
    Features,
    FloatArray,
    Pending,
    UInt8Array,
    Video,
    VideoEnd,
    VideoInfo,
    VideoStart,
)
from p3dfeat.video import Decoders, Read


class Engine(Protocol):
    """Runs a network on batches."""

    in_flight: int  # useful number of started batches

    @property
    def batch_size(self) -> int: ...

    def start(self, batch: Batch) -> Pending:
        """Start a batch. Its memory may be overwritten as soon as this returns."""
        ...


@dataclass(frozen=True)
class Started:
    """A video was opened and its clips are planned.

    again: whether its results so far must be dropped.
    """

    video: Video
    num_clips: int
    again: bool = False


@dataclass(frozen=True)
class Described:
    """Features of the next clips of a video, in time order."""

    video: Video
    features: Features


@dataclass(frozen=True)
class Finished:
    """All clips of a video are computed."""

    video: Video
    info: VideoInfo


@dataclass(frozen=True)
class Failed:
    """A video could not be read to its end; its results so far must be dropped."""

    video: Video
    failure: Failure

    @property
    def is_no_video(self) -> bool:
        """Whether the file was only tried, and is not a video: it is left out, not failed."""
        return is_no_video(self.video, self.failure.error)


Event = Started | Described | Finished | Failed


def describe(
    videos: Sequence[Video],
    *,
    engine: Engine,
    spec: InputSpec,
    sampling: Sampling,
    decoders: Decoders | None = None,
    pool: str = "none",
) -> Generator[Event, None, None]:
    """Run ``engine`` over all clips of all videos; yield events in the order of ``videos``, whatever the timing.

    The crops of a clip are inputs of the network of their own. With several, features are (clips, crops, ...).

    pool: "mean" averages layers with time, height and width to one number per channel.
    decoders: if None, new processes are started and ended here.
    A video that cannot be read does not affect the others. Memory depends on the settings, not on the videos.
    """
    room: UInt8Array | None = None  # for the clips of a batch; an engine has read them when ``start`` returns
    group, started = Group(pool), deque[Group]()
    crops = Crops(len(spec.crops))
    size = engine.batch_size
    with closing(decoded_ahead(videos, spec, sampling, decoders)) as decoded:
        for video, item in decoded:
            if isinstance(item, Clip):
                if room is None:
                    room = _room(size, item.frames.shape)
                room[group.num_clips] = item.frames
            group.add(video, item)
            if room is not None and group.num_clips == size:
                started.append(group.start(engine, room))
                group = Group(pool)
                size = min(engine.batch_size, size)  # smaller after memory has run out
            while len(started) >= engine.in_flight:
                yield from started.popleft().events(crops)
            if not started and not group.num_clips:
                yield from group.events(crops)
                group = Group(pool)
    if room is not None and group.num_clips:
        group.start(engine, room)
    for last in (*started, group):
        yield from last.events(crops)


def _room(batch_size: int, clip_shape: tuple[int, ...]) -> UInt8Array:
    """(batch_size, T, H, W, C) uint8, stored channel by channel like clips: copying them is 50 times as fast."""
    length, height, width, channels = clip_shape
    try:
        return Batch.of_planes(np.empty((batch_size, length, channels, height, width), np.uint8)).frames
    except (MemoryError, ValueError):  # more than available; more than can be addressed
        raise UsageError(f"batch size {batch_size}: its clips do not fit into memory; take a smaller one") from None


def averaged(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, C, ...) to (N, C): the mean over time, height and width. Each row depends on its clip alone."""
    if rows.ndim == 2:
        return rows
    flat = np.ascontiguousarray(rows).reshape(*rows.shape[:2], -1)
    return np.asarray(flat.mean(axis=2, dtype=np.float64), np.float32)


@dataclass(frozen=True)
class Row:
    """A crop of a clip; its frames are in its group's batch."""

    seconds: tuple[float, float]
    first_frame: int
    padded_frames: int


Happening = VideoStart | Row | VideoEnd | VideoError


class Group:
    """The clips of one batch, each crop counted as one, and the events around them, in order."""

    def __init__(self, pool: str) -> None:
        self.num_clips, self._pool = 0, pool
        self._happened: list[tuple[Video, Happening]] = []
        self._pending: Pending | None = None

    @property
    def happened(self) -> Sequence[tuple[Video, Happening]]:
        """The rows of the batch and what comes between them, in order."""
        return self._happened

    def add(self, video: Video, item: Read | Row) -> None:
        if isinstance(item, Clip):
            item = Row((item.start_seconds, item.end_seconds), item.first_frame, item.padded_frames)
        if isinstance(item, Row):
            self._happened.append((video, item))
            self.num_clips += 1
            return
        if isinstance(item, VideoError) or (isinstance(item, VideoStart) and item.again):
            # Its clips in this group, which are the last ones, are no longer needed.
            while self._happened and self._happened[-1][0] == video and isinstance(self._happened[-1][1], Row):
                self._happened.pop()
                self.num_clips -= 1
        self._happened.append((video, item))

    def wait_for(self, pending: Pending) -> None:
        """Take the rows of features from a batch that was started elsewhere."""
        self._pending = pending

    def start(self, engine: Engine, room: UInt8Array) -> "Group":
        """Start ``engine`` on the first rows of ``room``, which belong to this group."""
        self._pending = engine.start(Batch(room[: self.num_clips]))
        return self

    def events(self, crops: "Crops") -> Iterator[Event]:
        """The events in order; features of consecutive clips of a video come together."""
        rows = {} if self._pending is None else self._pending.result()
        if self._pool == "mean":
            rows = {name: averaged(values) for name, values in rows.items()}
        first = 0
        for (video, is_row), entries in groupby(self._happened, key=lambda e: (e[0], isinstance(e[1], Row))):
            items = [item for _, item in entries]
            if is_row:
                part = {name: values[first : first + len(items)] for name, values in rows.items()}
                features = crops.joined([item for item in items if isinstance(item, Row)], part)
                if len(features):
                    yield Described(video, features)
                first += len(items)
            else:
                crops.drop()
                yield from (_event(video, item) for item in items)


class Crops:
    """Joins the crops of each clip, which may be in several batches."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.drop()

    def drop(self) -> None:
        """Forget the crops of an incomplete clip: its video failed, or begins again."""
        self._rows: list[Row] = []
        self._layers: dict[str, FloatArray] = {}

    def joined(self, rows: Sequence[Row], layers: Mapping[str, FloatArray]) -> Features:
        """Features of all clips that are complete with these rows; there may be none."""
        if self._rows:
            layers = {name: np.concatenate([self._layers[name], values]) for name, values in layers.items()}
        rows = [*self._rows, *rows]
        clips = len(rows) // self._count
        whole = clips * self._count
        self._rows, self._layers = rows[whole:], {name: values[whole:] for name, values in layers.items()}
        first = rows[: whole : self._count]  # the crops of a clip have the same frames
        return Features(
            {name: self._shaped(values[:whole], clips) for name, values in layers.items()},
            np.array([row.seconds for row in first], np.float64).reshape(clips, 2),
            np.array([row.first_frame for row in first], np.int64),
            sum(row.padded_frames for row in first),
        )

    def _shaped(self, values: FloatArray, clips: int) -> FloatArray:
        """(clips * crops, ...) to (clips, crops, ...); with one crop, unchanged."""
        return values if self._count == 1 else values.reshape(clips, self._count, *values.shape[1:])


def _event(video: Video, item: Happening) -> Event:
    if isinstance(item, VideoStart):
        return Started(video, item.num_clips, item.again)
    if isinstance(item, VideoEnd):
        return Finished(video, item.info)
    assert isinstance(item, VideoError)
    return Failed(video, Failure(video.id, video.source, item, video.path))


def is_no_video(video: Video, error: P3DFeatError) -> bool:
    """Whether a file was tried regardless of its extension and is not a video."""
    return video.by_content and isinstance(error, NotAVideoError)


def decoded_ahead(
    videos: Sequence[Video], spec: InputSpec, sampling: Sampling, decoders: Decoders | None = None
) -> Generator[tuple[Video, Read], None, None]:
    """``Decoders.read``; without ``decoders``, new ones are started and ended here."""
    if decoders is not None:
        yield from decoders.read(videos, spec, sampling)
    elif videos:
        with Decoders() as own:
            yield from own.read(videos, spec, sampling)
