"""The unfinished work of a run on Ray: videos are handed out, clips go to networks, features are collected."""

import os
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from p3dfeat.cluster.actors import Actor, Actors
from p3dfeat.cluster.messages import heard_of
from p3dfeat.errors import ClusterError, P3DFeatError, VideoError
from p3dfeat.text.counts import counted
from p3dfeat.types import Failure, FloatArray, Video
from p3dfeat.video.workers.messages import NonsenseError
from p3dfeat.workflows.job import RunJob
from p3dfeat.workflows.pipeline import Crops, Described, Event, Failed, Finished, Group, Started

CHUNK: Final = 16  # videos that are handed to a node at once: less is lost with it, more fill batches better
STREAMS: Final = 2  # chunks of a node: one is decoded, the next one waits
OBJECTS_AHEAD: Final = 8  # of a chunk: clips that are decoded and not taken yet, and what is said of them
BATCHES_AHEAD: Final = 2  # per network, beside those that its engine has in flight
MOST_DEATHS: Final = 3  # of actors that had a video in hand, at last alone
POLL_SECONDS: Final = 1.0


@dataclass
class _Batch:
    """A block of clips. rows: the reference to its features; None before they are asked for."""

    group: Group
    clips: Any
    network: Actor | None = None
    rows: Any = None
    result: dict[str, FloatArray] | None = None

    @property
    def is_done(self) -> bool:
        return not self.group.num_clips or self.result is not None


@dataclass
class _Stream:
    """The videos of one chunk, in one decoder actor. said: the reference to what is said of the next block."""

    decoder: Actor
    videos: Sequence[Video]
    objects: Any
    crops: Crops
    said: bytes | None = None
    ended: bool = False
    batches: deque[_Batch] = field(default_factory=deque)
    events: dict[str, list[Event]] = field(default_factory=dict)  # of videos that are not finished, by id
    finished: set[str] = field(default_factory=set)

    @property
    def unfinished(self) -> list[Video]:
        return [video for video in self.videos if video.id not in self.finished]


class _Ready:
    """A batch whose features have come; see ``Pending``."""

    def __init__(self, rows: dict[str, FloatArray]):
        self._rows = rows

    def result(self) -> dict[str, FloatArray]:
        return self._rows


