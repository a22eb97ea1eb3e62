"""Damaged files by the thousand, each read as extract reads it: ``python -m stress.fuzz --seed 1 --count 5000``.

The n-th file of a seed is always the same; ``--only N --keep FILE`` makes it again.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stress import judging
from stress.mutations import mutated
from stress.readers import Outcome, Readers, read
from stress.report import put_between_marks, table
from stress.seeds import SEEDS, Seed, write_seeds

TIMEOUT_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Finding:
    """One damaged file and what came of it."""

    number: int
    seed: Seed
    damage: str
    outcome: Outcome
    verdict: str
    difference: str = ""

    def __str__(self) -> str:
        text = self.outcome.text.strip().split("\n")[-1]
        return f"{self.number} {self.seed.name} ({self.damage}): {self.verdict}: {self.difference or text}"


class Files:
    """Damaged files by number."""

    def __init__(self, folder: Path, seed: int):
        self._folder, self._seed = folder, seed
        originals = folder / "whole"
        originals.mkdir()
        paths = write_seeds(originals)
        self._whole = [paths[seed.name].read_bytes() for seed in SEEDS]
        self.outcomes = {seed.name: read(str(paths[seed.name])) for seed in SEEDS}
        for name, outcome in self.outcomes.items():
            if outcome.kind != "read":
                raise RuntimeError(f"{name}: a whole file is not read: {outcome.text}")

    def make(self, number: int) -> tuple[Seed, bytes, str]:
        """The seed of file ``number``, its bytes, and how it was damaged."""
        rng = random.Random(f"{self._seed}/{number}")
        place = rng.randrange(len(SEEDS))
        while True:
            data, damage = mutated(self._whole[place], rng, self._whole)
            if data != self._whole[place]:
                return SEEDS[place], data, damage

    def edited(self, number: int) -> bool:
        """Whether file ``number`` was damaged in what says which of its frames are shown."""
        seed, data, _ = self.make(number)
        return judging.edits(data) != judging.edits(self._whole[SEEDS.index(seed)])

    def write(self, number: int) -> Path:
        seed, data, _ = self.make(number)
        path = self._folder / f"{number}-{seed.name}"
        path.write_bytes(data)
        return path


def fuzz(
    seed: int,
    numbers: Sequence[int],
    *,
    jobs: int = 2,
    timeout_seconds: float = TIMEOUT_SECONDS,
    on_finding: Callable[[Finding], None] = lambda finding: None,
) -> Iterator[Finding]:
    """Make files ``numbers`` of ``seed``, read each in a process that may die of it, and judge what came of it."""
    with tempfile.TemporaryDirectory(prefix="p3dfeat-fuzz-") as folder:
        files = Files(Path(folder), seed)
        with Readers(jobs, timeout_seconds=timeout_seconds) as readers:
            for path, outcome in readers.read(map(files.write, numbers)):
                path.unlink()
                number = int(path.name.split("-")[0])
                made_of, _, damage = files.make(number)
                whole = files.outcomes[made_of.name]
                verdict = judging.verdict(outcome, whole, made_of, edited=files.edited(number))
                difference = judging.difference(outcome, whole) if outcome.kind == "read" else ""
                yield Finding(number, made_of, damage, outcome, verdict, difference)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", type=int, help="make and read this one file")
    parser.add_argument("--keep", type=Path, help="with --only: write it here")
    parser.add_argument("--list", default="", help="also list files whose verdict contains this")
    parser.add_argument("--write", action="store_true", help="put the counts into docs/reliability.md")
    options = parser.parse_args()
    if options.only is not None and options.keep:
        with tempfile.TemporaryDirectory() as folder:
            options.keep.write_bytes(Files(Path(folder), options.seed).make(options.only)[1])
    numbers = range(options.count) if options.only is None else [options.only]
    started = time.monotonic()
    counts: Counter[str] = Counter()
    slowest = 0.0
    for finding in fuzz(options.seed, numbers, jobs=options.jobs):
        counts[finding.verdict] += 1
        slowest = max(slowest, finding.outcome.elapsed_seconds)
        wanted = options.only is not None or (options.list and options.list in finding.verdict)
        if finding.verdict in judging.FAULTS or wanted:
            print(finding, flush=True)
    elapsed = time.monotonic() - started
    text = table(("what came of it", "files"), [(name, f"{counts[name]:,}") for name in judging.VERDICTS])
    said = f"{len(numbers):,} files of seed {options.seed} in {elapsed:.0f} s; the slowest took {slowest:.1f} s"
    print(text, said, sep="\n")
    if options.write:
        put_between_marks("fuzz", f"{said}.\n\n{text}")
    return 1 if any(counts[name] for name in judging.FAULTS) else 0


if __name__ == "__main__":
    sys.exit(main())
