"""A run may be killed at any line of the store, or run out of disk at any byte: nothing that was done is lost."""

import errno
import itertools
import os
import resource
import shutil
import signal
import tempfile
from functools import partial
from pathlib import Path

import pytest

from p3dfeat.errors import OutputError
from p3dfeat.store import write
from p3dfeat.store.commit import waiting
from p3dfeat.store.side_files.lock import unfinished
from p3dfeat.system import disk
from tests.store.runs import at_line, be_interrupted, be_killed, content, in_a_process, run

OLD = {"a": 0, "folder/b": 2, "folder/deeper/c": 4}
NEW = {"a2": 10, "folder/ü": 12, "folder/deeper/" + "n" * 300: 14, "other/x": 16, "z": 18}
OVERWRITING = {"a": 20, "folder/b": 22, "y": 24}
KILLS = 30  # of each kind of run, spread over its lines

# What a run starts from, what it is asked for, what is in the end, and how it is run.
SCENARIOS = {
    "the first run": ({}, NEW, NEW, {}),
    "one that adds": (OLD, NEW, OLD | NEW, {}),
    "one that overwrites": (OLD, OVERWRITING, OVERWRITING, {"overwrite": True}),
}


@pytest.fixture
def tmp_path():
    """In memory, where the system has a place for that: what a kill leaves is the same there, and no disk is busy."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="store-test-", dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def _commits_in_between(monkeypatch):
    for name in ("fsync", "fdatasync"):  # which a kill has no part in, and a busy disk takes long for
        monkeypatch.setattr(os, name, lambda fd: None, raising=False)
    monkeypatch.setattr(write, "COMMITTED_VIDEOS", 3)
    monkeypatch.setattr(write, "BUFFERED_BYTES", 60)  # some videos lie in more than one record
    monkeypatch.setattr(waiting, "BATCH_VIDEOS", 2)


@pytest.fixture(params=SCENARIOS)
def scenario(request, tmp_path):
    old, wanted, final, options = SCENARIOS[request.param]
    start = tmp_path / "start"
    start.mkdir()
    if old:
        run(start / "feats.h5", old)
    return start, old, wanted, final, options


def check_and_finish(output, scenario, reported) -> None:
    """What a run that came to a sudden end left is right, and the same run again finishes it without doing it twice."""
    _, old, wanted, final, options = scenario
    found = content(output)
    assert found.items() >= old.items() if not options else found in (old, final)
    assert found.items() <= (old | final).items() if not options else True
    has_ended = options and found == final and unfinished(output) is None  # it would overwrite once more
    again = run(output, wanted, **({} if has_ended else options))
    assert not set(again) & set(reported)
    assert content(output) == final
    assert os.listdir(output.parent) == ["feats.h5"]


def test_a_run_killed_at_any_line_loses_nothing_it_reported(scenario, tmp_path):
    start, _, wanted, _, options = scenario
    shutil.copytree(start, tmp_path / "counted")
    lines = at_line(0, be_killed, partial(run, tmp_path / "counted" / "feats.h5", wanted, **options))
    kinds = set()
    last = (lines - 5 - 4 * number for number in range(KILLS // 3))  # the end of a commit is short
    for line in {*(1 + lines * number // KILLS + number % 3 for number in range(KILLS)), *last}:
        folder = tmp_path / f"killed at {line}"
        shutil.copytree(start, folder)
        output = folder / "feats.h5"

        def work(report, line=line, output=output):
            at_line(line, be_killed, lambda: run(output, wanted, report, **options))

        reported, status = in_a_process(work)
        assert status == -signal.SIGKILL, line
        kinds.add((len(reported), *content(output).values()))
        check_and_finish(output, scenario, reported)
        shutil.rmtree(folder)
    assert len(kinds) > 4  # the kills were spread over all that happens


def test_a_run_killed_while_it_takes_up_what_a_killed_one_left_loses_nothing(scenario, tmp_path):
    start, _, wanted, _, options = scenario
    for number in range(12):
        output = tmp_path / str(number) / "feats.h5"
        shutil.copytree(start, output.parent)
        reported = []
        for line in (700 + 60 * number, 150 + 110 * number, 900 - 40 * number):

            def work(report, line=line, output=output):
                at_line(line, be_killed, lambda: run(output, wanted, report, **options))

            done, status = in_a_process(work)
            assert not set(done) & set(reported)
            reported += done
            if status == 0:
                break
            assert status == -signal.SIGKILL
        else:
            check_and_finish(output, scenario, reported)


def test_a_run_interrupted_at_any_line_ends_as_one_and_loses_nothing_it_reported(scenario, tmp_path):
    start, _, wanted, _, options = scenario
    shutil.copytree(start, tmp_path / "counted")
    lines = at_line(0, be_interrupted, partial(run, tmp_path / "counted" / "feats.h5", wanted, **options))
    last = (lines - 5 - 7 * number for number in range(10))
    for line in {*(1 + lines * number // 16 + number % 3 for number in range(16)), *last}:
        output = tmp_path / str(line) / "feats.h5"
        shutil.copytree(start, output.parent)

        def work(report, line=line, output=output):
            try:
                at_line(line, be_interrupted, lambda: run(output, wanted, report, **options))
            except KeyboardInterrupt:
                report("interrupted")

        (*reported, last_said), status = in_a_process(work)
        assert (last_said, status) == ("interrupted", 0), line
        check_and_finish(output, scenario, reported)


def test_a_disk_full_at_any_size_loses_nothing_and_the_run_goes_on_later(scenario, tmp_path):
    """As far as a limit on the size of files is like a full disk."""
    start, _, wanted, _, options = scenario
    shutil.copytree(start, tmp_path / "whole")
    run(tmp_path / "whole" / "feats.h5", wanted, **options)
    size = (tmp_path / "whole" / "feats.h5").stat().st_size
    refused = 0
    for number in range(16):
        output = tmp_path / str(number) / "feats.h5"
        shutil.copytree(start, output.parent)

        def work(report, limit=size * number // 16, output=output):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            try:
                run(output, wanted, report, **options)
            except OutputError as error:
                report(f"refused {error}")

        reported, status = in_a_process(work)
        assert status == 0
        refusals = [line.partition(";")[0] for line in reported if line.startswith("refused ")]
        assert refusals in ([], [f"refused {output}: cannot be written (File too large)"])
        refused += len(refusals)
        check_and_finish(output, scenario, reported)
    assert refused > 15


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_commit_that_the_disk_refuses_at_any_write_changes_nothing(scenario, tmp_path, monkeypatch, reason):
    start, old, wanted, _, options = scenario
    pwrite, refused = os.pwrite, 0
    for number in range(14):
        output = tmp_path / str(number) / "feats.h5"
        shutil.copytree(start, output.parent)
        left = 1500 * number

        def filling(fd, data, offset):
            nonlocal left
            if left < len(data):
                if left == 0:
                    raise OSError(reason, os.strerror(reason))
                data = data[:left]
            left -= len(data)
            return pwrite(fd, data, offset)

        reported, refusals = [], []
        with monkeypatch.context() as patch:
            patch.setattr(disk.os, "pwrite", filling)
            try:
                run(output, wanted, reported.append, **options)
            except OutputError as error:
                refusals.append(str(error).partition(";")[0])
        assert refusals in ([], [f"{output}: cannot be written ({os.strerror(reason)})"])
        refused += len(refusals)
        if number == 0:
            assert content(output) == old
        check_and_finish(output, scenario, reported)
    assert refused > 4


@pytest.mark.parametrize("call", range(5))
def test_a_disk_that_fails_to_keep_what_it_took_leaves_the_file_as_it_was_or_as_it_is_to_be(
    scenario, tmp_path, monkeypatch, call
):
    start, old, wanted, final, options = scenario
    output = tmp_path / "there" / "feats.h5"
    shutil.copytree(start, output.parent)
    calls, reported = itertools.count(), []

    def failing(fd):
        if next(calls) >= call:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch, pytest.raises(OutputError, match="Input/output error"):
        patch.setattr(os, "fdatasync", failing, raising=False)
        patch.setattr(os, "fsync", failing)
        run(output, wanted, reported.append, **options)
        run(output.with_name("so that there are enough calls"), wanted)
    shutil.rmtree(output.with_name("so that there are enough calls.parts"), ignore_errors=True)
    output.with_name("so that there are enough calls").unlink(missing_ok=True)
    assert content(output).items() <= (old | final).items() if not options else content(output) in (old, final)
    check_and_finish(output, scenario, reported)


def test_an_output_whose_folder_vanishes_is_an_error_at_once_and_gone_on_with_when_it_is_back(scenario, tmp_path):
    start, _, wanted, _, options = scenario
    folder, away = tmp_path / "mount", tmp_path / "away"
    shutil.copytree(start, folder)
    output, reported = folder / "feats.h5", []

    def report(id):
        reported.append(id)
        if len(reported) == 2:
            folder.rename(away)

    with pytest.raises(OutputError, match=r"feats\.h5"):
        run(output, wanted, report, **options)
    assert len(reported) == 2
    away.rename(folder)
    check_and_finish(output, scenario, reported)