class Work:
    """The unfinished work of a run. moves: number of objects that have come."""

    def __init__(self, actors: Actors, videos: Sequence[Video], job: RunJob):
        self._actors, self._ray, self._job = actors, actors.ray, job
        self._ahead = BATCHES_AHEAD + getattr(job.engine, "in_flight", 1) - 1
        self._waiting = deque(videos)
        self._streams: list[_Stream] = []
        self._deaths = Counter[str]()
        self.moves = 0

    @property
    def is_done(self) -> bool:
        return not self._waiting and not self._streams

    def __str__(self) -> str:
        decoding = sum(len(stream.unfinished) for stream in self._streams)
        return f"{counted(len(self._waiting), 'video')} waiting, {decoding:,} handed out"

    def step(self) -> list[Event]:
        """Hand out work, wait a moment for objects, and handle one of them."""
        self._hand_out()
        for stream in self._streams:
            self._compute(stream)
        wanted: dict[Any, _Stream] = {}
        for stream in self._streams:
            for batch in stream.batches:
                if batch.rows is not None and batch.result is None:
                    wanted[batch.rows] = stream
            if not stream.ended and not self._is_full():
                wanted[stream.objects] = stream
        if not wanted:
            time.sleep(POLL_SECONDS)
            return []
        ready, _ = self._ray.wait(list(wanted), num_returns=1, timeout=POLL_SECONDS, fetch_local=False)
        events: list[Event] = []
        for reference in ready:
            stream = wanted[reference]
            if stream not in self._streams:
                continue
            self.moves += 1
            try:
                if reference is stream.objects:
                    self._take_object(stream)
                else:
                    self._take_rows(stream, reference)
                self._compute(stream)
                events += self._told(stream)
            except self._ray.exceptions.RayError as error:
                events += self._stream_lost(stream, error)
            except NonsenseError as error:
                raise ClusterError(f"{stream.decoder.node}: its decoder sent an invalid message: {error}") from None
        return events

    def _is_full(self) -> bool:
        """Whether all networks have enough batches to compute."""
        networks = self._actors.networks
        return all(network.busy >= self._ahead for network in networks)

    def _hand_out(self) -> None:
        job = self._job
        for decoder in self._actors.decoders:
            while self._waiting and decoder.busy < STREAMS:
                videos = self._chunk()
                objects = decoder.handle.read.options(
                    num_returns="streaming", _generator_backpressure_num_objects=OBJECTS_AHEAD
                ).remote(list(map(_absolute, videos)), job.spec, job.sampling, job.engine.batch_size)
                decoder.busy += 1
                self._streams.append(_Stream(decoder, videos, objects, Crops(len(self._job.spec.crops))))

    def _chunk(self) -> list[Video]:
        """The next videos for a decoder. One with which an actor died goes alone, so that it cannot harm others."""
        share = -(-len(self._waiting) // (STREAMS * len(self._actors.decoders)))
        videos: list[Video] = []
        while self._waiting and len(videos) < min(CHUNK, share):
            if self._deaths[self._waiting[0].id]:
                return videos or [self._waiting.popleft()]
            videos.append(self._waiting.popleft())
        return videos

    def _take_object(self, stream: _Stream) -> None:
        """The next object of a stream: what is said of a block, or its clips."""
        try:
            reference = next(stream.objects)
        except StopIteration:
            stream.ended = True
            stream.decoder.busy -= 1
            return
        if stream.said is None:
            stream.said = bytes(self._ray.get(reference))
            return
        group = heard_of(stream.said, stream.videos)
        stream.said = None
        stream.batches.append(_Batch(group, reference))

    def _compute(self, stream: _Stream) -> None:
        """Hand the batches of a stream to networks: to one on the same node, unless another has less to do."""
        for batch in stream.batches:
            if batch.is_done or batch.rows is not None:
                continue
            networks = [each for each in self._actors.networks if each.busy < self._ahead + 1]
            if not networks:
                return
            here = stream.decoder.node.id
            batch.network = min(networks, key=lambda each: (each.busy - (each.node.id == here), each.node.id != here))
            batch.rows = batch.network.handle.compute.remote(batch.clips)
            batch.network.busy += 1

    def _take_rows(self, stream: _Stream, reference: Any) -> None:
        batch = next(each for each in stream.batches if each.rows is reference)
        network = batch.network
        assert network is not None
        network.busy -= 1
        batch.network = batch.rows = None  # so that it is computed again, unless its features have come
        try:
            rows = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, self._ray.exceptions.RayError):  # the clips went with their decoder or its node
                raise error.cause from None
            if isinstance(error.cause, P3DFeatError):
                raise error.cause from None
            raise ClusterError(f"{network.node}: {reason_of(error)}") from None
        except actor_died(self._ray):  # the clips are still in the store
            self._actors.lost(network)
            return
        except self._ray.exceptions.ObjectLostError:  # the features were, with their node
            return
        count, layers = batch.group.num_clips, self._job.engine.layers
        if set(rows) != set(layers) or any(
            not isinstance(values, np.ndarray) or values.dtype != np.float32 or len(values) != count
            for values in rows.values()
        ):
            raise ClusterError(f"{network.node}: its network sent invalid features")
        batch.result = {name: np.array(values) for name, values in rows.items()}  # not Ray's memory
        batch.clips = None

    def _told(self, stream: _Stream) -> list[Event]:
        """The events of videos that are finished, from the batches at the front that are done."""
        told: list[Event] = []
        while stream.batches and stream.batches[0].is_done:
            batch = stream.batches.popleft()
            if batch.result is not None:
                batch.group.wait_for(_Ready(batch.result))
            for event in batch.group.events(stream.crops):
                told += self._sorted_in(stream, event)
        if stream.ended and not stream.batches:
            self._streams.remove(stream)
            self._waiting.extendleft(reversed(stream.unfinished))
        return told

    def _sorted_in(self, stream: _Stream, event: Event) -> list[Event]:
        video = event.video
        if isinstance(event, Started | Described):
            if isinstance(event, Started):
                stream.events[video.id] = []
            stream.events[video.id].append(Started(video, event.num_clips) if isinstance(event, Started) else event)
            return []
        before = stream.events.pop(video.id, [])
        stream.finished.add(video.id)
        return [*before, event] if isinstance(event, Finished) else [event]

    def _stream_lost(self, stream: _Stream, error: Exception) -> list[Event]:
        """A decoder, its node or a block of its clips is gone: its unfinished videos are read again elsewhere."""
        self._streams.remove(stream)
        for batch in stream.batches:
            if batch.network is not None and batch.rows is not None and batch.result is None:
                batch.network.busy -= 1
        if not stream.ended:
            stream.decoder.busy -= 1
        if not isinstance(error, self._ray.exceptions.ObjectLostError) or not stream.ended:
            self._actors.lost(stream.decoder)
        left = stream.unfinished
        node_died = "node has died" in str(error) or not self._actors.is_alive(stream.decoder.node)
        if not node_died:  # that would be the fault of no video
            for video in left:
                self._deaths[video.id] += 1
        if len(left) == 1 and self._deaths[left[0].id] >= MOST_DEATHS:
            reason = VideoError(f"its decoder's actor died {MOST_DEATHS} times ({reason_of(error)})")
            return [Failed(left[0], Failure(left[0].id, left[0].source, reason, left[0].path))]
        self._waiting.extendleft(reversed(left))
        return []


def _absolute(video: Video) -> Video:
    """A video as another process finds it, which may work in another folder."""
    return video if video.remote else replace(video, path=os.path.abspath(video.path))


def actor_died(ray: Any) -> tuple[type[Exception], ...]:
    """The errors of a call whose actor has died, or cannot be started any more."""
    errors = ray.exceptions
    return (
        *(errors.RayActorError, errors.ActorUnschedulableError, errors.WorkerCrashedError, errors.NodeDiedError),
        *(errors.OutOfMemoryError, errors.RuntimeEnvSetupError),
    )


def reason_of(error: BaseException) -> str:
    """The last line of an error, which Ray gives with the trace of another machine."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]
