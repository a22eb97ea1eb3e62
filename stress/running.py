"""A run of the command, seen from outside: what it says, what is done to it, how it ends and what it leaves."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

LOOK_SECONDS: Final = 0.01  # between two looks at a run
SILENT_SECONDS: Final = 180.0  # without a word, after which a run is taken to hang
GONE_SECONDS: Final = 10.0  # within which a run's processes have ended with it


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    at: by time.monotonic. peak_megabytes: resident, of the main process. left_over: whether processes of it were still
    there 10 s later.
    """

    code: int
    at: float
    peak_megabytes: float
    left_over: bool


def _heed_signals() -> None:
    """In the child: as a command in the foreground does, even where this one was started in the background."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


class Run:
    """One ``p3dfeat``, in a process group of its own; use in a with statement, after which nothing of it is left."""

    def __init__(self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], errors: Path):
        self.counts = dict.fromkeys(("stored", "skipped", "failed"), 0)
        self.stored: list[str] = []
        self.skipped: list[str] = []
        self.failed: dict[str, str] = {}
        self._ending: Ending | None = None
        with open(errors, "wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "p3dfeat", *arguments],
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=file,
                start_new_session=True,
                preexec_fn=_heed_signals,
            )
        self._heard = time.monotonic()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith(b"\n"):  # killed in the middle of a word
                return
            self._heard = time.monotonic()
            record = json.loads(line)
            if record["event"] != "video":
                continue
            status, id = record["status"], record["id"]
            if status == "failed":
                self.failed[id] = record["error"]
            else:
                (self.stored if status == "stored" else self.skipped).append(id)
            self.counts[status] += 1

    @property
    def num_done(self) -> int:
        return sum(self.counts.values())

    @property
    def hangs(self) -> bool:
        return time.monotonic() - self._heard > SILENT_SECONDS

    def poll(self) -> Ending | None:
        """How it ended, once it has. Its peak is the kernel's own count, so that nobody need look at it meanwhile."""
        if self._ending is None:
            pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
            if pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                at = time.monotonic()
                self._ending = Ending(self._process.returncode, at, usage.ru_maxrss / 1024, self._group_lives())
                self._reader.join(timeout=30)
        return self._ending

    def _group_lives(self) -> bool:
        deadline = time.monotonic() + GONE_SECONDS
        while time.monotonic() < deadline:
            try:
                os.killpg(self._process.pid, 0)
            except ProcessLookupError:
                return False
            time.sleep(0.05)
        return True

    def send(self, number: int) -> None:
        if self._ending is None:
            self._process.send_signal(number)

    def decoders(self) -> list[int]:
        """The processes that the run has started, at this moment."""
        found: list[int] = []
        with suppress(OSError):
            for thread in Path(f"/proc/{self._process.pid}/task").iterdir():
                with suppress(OSError):
                    found.extend(map(int, (thread / "children").read_text().split()))
        return found

    def hit_decoder(self, rng: random.Random, number: int) -> bool:
        """Send one of its decoders a signal; whether there was one."""
        if not (pids := self.decoders()):
            return False
        with suppress(ProcessLookupError):
            os.kill(rng.choice(pids), number)
            return True
        return False

    def close(self) -> None:
        """Kill what is left of it."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while self.poll() is None and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        assert self._process.stdout is not None
        self._reader.join(timeout=30)
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
