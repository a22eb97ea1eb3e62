"""The actors of a run on Ray: networks and decoders on each node, replaced when they die."""

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from p3dfeat.cluster.computing import Computing
from p3dfeat.cluster.decoding import Decoding
from p3dfeat.cluster.nodes import Load, Node, alive, load_of
from p3dfeat.config import InputSpec
from p3dfeat.events import Warned
from p3dfeat.options import ExtractSettings

MOST_STARTS: Final = 5  # of the actors of one node, until the node is given up
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
        self._looked = 0.0
        self.look(at_once=True)

    def close(self) -> None:
        """End all actors."""
        for actor in (*self.networks, *self.decoders):
            with suppress(Exception):
                self.ray.kill(actor.handle)

    def free(self) -> str:
        """What the cluster has left, in words."""
        free = self.ray.available_resources()
        return f"free in the cluster: {free.get('CPU', 0):g} CPUs, {free.get('GPU', 0):g} GPUs"

    def look(self, *, at_once: bool = False) -> None:
        """Give actors to nodes that are new, and drop those of nodes that are gone."""
        if not at_once and time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        nodes = alive(self.ray.nodes())
        with_gpus = any(node.gpus for node in nodes)
        for node in nodes:
            load = load_of(node, with_gpus=with_gpus)
            if load is not None and node.id not in self._known:
                self._known.add(node.id)
                self.networks += [self._network(node, load) for _ in range(load.networks)]
                self.decoders.append(self._decoder(node, load))

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
        nodes = alive(self.ray.nodes())
        load = load_of(actor.node, with_gpus=any(node.gpus for node in nodes))
        self._starts[actor.node.id] += 1
        what = "network" if actors is self.networks else "decoder"
        self._settings.on_event(Warned(f"{actor.node}: its {what} was lost; what it had in hand is computed again"))
        if load is None or actor.node.id not in {node.id for node in nodes}:
            return
        if self._starts[actor.node.id] > MOST_STARTS:
            self._settings.on_event(Warned(f"{actor.node}: given up, its actors died {MOST_STARTS + 1} times"))
            return
        actors.append(self._network(actor.node, load) if actors is self.networks else self._decoder(actor.node, load))
