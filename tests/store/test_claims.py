"""On a file system without locks, one run at a time on an output all the same."""

import errno
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import h5py
import pytest

from p3dfeat.cluster.extract import extract
from p3dfeat.errors import FeatureFileError, OutputError
from p3dfeat.events import Warned
from p3dfeat.store import Lock, open_features
from p3dfeat.store.side_files.claims import Holder
from tests import commands
from tests.store.runs import at_line, be_killed, content, in_a_process, run

ERRORS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
WITHOUT = "import fcntl, errno\ndef flock(*_): raise OSError(errno.ENOLCK, 'No locks available')\nfcntl.flock = flock\n"
HOLDER = WITHOUT + (
    "import sys; from p3dfeat.store import Lock; lock = Lock(sys.argv[1]).__enter__(); print('held', flush=True); "
    "input(); lock.__exit__()"
)
# Takes the output again and again; tells of each time that another has it too. Every third time it dies of it.
CONTENDER = (
    WITHOUT
    + """
import os, sys, time
from p3dfeat.errors import OutputError
from p3dfeat.store import Lock
output, turns = sys.argv[1], int(sys.argv[2])
deadline = time.monotonic() + 100
while turns and time.monotonic() < deadline:
    try:
        lock = Lock(output).__enter__()
    except OutputError:
        time.sleep(0.001)
        continue
    turns -= 1
    try:
        witness = os.open(output + ".witness", os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        print("two at once")
    time.sleep(0.002)
    os.unlink(output + ".witness")
    if not turns:
        os._exit(0)  # as a kill would end it
    lock.__exit__()
print(turns, "turns left")
"""
)


@pytest.fixture(params=ERRORS, ids=errno.errorcode.get)
def without_locks(request, monkeypatch):
    def flock(*_):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", flock)
    return request.param


@pytest.fixture
def output(tmp_path, without_locks):
    return tmp_path / "feats.h5"


def owner(output: Path) -> Path:
    return output.with_name(output.name + ".parts") / "owner"


def claim(output: Path, **changes: object) -> None:
    """Leave a claim as another run would."""
    owner(output).parent.mkdir(exist_ok=True)
    owner(output).write_text(json.dumps(vars(Holder.this()) | changes))


def dead_process() -> int:
    """The number of a process that was, and is no more."""
    child = subprocess.Popen(["true"])
    child.wait(timeout=60)
    return child.pid


class Other:
    """Another process, which holds an output until it is told to end, or killed."""

    def __init__(self, output: Path):
        self.process = commands.Command(output, program=HOLDER, stdin=subprocess.PIPE, stderr=None)
        assert self.process.stdout.readline() == "held\n"

    def end(self) -> None:
        self.process.communicate("\n", timeout=60)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)


def test_a_second_run_is_refused_and_told_of_the_first(output):
    other = Other(output)
    try:
        with pytest.raises(OutputError) as refused:
            Lock(output).__enter__()
        assert f"being written by process {other.process.pid} on " in str(refused.value)
        assert str(refused.value).endswith("; wait for its end, or choose another output")
        with pytest.raises(FeatureFileError, match="not there yet: being written by process "):
            open_features(output)
    finally:
        other.end()
    assert not owner(output).parent.exists()
    with Lock(output) as lock, pytest.raises(OutputError, match=f"process {os.getpid()} on "):
        Lock(lock.output).__enter__()
    assert not owner(output).parent.exists()


def test_two_runs_lose_nothing_of_each_other(output):
    tried = []

    def meanwhile(done):
        with pytest.raises(OutputError, match="being written by process"):
            run(output, {"mine": 2})
        tried.append(done)

    run(output, {"a": 0, "b": 4}, meanwhile)
    assert tried == ["a", "b"]
    assert run(output, {"mine": 2}) == ["mine"]
    assert content(output) == {"a": 0, "b": 4, "mine": 2}


def test_what_a_killed_run_of_this_host_held_is_taken_over_with_all_it_stored(output):
    def killed(report):
        run(output, {"a": 0, "b": 2}, lambda done: done == "a" and be_killed())

    assert in_a_process(killed)[1] == -signal.SIGKILL
    with pytest.raises(FeatureFileError, match="not there yet: a run was interrupted"):
        open_features(output)
    assert run(output, {"a": 0, "b": 2}) == ["b"]
    assert content(output) == {"a": 0, "b": 2}
    assert sorted(os.listdir(output.parent)) == ["feats.h5"]


def test_one_killed_after_another_is_taken_over(output):
    for _ in range(3):
        Other(output).kill()
    with Lock(output), pytest.raises(OutputError, match=f"process {os.getpid()} on "):
        Lock(output).__enter__()
    assert os.listdir(output.parent) == []


@pytest.mark.parametrize(
    "changes",
    [{"host": "elsewhere"}, {"system": "another start of it"}],
    ids=["another host", "another container or start"],
)
def test_a_claim_that_cannot_be_asked_for_from_here_is_refused_until_it_is_removed(output, changes):
    claim(output, pid=dead_process(), **changes)
    with pytest.raises(OutputError) as refused:
        Lock(output).__enter__()
    assert re.search(r"being written by process \d+ on \S+ since \S+; if that run is no more, ", str(refused.value))
    assert str(refused.value).endswith(f"; if that run is no more, remove {owner(output)}")
    owner(output).unlink()
    with Lock(output):
        pass


UNSIGNED = r"being written by another run; if that run is no more, remove .*owner$"
NOT_OURS = r"owner: a file that is not p3dfeat's; move it away"
CLAIMS = {
    **dict.fromkeys(("", "{", '{"pid": 1, "host": 5, "since": ""}', '{"pid": 12'), UNSIGNED),
    **dict.fromkeys(("[]", '"x"', "{}", '{"pid": "x", "host": "", "since": ""}'), NOT_OURS),
}


