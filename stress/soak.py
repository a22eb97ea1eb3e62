"""Days of accidents in minutes: ``python -m stress.soak --videos 20000 --kills 50``.

One ``extract`` over a library of tiny videos, again and again, while its decoders are killed or stopped every few
seconds and the command itself is killed and interrupted at random moments: as it starts, between videos, and while it
commits. Then it is left alone, and what it has made is compared with what a run makes that nobody disturbs.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

import p3dfeat
from stress.library import Library, make_library
from stress.report import put_between_marks, table
from stress.running import LOOK_SECONDS, Ending, Run

SIGNAL_SECONDS: Final = 5.0  # within which a run that is asked to end has ended
GROWTH_MEGABYTES: Final = 150.0  # of the main process, from the first runs to the last: a list of videos, no more
TIMEOUT: Final = "5"  # seconds a video, after which a decoder that was stopped is replaced
STOPPED_SHARE: Final = 0.06  # of decoders that are hit: each costs a run the time above
LATE_SECONDS: Final = 0.2  # after which a run that was interrupted is killed, while it commits
WALKED: Final = 100  # videos read after each kill
QUIET_RUNS: Final = 3  # that may be needed at the end for what lost its decoder before
ENDED: Final = (0, 3)  # exit codes of runs that come to their end
CODES: Final = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}
MARK: Final = "P3DFEAT_SOAK"  # in the environment of whatever this starts


@dataclass(frozen=True)
class Disturbance:
    """What is done to a run, and when.

    moment: "starting": after so many seconds; "working": after so many videos more; "ending": as "working", but SIGINT
    first, and the signal itself so many seconds later, while the run commits.
    """

    number: int
    moment: str
    videos: int
    seconds: float


@dataclass
class Tally:
    """What happened, and what was wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    reported: set[str] = field(default_factory=set)  # ids that some run said it had stored
    held: set[str] = field(default_factory=set)  # of these, those seen in the file
    peaks: list[float] = field(default_factory=list)  # megabytes, of each run that got to work
    slowest: dict[str, float] = field(default_factory=dict)  # seconds to the end, by signal

    def check(self, fine: bool, text: str) -> None:
        if not fine:
            self.wrong.append(text)
            _say(f"WRONG: {text}")


