"""The driver of a run on Ray: it lays actors on the nodes, hands out videos and clips, and collects features.

Decoders and networks are actors of their own, so that nodes without a GPU can decode for those with one. A block of
clips goes through Ray's object store once, from a decoder to a network, on the same node if one is free there. Features
come to the driver, which writes them: its feature file is the ledger, and a run that was killed goes on from it.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Self

from p3dfeat._version import __version__
from p3dfeat.cluster.actors import Actor, Actors
from p3dfeat.cluster.work import Work, reason_of
from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import ClusterError, UsageError
from p3dfeat.events import Warned
from p3dfeat.options import ExtractSettings
from p3dfeat.types import Video
from p3dfeat.workflows.job import OnEvent, RunJob
from p3dfeat.workflows.pipeline import Event
from p3dfeat.zoo import Model

STALL_SECONDS: Final = 30.0  # without progress, until that is said
SAME: Final = ("p3dfeat", "ffmpeg", "engine", "precision", "device", "layers")  # on nodes that join later
CONNECT_SECONDS: Final = 10.0
START_SECONDS: Final = 300.0  # for an actor to load torch and the model


@dataclass(frozen=True)
class ClusterEngine:
    """How the networks of a cluster compute, for what a feature file records."""

    name: str
    device: str
    precision: str
    layers: tuple[str, ...]
    batch_size: int
    in_flight: int
    calibrated: None = None


class RayMachinery:
    """Computes a run on a Ray cluster. It joins the cluster as a driver, and its actors end with it.

    Raises UsageError if there is no such cluster, or ray is not installed.
    """

    def __init__(self, settings: ExtractSettings):
        self._settings = settings
        self._ray: Any = None
        self._joined = False
        self._actors: Actors | None = None

    def __enter__(self) -> Self:
        self._ray, self._joined = _connected(str(self._settings.cluster))
        return self

    def __exit__(self, *_: object) -> None:
        if self._actors is not None:
            self._actors.close()
        if self._joined:
            with suppress(Exception):
                self._ray.shutdown()

    def job(self, videos: Sequence[Video], on_event: OnEvent) -> RunJob:
        """The job, with actors started on all nodes. Raises ClusterError."""
        return RunJob.of(self._settings, videos, on_event, engine_of=self._engine)  # type: ignore[arg-type]

    def forecast(self, videos: Sequence[Video], sizes: Mapping[str, int], job: RunJob) -> dict[str, float]:
        return {}

    def _engine(self, model: Model, spec: InputSpec, sampling: Sampling) -> ClusterEngine:
        actors = self._actors = Actors(self._ray, self._settings, self._ray.put(model), spec)
        if not actors.networks or not actors.decoders:
            raise ClusterError("cluster: no node with a CPU; start nodes with ray start --num-cpus")
        abouts = self._asked(actors, "about")
        for actor, about in abouts:
            if about["p3dfeat"] != __version__:
                raise ClusterError(
                    f"{actor.node}: has p3dfeat {about['p3dfeat']}, this machine {__version__}; install the same there"
                )
        own = [(actor, about) for actor, about in abouts if "engine" in about]
        first = own[0][1]
        for actor, about in own:
            for name in ("engine", "precision", "device"):
                if about[name] != first[name]:
                    raise ClusterError(
                        f"{actor.node}: computes with {name} {about[name]}, {own[0][0].node} with {first[name]}; "
                        f"give --{name.replace('_', '-')}, or install the same there"
                    )
        actors.admit_only({name: value for _, about in abouts for name, value in about.items() if name in SAME})
        versions = {about["ffmpeg"] for actor, about in abouts if "ffmpeg" in about}
        if len(versions) > 1:
            self._settings.on_event(Warned(f"nodes have different versions of FFmpeg: {', '.join(sorted(versions))}"))
        return ClusterEngine(
            first["engine"],
            first["device"],
            first["precision"],
            tuple(first["layers"]),
            first["batch_size"],
            first["in_flight"],
        )

    def _asked(self, actors: Actors, method: str) -> list[tuple[Actor, dict[str, Any]]]:
        """What each actor answers. Raises ClusterError for one that does not start."""
        answers = [(actor, getattr(actor.handle, method).remote()) for actor in (*actors.networks, *actors.decoders)]
        found = []
        for actor, answer in answers:
            deadline = time.monotonic() + START_SECONDS
            while not self._ray.wait([answer], timeout=STALL_SECONDS)[0]:
                self._settings.on_event(Warned(f"waiting for {actor.node}: {actors.free()}"))
                if time.monotonic() > deadline:
                    raise ClusterError(f"{actor.node}: its actor did not start within {START_SECONDS:g} s")
            try:
                found.append((actor, self._ray.get(answer)))
            except self._ray.exceptions.RayError as error:
                raise ClusterError(f"{actor.node}: p3dfeat does not start there ({reason_of(error)})") from None
        return found

    def describe(self, videos: Sequence[Video], job: RunJob) -> Generator[Event, None, None]:
        """The events of the videos, those of one video together, in the order in which they are finished."""
        actors = self._actors
        assert actors is not None
        run = Work(actors, videos, job)
        last, moved = time.monotonic(), 0
        while not run.is_done:
            actors.look()
            events = run.step()
            yield from events
            if events or run.moves != moved:
                last, moved = time.monotonic(), run.moves
            elif time.monotonic() - last > STALL_SECONDS:
                last = time.monotonic()
                self._settings.on_event(Warned(f"no progress for {STALL_SECONDS:g} s; {actors.free()}; {run}"))


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the handlers of signals: Ray would end the process at SIGTERM, with the trace of a crash."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    if threading.current_thread() is threading.main_thread():
        for number, handler in before.items():
            if handler is not None:  # else it was set by another language
                signal.signal(number, handler)


def _say_nothing(*_: Any, **__: Any) -> None:
    """In place of Ray's own printing."""


def _connected(address: str) -> tuple[Any, bool]:
    """Ray, joined to a running cluster, and whether this call has joined it. Raises UsageError.

    A program that has joined a cluster already stays in it.
    """
    if address.startswith("ray://"):
        raise UsageError(f"cluster {address}: Ray's client is not supported; run p3dfeat on a machine of the cluster")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # of work that is done again elsewhere
    try:
        import ray
    except ImportError:
        raise UsageError("cluster: needs Ray; install it with pip install 'p3dfeat[ray]'") from None
    with suppress(ImportError, AttributeError):  # Ray tells of dead workers on stdout, whatever log_to_driver says
        from ray._private import worker

        worker.print_to_stdstream = _say_nothing
    try:
        if ray.is_initialized():
            return ray, False
        if address != "auto":  # Ray itself would try for many minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
        with _own_signals():
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, namespace="p3dfeat")
    except (ConnectionError, RuntimeError, ValueError, OSError):
        remedy = "start one with ray start --head, or name its head, such as 10.0.0.1:6379"
        raise UsageError(f"cluster {address}: no Ray cluster can be reached; {remedy}") from None
    return ray, True
