"""One run at a time on an output, whichever of its names it is called by; a dead run is no obstacle."""

import json
import os
import re
import select
import signal
import socket
import subprocess
from datetime import UTC, datetime, timedelta

import h5py
import pytest

from p3dfeat.cluster.extract import extract
from p3dfeat.errors import FeatureFileError, OutputError
from p3dfeat.store import Lock, open_features
from tests import commands
from tests.store.runs import in_a_process, run
from tests.users import as_ordinary_user

WAIT = "; print('held', flush=True); input()"
HOLDER = "import sys; from p3dfeat.store import Lock; lock = Lock(sys.argv[1]).__enter__()" + WAIT
WRITER = "import sys, h5py; file = h5py.File(sys.argv[1], 'r+')" + WAIT


@pytest.fixture
def output(tmp_path):
    return tmp_path / "feats.h5"


class Other:
    """Another process, which holds an output until the with statement ends, or is killed."""

    def __init__(self, code: str, output):
        self._code, self._output = code, output

    def __enter__(self) -> commands.Command:
        self._process = commands.Command(self._output, program=self._code, stdin=subprocess.PIPE, stderr=None)
        assert select.select([self._process.stdout], [], [], 60)[0], "it takes too long to begin"
        assert self._process.stdout.readline() == "held\n"
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate(timeout=30)


def test_a_second_run_is_told_process_host_and_time_of_the_first(output):
    with Other(HOLDER, output) as other, pytest.raises(OutputError) as refused:
        Lock(output).__enter__()
    found = re.fullmatch(
        rf"{re.escape(str(output))}: being written by process (\d+) on (\S+) since (\S+); "
        "wait for its end, or choose another output",
        str(refused.value),
    )
    assert found is not None
    assert (int(found[1]), found[2]) == (other.pid, socket.gethostname())
    assert timedelta(0) <= datetime.now(UTC) - datetime.fromisoformat(found[3]) < timedelta(minutes=2)


def test_a_second_run_is_refused_before_it_looks_at_anything(output, tmp_path):
    """Neither the model, which there is not, nor the videos: those may take minutes."""
    with Other(HOLDER, output), pytest.raises(OutputError, match="being written by process"):
        extract([tmp_path / "none.mp4"], output, model="none such")


def test_what_a_killed_process_held_is_taken_over_and_signed_anew(output):
    with Other(HOLDER, output) as other:
        other.send_signal(signal.SIGKILL)
        other.wait(timeout=30)
    assert json.loads((output.with_name("feats.h5.parts") / "lock").read_text())["pid"] == other.pid
    with Lock(output) as lock:
        assert json.loads((lock.parts / "lock").read_text())["pid"] == os.getpid()
    assert not lock.parts.exists()


def test_all_names_of_an_output_are_one_lock(output, tmp_path, monkeypatch):
    (tmp_path / "folder").symlink_to(tmp_path)
    (tmp_path / "link.h5").symlink_to(output)
    (tmp_path / "link to a link.h5").symlink_to("folder/link.h5")
    monkeypatch.chdir(tmp_path)
    names = ["feats.h5", "./folder/feats.h5", "link.h5", "folder/link to a link.h5", f"../{tmp_path.name}/feats.h5"]
    for held in names:
        with Lock(held):
            for name in names:
                with pytest.raises(OutputError, match="being written by process"):
                    Lock(name).__enter__()
    assert sorted(os.listdir(tmp_path)) == ["folder", "link to a link.h5", "link.h5"]


def test_a_folder_that_is_removed_just_as_it_is_made_is_made_again(output, monkeypatch):
    mkdir, made = os.mkdir, []

    def unlucky(path, *arguments, **options):
        mkdir(path, *arguments, **options)
        made.append(path)
        if len(made) == 1:
            os.rmdir(path, dir_fd=options["dir_fd"])

    monkeypatch.setattr(os, "mkdir", unlucky)
    with Lock(output) as lock:
        assert (lock.parts / "lock").exists()
    assert len(made) == 2


def test_a_lock_outlives_no_run_that_fails(output):
    with pytest.raises(ZeroDivisionError), Lock(output):
        raise ZeroDivisionError
    with Lock(output):
        assert output.with_name("feats.h5.parts").is_dir()


def test_a_folder_that_is_missing_or_not_to_be_written_is_said(tmp_path):
    with pytest.raises(OutputError, match=r"no/feats.h5: its folder .*no does not exist; make it first"):
        Lock(tmp_path / "no" / "feats.h5").__enter__()
    for folder in (tmp_path.parent.parent, tmp_path.parent):
        folder.chmod(0o755)  # to be seen by all
    tmp_path.chmod(0o555)
    with as_ordinary_user(), pytest.raises(OutputError, match=r"feats.h5: cannot be written \(Permission denied\)"):
        Lock(tmp_path / "feats.h5").__enter__()


def test_an_output_that_is_read_only_is_refused_before_anything_is_computed(output):
    run(output, {"a": 0})
    for folder in (output.parent.parent.parent, output.parent.parent, output.parent):
        folder.chmod(0o777)
    output.chmod(0o444)
    with as_ordinary_user(), pytest.raises(OutputError, match=r"feats.h5: cannot be written \(Permission denied\)"):
        run(output, {"b": 2})


def test_of_an_output_that_is_not_there_yet_it_is_said_who_writes_it_or_what_finishes_it(output):
    with pytest.raises(FeatureFileError, match="no such file"):
        open_features(output)
    with Other(HOLDER, output), pytest.raises(FeatureFileError, match="not there yet: being written by process "):
        open_features(output)

    def killed(report):
        run(output, {"a": 0}, lambda done: os.kill(os.getpid(), signal.SIGKILL))

    assert in_a_process(killed)[1] == -signal.SIGKILL
    with pytest.raises(FeatureFileError, match="not there yet: a run was interrupted, and the same extract command"):
        open_features(output)
    assert run(output, {"a": 0}) == []
    assert list(open_features(output)) == ["a"]


def test_a_file_that_another_program_writes_is_said_to_be(output):
    run(output, {"a": 0})
    with Other(WRITER, output), pytest.raises(FeatureFileError, match="open for writing in another program"):
        run(output, {"b": 2})
    assert run(output, {"b": 2}) == ["b"]
    with h5py.File(output) as file:
        assert list(file) == ["a", "b"]
