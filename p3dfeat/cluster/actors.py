"""The actors of a run on Ray: networks and decoders on each node, replaced when they die."""

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from p3dfeat.cluster.computing import Computing
from p3dfeat.cluster.decoding import Decoding
from p3dfeat.cluster.nodes import Load, Node, alive, load_of
from p3dfeat.config import InputSpec
from p3dfeat.errors import ClusterError
from p3dfeat.events import Warned
from p3dfeat.options import ExtractSettings

MOST_STARTS: Final = 5  # of each actor of a node, until the node is given up
LOOK_SECONDS: Final = 5.0  # between two looks at the list of nodes


@dataclass
class Actor:
    """An actor on a node. busy: number of its unfinished calls."""

    handle: Any
    node: Node
    busy: int = 0


class Actors:
    """The networks and decoders of all nodes. model: a reference to the model in Ray's object store."""

    def __init__(self, ray: Any, settings: ExtractSettings, model: Any, spec: InputSpec):
        self.ray = ray
        self.networks: list[Actor] = []
        self.decoders: list[Actor] = []
        self._settings, self._model, self._spec = settings, model, spec
        self._starts = Counter[str]()
        self._known: set[str] = set()  # nodes that have been given their actors
        self._given_up: set[str] = set()
        self._joining: list[tuple[Actor, Any]] = []  # of nodes that came later, and their answers
        self._about: dict[str, Any] = {}  # how this run computes
        self._looked = time.monotonic()
        nodes = alive(ray.nodes())
        self._with_gpus = any(node.gpus and node.cpus > 0 for node in nodes)
        for node in nodes:
            networks, decoders = self._laid_on(node)
            self.networks += networks
            self.decoders += decoders

    def admit_only(self, about: dict[str, Any]) -> None:
        """From now on, actors of further nodes must say the same of themselves."""
        self._about = about

    def close(self) -> None:
        """End all actors."""
        for actor in (*self.networks, *self.decoders):
            with suppress(Exception):
                self.ray.kill(actor.handle)

    def free(self) -> str:
        """What the cluster has left, in words."""
        free = self.ray.available_resources()
        return f"free in the cluster: {free.get('CPU', 0):g} CPUs, {free.get('GPU', 0):g} GPUs"

    def look(self) -> None:
        """Give actors to nodes that are new, and admit those that compute as this run does.

        Raises ClusterError if no node is left that could compute.
        """
        self._admit()
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        nodes = alive(self.ray.nodes())
        for node in nodes:
            if node.id not in self._known:
                for actor in chain(*self._laid_on(node)):
                    self._joining.append((actor, actor.handle.about.remote()))
        usable = [node for node in nodes if node.cpus > 0 and node.id not in self._given_up]
        if not usable and not (self.networks and self.decoders):
            raise ClusterError("cluster: the actors of all nodes died again and again; see Ray's logs on the nodes")

    def _laid_on(self, node: Node) -> tuple[list[Actor], list[Actor]]:
        """New networks and decoders on a node."""
        self._known.add(node.id)
        load = load_of(node, with_gpus=self._with_gpus)
        if load is None:
            return [], []
        return [self._network(node, load) for _ in range(load.networks)], [self._decoder(node, load)]

    def _admit(self) -> None:
        """Take in actors that have answered."""
        for actor, answer in list(self._joining):
            if not self.ray.wait([answer], timeout=0)[0]:
                continue
            self._joining.remove((actor, answer))
            try:
                about = self.ray.get(answer)
            except self.ray.exceptions.RayError:
                self._settings.on_event(Warned(f"{actor.node}: p3dfeat does not start there"))
                continue
            if unlike := sorted(name for name in about if name in self._about and about[name] != self._about[name]):
                self._settings.on_event(Warned(f"{actor.node}: not used, since its {unlike[0]} is another"))
            elif "engine" in about:
                self.networks.append(actor)
            else:
                self.decoders.append(actor)

    def is_alive(self, node: Node) -> bool:
        return node.id in {each.id for each in alive(self.ray.nodes())}

    def _placed(self, node: Node, **options: Any) -> dict[str, Any]:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node.id, soft=False), **options}

    def _network(self, node: Node, load: Load) -> Actor:
        settings = self._settings
        options: dict[str, Any] = {
            "engine": settings.engine,
            "device": settings.device if load.network_gpus or settings.device != "auto" else "cpu",
            "precision": settings.precision,
            "batch_size": settings.batch_size,
        }
        made = self.ray.remote(Computing).options(
            **self._placed(node, num_cpus=load.network_cpus, num_gpus=load.network_gpus),
            max_concurrency=8,
            runtime_env={"env_vars": {"OMP_NUM_THREADS": str(max(1, int(node.cpus)))}},
        )
        handle = made.remote(self._model, self._spec, settings.layer_names, options, settings.pool)
        return Actor(handle, node)

    def _decoder(self, node: Node, load: Load) -> Actor:
        settings = self._settings
        decoders = {
            "workers": settings.workers or load.decoders,
            "decoder": settings.decode_device if load.network_gpus else "cpu",
            "timeout": settings.timeout,
            "memory": settings.decoder_memory,
            "partial": settings.on_error == "partial",
            "strict": settings.strict,
            "check": settings.check,
        }
        made = self.ray.remote(Decoding).options(**self._placed(node, num_cpus=load.decoder_cpus))
        return Actor(made.remote(decoders), node)

    def lost(self, actor: Actor) -> None:
        """An actor died. If its node is alive, it gets another one, unless they die again and again."""
        actors = self.networks if actor in self.networks else self.decoders
        if actor not in actors:
            return
        actors.remove(actor)
        load = load_of(actor.node, with_gpus=self._with_gpus)
        self._starts[actor.node.id] += 1
        what = "network" if actors is self.networks else "decoder"
        self._settings.on_event(Warned(f"{actor.node}: its {what} was lost; what it had in hand is computed again"))
        if load is None or not self.is_alive(actor.node):
            return
        if self._starts[actor.node.id] > MOST_STARTS * (load.networks + 1):
            self._given_up.add(actor.node.id)
            self._settings.on_event(Warned(f"{actor.node}: given up, its actors died again and again"))
            return
        actors.append(self._network(actor.node, load) if actors is self.networks else self._decoder(actor.node, load))
