"""What every benchmark reports, and the one table they are gathered in: benchmarks/results.json and RESULTS.md.

A benchmark is a module with ``rows(quick) -> list[Row]``; ``main`` makes a script of it.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent
PACKAGES: Final = ("torch", "openvino", "av", "h5py", "numpy")
ANSWERS: Final = {True: "yes", False: "**no**", None: "not measured"}


@dataclass(frozen=True)
class Row:
    """One measure: what was asked, what was reached, and the figures behind it, which must be what JSON can hold."""

    measure: str
    asked: str
    reached: str
    passed: bool | None  # None: could not be measured here
    details: dict[str, Any] = field(default_factory=dict)


def median(values: Sequence[float]) -> float:
    return float(statistics.median(values))


def alternate(sides: Mapping[str, Callable[[], Any]], rounds: int, *, uncounted: int = 0) -> dict[str, list[float]]:
    """{side: seconds of each of its ``rounds`` turns}; the sides take turns, so that a busy neighbour slows them all.

    uncounted: rounds that go before, in which caches fill and graphs are compiled.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(uncounted + rounds):
        for name, run in sides.items():
            started = time.perf_counter()
            run()
            if number >= uncounted:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def clips_folder() -> Path:
    """Where real videos are, as for the tests."""
    return Path(os.environ.get("P3DFEAT_TEST_CLIPS", FOLDER.parents[1] / "shared" / "clips"))


def say(text: str) -> None:
    """For whoever watches: stderr, at once."""
    print(text, file=sys.stderr, flush=True)


def machine() -> str:
    """The machine in general words: cores, processor, memory, versions."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = [f"{cores} cores of {_processor()}", f"{_memory_gigabytes()} GB", f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            parts.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            parts.append(f"no {name}")
    return ", ".join(parts)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    return (named[0] if named else platform.machine()) + (" with AVX-512" if "avx512f" in flags else "")


def _memory_gigabytes() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)


def write(rows: Sequence[Row], folder: str | Path) -> None:
    """Put ``rows`` into results.json and RESULTS.md in ``folder``; rows of other measures that are there stay."""
    path, here = Path(folder) / "results.json", machine()
    merged = {entry["measure"]: entry for entry in _written(path)}
    merged |= {row.measure: asdict(row) | {"machine": here} for row in rows}
    path.write_text(json.dumps({"rows": list(merged.values())}, indent=2) + "\n", encoding="utf-8")
    path.with_name("RESULTS.md").write_text(_markdown(list(merged.values())), encoding="utf-8")


def _written(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return found


def _markdown(entries: Sequence[Mapping[str, Any]]) -> str:
    """A table for each machine that rows were measured on."""
    lines = ["# Benchmarks", "", "Written by the scripts in this folder; the figures behind are in results.json."]
    for name in dict.fromkeys(entry["machine"] for entry in entries):
        lines += ["", f"On {name}:", "", "| measure | asked | reached | ok |", "|---|---|---|---|"]
        for entry in entries:
            if entry["machine"] == name:
                cells = (*(entry[key] for key in ("measure", "asked", "reached")), ANSWERS[entry["passed"]])
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def parser(description: str | None, *, clips: bool = False) -> argparse.ArgumentParser:
    """What every benchmark's command line knows. clips: it measures on real videos, too."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--quick", action="store_true", help="less of everything, in a minute or two; nothing is written")
    if clips:
        made.add_argument("--clips", type=Path, default=clips_folder(), help="folder of real videos")
    return made


def report(rows: Sequence[Row], *, quick: bool) -> None:
    """Say what was reached; a full run goes into the table too."""
    for row in rows:
        say(f"{row.measure}: {row.reached}; asked: {row.asked}; ok: {ANSWERS[row.passed].strip('*')}")
    print(json.dumps([asdict(row) for row in rows], indent=2))
    if not quick:
        write(rows, FOLDER)


def main(rows: Callable[[bool], list[Row]], description: str | None) -> None:
    """The command line of a benchmark that makes its own videos."""
    quick = parser(description).parse_args().quick
    report(rows(quick), quick=quick)


def main_on_clips(rows: Callable[[bool, Path], list[Row]], description: str | None) -> None:
    """The command line of a benchmark of real videos."""
    given = parser(description, clips=True).parse_args()
    report(rows(given.quick, given.clips), quick=given.quick)