@pytest.mark.parametrize("text", CLAIMS)
def test_a_claim_that_is_not_signed_is_refused_until_it_is_removed(output, text):
    claim(output)
    owner(output).write_text(text)
    with pytest.raises(OutputError, match=CLAIMS[text]):
        Lock(output).__enter__()
    owner(output).unlink()
    with Lock(output):
        pass


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell when processes began")
def test_a_process_that_got_a_dead_ones_number_is_not_taken_for_it(output):
    claim(output, started="1")
    with Lock(output):
        pass


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell who is dead")
def test_a_dead_process_whose_parent_has_not_asked_for_it_is_dead(output):
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    os.waitpid(child, os.WUNTRACED)
    claim(output, pid=child, started=Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[19])
    with pytest.raises(OutputError, match=f"process {child} on "):  # stopped is not dead
        Lock(output).__enter__()
    os.kill(child, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while " Z " not in Path(f"/proc/{child}/stat").read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        with Lock(output):
            pass
    finally:
        os.waitpid(child, 0)


def test_a_claim_that_was_removed_by_hand_is_not_taken_from_who_claims_next(output):
    first = Lock(output).__enter__()
    owner(output).unlink()
    with Lock(output):
        first.__exit__()
        with pytest.raises(OutputError, match="being written by process"):
            Lock(output).__enter__()


STARTS = {
    "nothing": lambda output: None,
    "a dead run": lambda output: claim(output, pid=dead_process()),
    "two dead runs": lambda output: [Other(output).kill() for _ in range(2)],
}


def attempt(output, held):
    try:
        held.append(Lock(output).__enter__())
    except OutputError:
        return


@pytest.fixture
def enolck(monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)


def prepared(tmp_path, start, number):
    """A folder of its own, in the state to start in."""
    folder, template = tmp_path / str(number), tmp_path / "template"
    if not template.exists():
        template.mkdir()
        STARTS[start](template / "feats.h5")
    shutil.copytree(template, folder)
    return folder / "feats.h5"


@pytest.mark.parametrize("start", STARTS)
def test_of_two_runs_that_begin_at_once_one_holds_the_output(tmp_path, enolck, start):
    """The second begins at every line that the first executes."""
    number, count = 1, 1
    while number <= count:
        output, held = prepared(tmp_path, start, number), []
        second = partial(attempt, output, held)
        count = at_line(number, second, second)
        assert len(held) == 1, f"at line {number}"
        held[0].__exit__()
        assert not output.with_name("feats.h5.parts").exists()
        number += 1
    assert number > 20


@pytest.mark.parametrize("start", STARTS)
def test_who_begins_while_another_ends_holds_the_output_or_is_refused(tmp_path, enolck, start):
    number, count = 1, 1
    while number <= count:
        output, held = prepared(tmp_path, start, number), []
        first = Lock(output).__enter__()
        count = at_line(number, partial(attempt, output, held), first.__exit__)
        attempt(output, held)
        assert len(held) == 1, f"at line {number}"
        number += 1
    assert number > 10


@pytest.mark.parametrize(("start", "number"), [("nothing", 1), ("a dead run", 2)])
def test_a_run_that_is_killed_at_any_line_is_no_obstacle_or_names_one(tmp_path, enolck, start, number):
    """It is one only where it had no time to say whose the claim is. Every fifth line is tried, from ``number`` on."""
    code = -signal.SIGKILL
    while code:
        output, held = prepared(tmp_path, start, number), []

        def work(report, output=output, number=number):
            at_line(number, be_killed, lambda: Lock(output).__enter__().__exit__())

        code = in_a_process(work)[1]
        assert code in (0, -signal.SIGKILL)
        attempt(output, held)
        if not held:
            assert [path for path in owner(output).parent.iterdir() if path.name != "lock" and not path.read_bytes()]
            with pytest.raises(OutputError, match=r"another run; if that run is no more, remove .*owner"):
                Lock(output).__enter__()
            owner(output).unlink()
            attempt(output, held)
        held[0].__exit__()
        number += 5
    assert number > 30


def test_processes_that_contend_and_die_never_hold_it_together(tmp_path):
    output = tmp_path / "feats.h5"
    contenders = [commands.Command(output, turns, program=CONTENDER, stderr=None) for turns in (5, 10, 15, 20)]
    assert [process.communicate(timeout=120)[0] for process in contenders] == [""] * 4


def test_the_run_says_once_that_there_are_no_locks(output, folder):
    warned = []
    extract(
        [folder / "left.mp4", folder / "right.mp4"],
        output,
        model="p3d-camera",
        clips=1,
        engine="torch",
        workers=1,
        on_event=lambda event: warned.append(event.text) if isinstance(event, Warned) else None,
    )
    assert warned == [
        f"{output}: its file system has no locks; {owner(output)} keeps other runs away instead, "
        "and stays if a run is killed on another host"
    ]


def test_with_locks_nothing_is_said(tmp_path):
    with Lock(tmp_path / "feats.h5") as lock:
        assert lock.warning is None
        assert not owner(lock.output).exists()


def test_files_are_read_and_added_to_where_hdf5_finds_no_locks(output, without_locks, monkeypatch):
    """HDF5 locks files by itself, and does without only where the error is ENOSYS."""
    usual = h5py.File

    def file(name, mode="r", **options):
        if isinstance(name, str | os.PathLike) and options.get("locking") is not False:
            raise OSError(without_locks, "Unable to synchronously open file (unable to lock file)")
        return usual(name, mode, **options)

    monkeypatch.setattr(h5py, "File", file)
    run(output, {"a": 0})
    run(output, {"b": 2})
    assert content(output) == {"a": 0, "b": 2}
