"""A Ray cluster of several nodes on this machine, without a dashboard, on 127.0.0.1 alone."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # else Ray takes the machine's address in the network
STORE_BYTES: Final = 200 << 20
END_SECONDS: Final = 20.0


@contextmanager
def ray_nodes(count: int, cpus: int = 2) -> Iterator[Any]:
    """Start ``count`` nodes. Yields Ray's Cluster. Raises RuntimeError if a process of them is left at the end."""
    from ray.cluster_utils import Cluster

    others = set(processes())
    node = {"num_cpus": cpus, "object_store_memory": STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        for _ in range(1, count):
            cluster.add_node(**node)
        yield cluster
    finally:
        started = set(processes()) - others
        cluster.shutdown()
        deadline = time.monotonic() + END_SECONDS
        while (left := [pid for pid in started if _title(pid)]) and time.monotonic() < deadline:
            time.sleep(0.1)
        if left:
            raise RuntimeError(f"processes of Ray are left: {[_title(pid)[:80] for pid in left]}")


def processes(title: str = "") -> list[int]:
    """The numbers of Ray's processes below this one whose command line begins with ``title``."""
    parents = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            parents[int(place.parent.name)] = int(place.read_text().rpartition(")")[2].split()[1])
    found, waiting = [], [os.getpid()]
    while waiting:
        above = waiting.pop()
        below = [pid for pid, parent in parents.items() if parent == above]
        waiting += below
        found += below
    return sorted(pid for pid in found if "ray" in _title(pid) and _title(pid).startswith(title))


def _title(pid: int) -> str:
    """The command line of a process; empty if it has ended."""
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
