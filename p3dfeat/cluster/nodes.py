"""The machines of a Ray cluster, and how work is laid on each."""

from dataclasses import dataclass
from typing import Any, Final

MOST_DECODERS: Final = 16  # decoder processes of one node; more wait for its disk and memory


@dataclass(frozen=True)
class Node:
    """A machine that Ray lists as alive."""

    id: str
    address: str
    cpus: float
    gpus: int

    def __str__(self) -> str:
        return f"node {self.address} ({self.id[:6]})"


@dataclass(frozen=True)
class Load:
    """What a node runs: networks, and an actor with decoder processes. CPUs and GPUs are those that Ray sets aside.

    >>> load_of(Node("a", "10.0.0.1", 8, 0), with_gpus=False)
    Load(networks=1, network_cpus=4, network_gpus=0, decoders=8, decoder_cpus=4)
    >>> load_of(Node("a", "10.0.0.1", 32, 2), with_gpus=True)
    Load(networks=2, network_cpus=1, network_gpus=1, decoders=16, decoder_cpus=30)
    >>> load_of(Node("a", "10.0.0.1", 32, 0), with_gpus=True)  # feeds the GPUs of others
    Load(networks=0, network_cpus=0, network_gpus=0, decoders=16, decoder_cpus=32)
    """

    networks: int
    network_cpus: float
    network_gpus: int
    decoders: int
    decoder_cpus: float


def load_of(node: Node, *, with_gpus: bool) -> Load | None:
    """The load of a node, or None for one without CPUs. with_gpus: whether any node has a GPU.

    On a node without a GPU, the network and the decoders share all cores, as on one machine: Ray sets half of them
    aside for each, and each takes what the other leaves.
    """
    if node.cpus <= 0:
        return None
    decoders = max(1, min(MOST_DECODERS, int(node.cpus)))
    if not with_gpus:
        half = node.cpus // 2 or node.cpus / 2
        return Load(1, half, 0, decoders, _whole(node.cpus - half))
    networks = min(node.gpus, max(1, int(node.cpus) - 1)) if node.gpus else 0
    left = node.cpus - networks if node.cpus > networks else node.cpus / 2
    cpus = 1 if node.cpus > networks else node.cpus / 2 / max(1, networks)
    return Load(networks, cpus if networks else 0, 1 if networks else 0, decoders, _whole(left))


def _whole(cpus: float) -> float:
    """Ray takes fractions only below 1."""
    return float(int(cpus)) if cpus > 1 else cpus


def alive(listed: list[dict[str, Any]]) -> list[Node]:
    """The nodes in ``ray.nodes()`` that are alive, in the order of their numbers."""
    found = [
        Node(
            str(node["NodeID"]),
            str(node["NodeManagerAddress"]),
            float(node["Resources"].get("CPU", 0)),
            int(node["Resources"].get("GPU", 0)),
        )
        for node in listed
        if node["Alive"]
    ]
    return sorted(found, key=lambda node: node.id)
