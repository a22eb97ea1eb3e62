"""The drill of a cluster: ``python -m stress.cluster --videos 400``.

One ``extract`` on three Ray nodes of this machine. While it runs, a worker is killed, then a node is removed, then the
command itself is killed. The same command goes on. The features must be those of one machine, to the bit, and no stored
video may be read again.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

import p3dfeat
from stress.library import make_library
from stress.ray_nodes import processes, ray_nodes
from stress.report import put_between_marks, table

CLIPS: Final = 8
MODEL: Final = "p3d-camera"
SCALE: Final = Path(__file__).parents[1] / "docs" / "scale.md"
MARK: Final = "cluster drill"


@dataclass
class Found:
    """What a drill found. events: (what was done, seconds since the start, videos stored until then)."""

    videos: int = 0
    events: list[tuple[str, float, int]] = field(default_factory=list)
    stored_before: int = 0
    skipped_after: int = 0
    stored_after: int = 0
    read_again: int = 0  # stored videos that the second run computed
    unequal: int = 0
    left_processes: int = 0
    ended_early: bool = False  # the first run ended before it was killed

    @property
    def is_sound(self) -> bool:
        complete = self.skipped_after + self.stored_after == self.videos
        return complete and not self.ended_early and not (self.read_again or self.unequal or self.left_processes)

    def report(self) -> str:
        rows = [(what, f"{seconds:.1f} s", f"{stored:,}") for what, seconds, stored in self.events]
        happened = table(("What was done", "After", "Videos stored"), rows)
        checks = [
            ("videos", f"{self.videos:,}"),
            ("stored when the command was killed", f"{self.stored_before:,}"),
            ("skipped, then stored by the second run", f"{self.skipped_after:,}, {self.stored_after:,}"),
            ("stored videos that were read again", f"{self.read_again:,}"),
            ("videos with other features than on one machine", f"{self.unequal:,}"),
            ("processes of Ray left at the end", f"{self.left_processes:,}"),
        ]
        return f"{happened}\n\n{table(('Count', 'Result'), checks)}"


def drill(folder: Path, count: int) -> Found:
    """Run the drill over ``count`` videos in ``folder``."""
    (folder / "videos").mkdir()
    library = make_library(folder / "videos", count, broken_share=0.0, seed=1)
    found = Found(videos=count)
    output = folder / "cluster.h5"
    began = time.monotonic()
    with ray_nodes(3) as nodes:
        stored: list[str] = []

        def done(what: str) -> None:
            found.events.append((what, time.monotonic() - began, len(stored)))

        def lose_a_worker() -> None:
            os.kill(processes("ray::Decoding")[0], signal.SIGKILL)
            done("a decoder's worker killed")

        def lose_a_network() -> None:
            os.kill(processes("ray::Computing")[0], signal.SIGKILL)
            done("a network's worker killed")

        def lose_a_node() -> None:
            nodes.remove_node(nodes.list_all_nodes()[-1])
            done("a node removed")

        shares: list[tuple[float, Callable[[], None]]] = [
            (0.1, lose_a_worker),
            (0.25, lose_a_network),
            (0.4, lose_a_node),
        ]
        run = _started(library.folder, output, nodes.address)
        assert run.stdout is not None
        for line in run.stdout:
            record = json.loads(line)
            if record.get("status") == "stored":
                stored.append(record["id"])
            if shares and len(stored) >= shares[0][0] * count:
                shares.pop(0)[1]()
            if len(stored) >= 0.6 * count:
                run.kill()
                break
        found.ended_early = run.wait() != -signal.SIGKILL
        found.stored_before = len(stored)
        done("the command killed")
        again = _started(library.folder, output, nodes.address)
        said, _ = again.communicate()
        done("the same command has ended")
        records = [json.loads(line) for line in said.splitlines()]
        found.skipped_after, found.stored_after = records[-1]["skipped"], records[-1]["stored"]
        computed = {record["id"] for record in records if record.get("status") == "stored"}
        found.read_again = max(0, len(computed & set(stored)) - 1)  # the last one was told and perhaps not written
    found.left_processes = len(processes())
    plain = folder / "plain.h5"
    p3dfeat.extract(library.folder, plain, model=MODEL, clips=CLIPS)
    found.unequal = _unequal(output, plain)
    return found


def _started(videos: Path, output: Path, address: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "p3dfeat", "extract", videos, "-o", output, "-m", MODEL, "-n", CLIPS]
    arguments: list[Any] = [*command, "--cluster", address, "--json"]
    return subprocess.Popen([*map(str, arguments)], stdout=subprocess.PIPE, text=True)


def _unequal(one: Path, other: Path) -> int:
    with p3dfeat.open_features(one) as mine, p3dfeat.open_features(other) as theirs:
        ids = set(mine) | set(theirs)
        both = set(mine) & set(theirs)
        same = sum(
            all(np.array_equal(mine[id][name], theirs[id][name]) for name in ("pool5", "seconds", "first_frames"))
            and dict(mine[id].attributes) == dict(theirs[id].attributes)
            for id in both
        )
    return len(ids) - same


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=400)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scale.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="p3dfeat-drill-") as folder:
        found = drill(Path(folder), options.videos)
    print(found.report())
    if options.write:
        put_between_marks(MARK, found.report(), SCALE)
    return 0 if found.is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