class Soak:
    """A library, an output, and what is done to the runs between them."""

    def __init__(self, folder: Path, library: Library, *, seed: int, deadline_seconds: float):
        self.library = library
        self.output = folder / "out" / "feats.h5"
        self.errors = folder / "stderr"
        self.temporary = folder / "tmp"
        self.tally = Tally()
        self._rng = random.Random(seed)
        self._deadline = time.monotonic() + deadline_seconds
        self._mark = uuid.uuid4().hex
        self._env = os.environ | {"TMPDIR": str(self.temporary), MARK: self._mark}
        self._shared = _shared_memory()
        for path in (self.output.parent, self.temporary):
            path.mkdir()

    def run(self, source: str, output: Path) -> Run:
        arguments = ["extract", source, "-o", str(output), "--model", "p3d-camera", "--clips", "1", "--json"]
        arguments += ["--timeout", TIMEOUT]
        return Run(arguments, cwd=self.library.folder, env=self._env, errors=self.errors)

    def disturbances(self, kills: int, signals: int) -> list[Disturbance]:
        """In random order: a sixth as the run starts, a sixth as it ends, the others at work."""
        numbers = [signal.SIGKILL] * kills + [(signal.SIGINT, signal.SIGTERM)[n % 2] for n in range(signals)]
        self._rng.shuffle(numbers)
        each = len(self.library.good) / (len(numbers) + 1)
        found = []
        for number in numbers:
            moment = self._rng.choice(("starting", "ending", "working", "working", "working", "working"))
            if number != signal.SIGKILL and moment == "ending":
                moment = "working"
            seconds = self._rng.uniform(0.1, 4) if moment == "starting" else self._rng.uniform(0, LATE_SECONDS)
            found.append(Disturbance(number, moment, self._rng.randint(1, max(1, round(2 * each))), seconds))
        return found

    def disturb(self, disturbance: Disturbance) -> None:
        """One run, its decoders hit every few seconds, and what is to be done to it."""
        with self.run(".", self.output) as run:
            ending, seconds = self._watch(run, disturbance)
            self._judge(run, ending, disturbance, seconds)

    def make_up_for(self, *, kills: int, signals: int) -> None:
        """Disturb further runs in place of those that had ended before they could be."""
        counts = self.tally.counts
        for _ in range(kills + signals):
            if counts["SIGKILL"] < kills:
                number = signal.SIGKILL
            elif counts["SIGINT"] + counts["SIGTERM"] < signals:
                number = signal.SIGTERM
            else:
                break
            self.disturb(Disturbance(number, "starting", 0, self._rng.uniform(0.1, 2)))
        done = counts["SIGKILL"], counts["SIGINT"] + counts["SIGTERM"]
        self.tally.check(done == (kills, signals), f"{done[0]} kills and {done[1]} signals ended a run")

    def _watch(self, run: Run, disturbance: Disturbance | None) -> tuple[Ending | None, float]:
        """Until the run has ended: how, and how many seconds after it was asked to. None where it hangs."""
        began, asked, warned = time.monotonic(), 0.0, 0.0
        next_hit = began + self._rng.uniform(2, 5)
        while (ending := run.poll()) is None:
            now = time.monotonic()
            if run.hangs or now > self._deadline:
                return None, 0.0
            if disturbance is not None and not asked:
                if now > next_hit and run.num_done:
                    self._hit(run)
                    next_hit = now + self._rng.uniform(1.5, 4)
                if disturbance.moment == "starting":
                    due = now - began > disturbance.seconds
                elif disturbance.moment == "working":
                    due = len(run.stored) >= disturbance.videos or run.num_done >= len(self.library)
                else:
                    if not warned and len(run.stored) >= disturbance.videos:
                        run.send(signal.SIGINT)
                        warned = now
                    due = bool(warned) and now - warned > disturbance.seconds
                if due:
                    run.send(disturbance.number)
                    asked = time.monotonic()
            time.sleep(LOOK_SECONDS)
        return ending, ending.at - asked if asked else 0.0

    def _hit(self, run: Run) -> None:
        stop = self._rng.random() < STOPPED_SHARE
        if run.hit_decoder(self._rng, signal.SIGSTOP if stop else signal.SIGKILL):
            self.tally.counts["decoders stopped" if stop else "decoders killed"] += 1

    def _judge(self, run: Run, ending: Ending | None, disturbance: Disturbance | None, seconds: float) -> None:
        tally = self.tally
        tally.counts["runs"] += 1
        if ending is None:
            tally.check(False, f"a run hung, or there was no time left for it: {self._last_words()}")
            return
        name = "" if disturbance is None else signal.Signals(disturbance.number).name
        tally.check(not ending.left_over, f"processes outlive a run that ended with {ending.code}")
        if disturbance is not None and ending.code == CODES[disturbance.number]:
            tally.counts[name] += 1
            tally.counts[f"{name}, {disturbance.moment}"] += 1
            tally.slowest[name] = max(tally.slowest.get(name, 0), seconds)
            tally.check(seconds < SIGNAL_SECONDS, f"{name}: {seconds:.1f} s to the end")
        elif disturbance is not None and disturbance.moment == "ending" and ending.code == CODES[signal.SIGINT]:
            tally.counts["SIGINT, ended before it was killed"] += 1
        else:
            tally.check(ending.code in ENDED, f"a run ended with {ending.code}: {self._last_words()}")
            tally.check(seconds < SIGNAL_SECONDS, f"{name} was not heeded: {seconds:.1f} s later the run was done")
            tally.counts["runs that came to their end"] += 1
        if run.num_done:
            tally.peaks.append(ending.peak_megabytes)
        self._judge_what_was_said(run)
        self._look_at_the_file()

    def _judge_what_was_said(self, run: Run) -> None:
        """Nothing reported as stored is computed again, or fails."""
        tally = self.tally
        again = tally.reported.intersection(run.stored)
        lost = tally.reported.intersection(run.failed)
        tally.check(not again, f"computed again: {_some(again)}")
        tally.check(not lost, f"stored once, failed later: {[(id, run.failed[id]) for id in sorted(lost)[:3]]}")
        tally.check(len(run.stored) == len(set(run.stored)), "a video was stored twice in one run")
        tally.counts["failures of videos that are whole"] += len(run.failed.keys() & self.library.good.keys())
        tally.counts["videos reported as stored"] += len(run.stored)
        tally.reported.update(run.stored)
        unannounced = set(run.skipped) - tally.reported
        tally.counts["stored, but killed before they were reported"] += len(unannounced)
        tally.reported.update(unannounced)

    def _look_at_the_file(self) -> None:
        """It is absent, or it opens, holds all that it held before, and a part of it reads as it should."""
        if not self.output.exists():
            self.tally.check(not self.tally.held, "the output is gone")
            return
        try:
            with p3dfeat.open_features(self.output) as features:
                ids = list(features)
                for id in self._rng.sample(ids, min(WALKED, len(ids))):
                    _check_features(features[id]["pool5"], features[id].pooled)
        except Exception as error:
            self.tally.check(False, f"the output does not read: {type(error).__name__}: {error}")
            return
        self.tally.check(self.tally.held <= set(ids), f"no longer there: {_some(self.tally.held - set(ids))}")
        self.tally.held = set(ids)

    def finish(self) -> None:
        """Runs that nobody disturbs, until all that can be read is stored."""
        for _ in range(QUIET_RUNS):
            with self.run(".", self.output) as run:
                ending, _ = self._watch(run, None)
                self._judge(run, ending, None, 0.0)
            if self.library.good.keys() <= self.tally.held:
                return

    def check_all(self, sample: int) -> None:
        """What the whole must have come to."""
        tally, library = self.tally, self.library
        missing = library.good.keys() - tally.held
        tally.check(not missing, f"missing at the end: {_some(missing)}")
        reasons = {entry["id"]: entry["error"] for entry in _ledger(self.output)}
        tally.check(all(reasons.values()), "a failure without a reason")
        absent = library.hopeless - reasons.keys()
        tally.check(not absent, f"broken, and not in the list of failures: {_some(absent)}")
        nowhere = library.broken.keys() - reasons.keys() - tally.held
        tally.check(not nowhere, f"neither stored nor in the list of failures: {_some(nowhere)}")
        tally.check(not library.good.keys() & reasons.keys(), "a whole video is in the list of failures")
        tally.counts["in the list of failures"] = len(reasons)
        tally.counts["stored at the end"] = len(tally.held)
        names = sorted(path.name for path in self.output.parent.iterdir())
        expected = ["feats.h5", "feats.h5.failed.jsonl"] if reasons else ["feats.h5"]
        tally.check(names == expected, f"beside the output: {names}")
        tally.check(not list(self.temporary.iterdir()), f"temporary files: {list(self.temporary.iterdir())}")
        new = _shared_memory() - self._shared
        tally.check(not new, f"shared memory: {new}")
        tally.check(not (left := _marked(self._mark)), f"processes: {left}")
        early, late = tally.peaks[: max(1, len(tally.peaks) // 5)], tally.peaks[-max(1, len(tally.peaks) // 5) :]
        growth = max(late) - max(early)
        tally.check(growth < GROWTH_MEGABYTES, f"memory grew by {growth:.0f} MB")
        self._compare(sample)

    def _compare(self, sample: int) -> None:
        """A sample of the file against that of a run that nobody disturbs, bit for bit."""
        ids = sorted(self._rng.sample(sorted(self.library.good), min(sample, len(self.library.good))))
        paths = self.output.parent.parent / "sample.txt"
        paths.write_text("".join(f"{self.library.folder / id}{self.library.suffixes[id]}\n" for id in ids))
        undisturbed = self.output.parent.parent / "undisturbed.h5"
        with self.run(f"@{paths}", undisturbed) as run:
            ending, _ = self._watch(run, None)
        self.tally.check(ending is not None and ending.code == 0, f"the undisturbed run: {self._last_words()}")
        if not undisturbed.exists():
            return
        unlike = []
        with p3dfeat.open_features(self.output) as found, p3dfeat.open_features(undisturbed) as expected:
            by_source = {video.attributes["source"]: id for id, video in expected.items()}
            for id in ids:
                source = f"{self.library.folder / id}{self.library.suffixes[id]}"
                if id not in found or source not in by_source:
                    continue  # told above
                there, here = expected[by_source[source]], found[id]
                self.tally.counts["compared with an undisturbed run"] += 1
                if not all(np.array_equal(here[name], there[name]) for name in there):
                    unlike.append(id)
        self.tally.check(not unlike, f"{len(unlike)} differ from an undisturbed run's: {_some(set(unlike))}")
        self.tally.counts["unlike it"] = len(unlike)

    def _last_words(self) -> str:
        return self.errors.read_text(errors="replace")[-300:].strip()


def _ledger(output: Path) -> list[dict[str, str]]:
    """The list of failures beside an output, line by line."""
    path = Path(f"{output}.failed.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _check_features(rows: np.ndarray, pooled: np.ndarray) -> None:
    if rows.shape != (1, 512) or not np.isfinite(rows).all() or not np.allclose(rows.mean(0), pooled, atol=1e-5):
        raise ValueError("features are not what they should be")


def _some(ids: set[str]) -> str:
    return f"{len(ids)}, such as {', '.join(sorted(ids)[:3])}"


def _shared_memory() -> set[str]:
    """Names of shared memory. Folders and semaphores are other programs': p3dfeat makes none."""
    with suppress(OSError), os.scandir("/dev/shm") as entries:
        return {entry.name for entry in entries if not entry.is_dir() and not entry.name.startswith("sem.")}
    return set()


def _marked(mark: str) -> list[int]:
    """Processes that carry the mark of this soak, looked for once."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int(folder.name) != os.getpid() and mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def soak(
    folder: Path, *, videos: int, kills: int, signals: int, sample: int, seed: int, deadline_seconds: float
) -> tuple[Tally, Library]:
    """Make a library in ``folder`` and disturb runs over it."""
    library = make_library(_made(folder / "videos"), videos, broken_share=0.15, seed=seed)
    _say(f"{len(library.good)} videos and {len(library.broken)} broken ones are made")
    this = Soak(folder, library, seed=seed, deadline_seconds=deadline_seconds)
    disturbances = this.disturbances(kills, signals)
    for number, disturbance in enumerate(disturbances, 1):
        this.disturb(disturbance)
        name = signal.Signals(disturbance.number).name
        _say(f"{number}/{len(disturbances)} {name}, {disturbance.moment}: {len(this.tally.reported)} videos stored")
    this.make_up_for(kills=kills, signals=signals)
    this.finish()
    this.check_all(sample)
    return this.tally, library


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def report(tally: Tally, library: Library, seconds: float) -> str:
    """The table of counts."""
    counts, compared = tally.counts, tally.counts["compared with an undisturbed run"]
    stored, whole = counts["stored at the end"], len(library.good.keys() & tally.held)
    slowest = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in sorted(tally.slowest.items()))
    peaks = f"{min(tally.peaks):.0f} to {max(tally.peaks):.0f} MB" if tally.peaks else "none"
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(library.broken.values()).items()))
    rows: list[tuple[str, object]] = [
        ("videos", len(library)),
        ("of these broken", f"{len(library.broken)} ({kinds})"),
        *((name, counts[name]) for name in ("runs", "SIGKILL", "SIGINT", "SIGTERM")),
        *sorted((name, count) for name, count in counts.items() if name.startswith("SIG") and "," in name),
        ("slowest end after a signal", slowest or "none"),
        *((name, counts[name]) for name in ("decoders killed", "decoders stopped")),
        (
            "whole videos that failed with their decoder, and were stored later",
            counts["failures of videos that are whole"],
        ),
        ("stored, killed before it was said", counts["stored, but killed before they were reported"]),
        ("computed again after it was reported", "see below" if tally.wrong else 0),
        (
            "stored at the end",
            f"{stored}: {whole} whole ones of {len(library.good)}, {stored - whole} with bits flipped",
        ),
        ("in the list of failures at the end", counts["in the list of failures"]),
        (
            "equal to an undisturbed run's to the bit",
            f"{compared - counts['unlike it']} of {compared}",
        ),
        ("peak memory of the main process, over all runs", peaks),
        ("left over: processes, shared memory, temporary files", "see below" if tally.wrong else "none"),
        ("minutes", f"{seconds / 60:.1f}"),
    ]
    text = table(("what", "count"), rows)
    return text + ("\n\n" + "\n".join(f"- **{line}**" for line in tally.wrong) if tally.wrong else "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak; print the table; return 1 where anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m stress.soak", description=__doc__)
    parser.add_argument("--videos", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=50, help="SIGKILLs of the command itself")
    parser.add_argument("--signals", type=int, default=10, help="SIGINTs and SIGTERMs")
    parser.add_argument("--sample", type=int, default=1000, help="videos compared with an undisturbed run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--deadline", type=float, default=3600, metavar="SECONDS")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="p3dfeat-soak-", dir=options.folder) as folder:
        tally, library = soak(
            Path(folder),
            videos=options.videos,
            kills=options.kills,
            signals=options.signals,
            sample=options.sample,
            seed=options.seed,
            deadline_seconds=options.deadline,
        )
    text = report(tally, library, time.monotonic() - began)
    print(text)
    if options.write:
        put_between_marks("soak", text)
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
