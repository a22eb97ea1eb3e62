"""Ctrl-C, kill and a closed terminal end a command within five seconds, and lose nothing that was finished."""

import json
import os
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

import p3dfeat as package
from p3dfeat.cli.interrupts import PATIENCE_SECONDS
from tests import commands
from tests.commands import Command
from tests.videos import numbered_frames, write_video

Process = TypeVar("Process", Command, "subprocess.Popen[str]")

SECONDS = 5.0  # within which a command that is asked to end has ended
LATEST_SECONDS = 30.0  # the same on a busy machine, and far less than what it must not wait for
LONG_SECONDS = 1000.0  # of patience, where no test may come to its end
START_SECONDS = 60  # until a command has said its first word

# A call into C that never returns and does not care for signals, as a net or a disk may be busy for minutes.
STUCK = """
import ctypes, os, sys, threading
said_on = 2
def stuck(*_, **__):
    mutex, libc = ctypes.create_string_buffer(128), ctypes.CDLL(None)
    libc.pthread_mutex_lock(mutex)
    threading.Timer(0.3, os.write, (said_on, b'stuck\\n')).start()
    libc.pthread_mutex_lock(mutex)
"""
FULL_STDERR = """
said_on = 1
os.set_blocking(2, False)
try:
    while True:
        os.write(2, b'x' * 4096)
except BlockingIOError:
    os.set_blocking(2, True)
"""
ENGINE = "from p3dfeat.engines.torch_engine import TorchEngine as owner; owner.start = stuck"
LATE_ENGINE = """
from p3dfeat.engines.torch_engine import TorchEngine as owner
start, starts = owner.start, iter(range(3))
owner.start = lambda *given: stuck() if next(starts, None) is None else start(*given)
"""
MODEL = "import p3dfeat.workflows.job as owner; owner.load_model = stuck"
COMMIT = "import os as owner; owner.replace = owner.link = stuck"


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Twelve videos of 160 frames: with FEW, some seconds of work."""
    folder = tmp_path_factory.mktemp("interrupted")
    first = write_video(folder / "00.mp4", numbered_frames(160))
    for number in range(1, 12):
        shutil.copyfile(first, folder / f"{number:02}.mp4")
    return folder


@pytest.fixture
def output(tmp_path) -> Path:
    return tmp_path / "feats.h5"


@contextmanager
def command(*arguments: object, stuck_in: str = "", patience: float = LONG_SECONDS) -> Iterator[Command]:
    """A running p3dfeat, in a process group of its own of which nothing is left afterwards.

    patience: seconds until it ends without waiting for itself.
    """
    program = f"import p3dfeat.cli.interrupts as ending; ending.PATIENCE_SECONDS = {patience}\n"
    program += (STUCK + stuck_in + "\n" if stuck_in else "") + commands.MAIN
    with ended(Command(*arguments, program=program, start_new_session=True)) as process:
        yield process


@contextmanager
def started(*arguments: object, ignored: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """The same, from the start of Python on. ignored: a signal that its parent has set to be ignored."""

    def prepare() -> None:
        # A shell's background jobs ignore SIGINT, and their children with them; a user's foreground command does not.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if ignored is not None:
            signal.signal(ignored, signal.SIG_IGN)

    process = subprocess.Popen(
        [sys.executable, "-m", "p3dfeat", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},  # several spin where the machine is busy
        preexec_fn=prepare,
        start_new_session=True,
    )
    with ended(process):
        yield process


@contextmanager
def ended(process: Process) -> Iterator[Process]:
    """Nothing is left of the process's group afterwards, and where it ended by itself nothing had to be killed."""
    try:
        yield process
    finally:
        left_over = group_lives(process.pid) if process.poll() is not None else None
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)
        assert not left_over, "decoders outlive their run"


def group_lives(group: int) -> bool:
    """Whether processes of a group are there, 30 seconds after the first of them ended."""
    for _ in range(300):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True


def line_of(stream, wanted: str = "") -> str:
    """The next line that holds ``wanted``."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if select.select([stream], [], [], 1)[0]:
            line = stream.readline()
            assert line, "the command ended before it said so"
            if wanted in line:
                return line
    raise AssertionError(f"no line with {wanted!r} in {START_SECONDS} s")


def seconds_to_end(process: "Command | subprocess.Popen[str]", *signals: int) -> tuple[float, str, str]:
    """From the last signal to the end, which is not waited for too long; what was still said on stdout and stderr."""
    for number in signals:
        began = time.monotonic()
        process.send_signal(number)
        time.sleep(0.2 if len(signals) > 1 else 0)
    said, errors = process.communicate(timeout=LATEST_SECONDS)
    return time.monotonic() - began, said, errors


def stored(lines: str) -> set[str]:
    records = [json.loads(line) for line in lines.splitlines()]
    return {record["id"] for record in records if record.get("status") == "stored"}


def check_taken_up(videos: Path, output: Path, reported: set[str], reference: Path | None = None) -> None:
    """The same command skips what was reported, finishes the rest, and the features are those of a run left alone."""
    with command("extract", videos, "-o", output, *FEW, "--json") as process:
        said, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert not reported & stored(said)
    with package.open_features(output) as features:
        assert len(features) == 12
        if reference is not None:
            with package.open_features(reference) as expected:
                for id, video in features.items():
                    assert np.array_equal(video["pool5"], expected[id]["pool5"]), id
    assert [path.name for path in output.parent.iterdir()] == [output.name]


FEW = ["--clip-stride", 4, "--engine", "torch", "--model", "p3d-camera"]


@pytest.fixture(scope="module")
def reference(videos, tmp_path_factory) -> Path:
    """What a run that nobody interrupts makes of the videos; with as many threads, which the last bits depend on."""
    path = tmp_path_factory.mktemp("reference") / "feats.h5"
    with command("extract", videos, "-o", path, *FEW) as process:
        process.communicate(timeout=120)
    return path


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=lambda v: str(v)
)
def test_a_run_that_is_asked_to_end_stores_what_was_finished(videos, output, reference, number, code):
    with command("extract", videos, "-o", output, *FEW, "--json") as process:
        first = line_of(process.stdout)
        _, said, errors = seconds_to_end(process, number)
    reported = stored(first + said)
    assert process.returncode == code
    assert reported
    assert len(errors.splitlines()) == 1
    assert errors.endswith("; finished videos are kept; rerun the command to resume\n")
    with package.open_features(output) as features:
        assert reported <= set(features)
        assert len(features) < 12
    if number == signal.SIGINT:
        check_taken_up(videos, output, reported, reference)


@pytest.mark.parametrize("place", [ENGINE, MODEL], ids=["in the net", "while the model is loaded"])
def test_a_call_that_does_not_return_is_not_waited_for(videos, output, place):
    with command("extract", videos, "-o", output, *FEW, stuck_in=place, patience=PATIENCE_SECONDS) as process:
        line_of(process.stderr, "stuck")
        seconds, _, errors = seconds_to_end(process, signal.SIGTERM)
    assert process.returncode == 143
    assert seconds > 3
    assert PATIENCE_SECONDS < SECONDS
    assert errors.startswith("p3dfeat: terminated; ended without waiting")
    assert not output.exists()


def test_a_second_interrupt_ends_a_run_at_once(videos, output):
    with command("extract", videos, "-o", output, *FEW, stuck_in=ENGINE) as process:
        line_of(process.stderr, "stuck")
        _, _, errors = seconds_to_end(process, signal.SIGINT, signal.SIGINT)
    assert process.returncode == 130
    assert errors.startswith("p3dfeat: interrupted twice; finished videos are kept")


@pytest.mark.parametrize(
    ("signals", "patience"), [([signal.SIGINT], 1.0), ([signal.SIGINT] * 2, LONG_SECONDS)], ids=["once", "twice"]
)
def test_a_commit_that_takes_too_long_is_left_to_the_next_run(videos, output, reference, signals, patience):
    with command("extract", videos, "-o", output, *FEW, "--json", stuck_in=COMMIT, patience=patience) as process:
        line_of(process.stderr, "stuck")  # all videos are done
        _, said, _ = seconds_to_end(process, *signals)
    assert process.returncode == 130
    assert len(stored(said)) == 12
    assert not output.exists()
    check_taken_up(videos, output, stored(said), reference)


def test_a_run_that_is_asked_to_end_and_finds_the_disk_full_says_so_and_ends_as_asked(videos, output, reference):
    with command("extract", videos, "-o", output, *FEW, "--json") as process:
        first = line_of(process.stdout)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        _, said, errors = seconds_to_end(process, signal.SIGTERM)
    assert process.returncode == 143
    assert errors == f"p3dfeat: {output}: cannot be written (File too large); make room, and run it again\n"
    check_taken_up(videos, output, stored(first + said), reference)


def test_an_interrupt_while_a_command_loads_ends_it_in_one_line(videos, output):
    with started("extract", videos, "-o", output, *FEW) as process:
        deadline = time.monotonic() + START_SECONDS
        while not hears(process.pid, signal.SIGTERM) and time.monotonic() < deadline:
            time.sleep(0.01)
        _, _, errors = seconds_to_end(process, signal.SIGINT)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "stored" not in errors


def hears(pid: int, number: int) -> bool:
    """Whether a process has a handler of a signal."""
    (caught,) = re.findall(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.M)
    return bool(int(caught, 16) >> (number - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["in the background", "under nohup"])
def test_a_signal_that_is_ignored_from_the_start_stays_ignored(videos, output, number):
    with started("extract", videos, "-o", output, *FEW, "--max-videos", 2, "--json", ignored=number) as process:
        line_of(process.stdout)
        seconds_to_end(process, number)
    assert process.returncode == 0


def test_a_stderr_that_nobody_reads_does_not_hold_up_the_end(videos, output):
    with command("extract", videos, "-o", output, *FEW, stuck_in=FULL_STDERR + ENGINE, patience=1.0) as process:
        line_of(process.stdout, "stuck")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=LATEST_SECONDS) == 130


def test_every_command_heeds_signals(videos):
    with command("classify", videos, "--model", "p3d-camera", "--engine", "torch", stuck_in=ENGINE) as process:
        line_of(process.stderr, "stuck")
        _, _, errors = seconds_to_end(process, signal.SIGINT, signal.SIGINT)
    assert (process.returncode, errors) == (130, "p3dfeat: interrupted twice\n")


def test_a_program_that_imports_p3dfeat_keeps_its_own_handlers():
    code = (
        "import signal, threading\n"
        "before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]\n"
        "import p3dfeat; p3dfeat.load_model('p3d-camera')\n"
        "after = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]\n"
        "assert before == after\n"
        "assert signal.set_wakeup_fd(-1) == -1\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_gets_its_cursor_back(videos, output):
    """The bar hides it; a run that ends at once has no time to tidy up."""
    master, slave = os.openpty()
    program = STUCK + "said_on = 1\n" + LATE_ENGINE + commands.MAIN
    arguments = ("extract", videos, "-o", output, *FEW)
    process = Command(*arguments, program=program, stderr=slave, start_new_session=True)
    os.close(slave)
    try:
        line_of(process.stdout, "stuck")
        seconds_to_end(process, signal.SIGINT, signal.SIGINT)
        shown = b""
        while select.select([master], [], [], 1)[0]:
            try:
                shown += os.read(master, 65536)
            except OSError:  # what it showed is read
                break
    finally:
        process.kill()
        process.wait(timeout=30)
        os.close(master)
    assert process.returncode == 130
    assert b"\x1b[?25l" in shown
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
    assert shown.endswith(b"rerun the command to resume\r\n")


def test_a_closed_terminal_ends_a_run_in_order(videos, output):
    """As it closes, its processes get SIGHUP, and can write there no more."""
    master, slave = os.openpty()
    arguments = ("extract", videos, "-o", output, *FEW)
    process = Command(*arguments, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    try:
        deadline = time.monotonic() + START_SECONDS
        shown = b""
        while not re.search(rb"[1-9]\d*/12 videos", shown) and time.monotonic() < deadline:
            if select.select([master], [], [], 1)[0]:
                shown += os.read(master, 65536)
        os.close(master)
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=LATEST_SECONDS) == 129
    finally:
        process.kill()
        process.wait(timeout=30)
    assert 1 <= len(package.open_features(output)) < 12
