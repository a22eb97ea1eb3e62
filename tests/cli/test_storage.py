"""What commands say of an output that another run holds, of one that is half done, and of videos that changed."""

import os
import shutil
import signal

import pytest

import p3dfeat as package
from p3dfeat.store import Lock
from tests.store.runs import in_a_process, run


@pytest.fixture
def videos(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "videos")
    return tmp_path / "videos"


@pytest.fixture
def output(tmp_path):
    return tmp_path / "feats.h5"


def test_a_second_command_on_an_output_is_refused_and_told_of_the_first(p3dfeat, videos, output):
    with Lock(output):
        ended = p3dfeat("extract", videos, "-o", output, "--model", "none such")
    assert ended.code == 2
    assert ended.stderr.startswith(f"p3dfeat: {output}: being written by process {os.getpid()} on ")
    assert ended.stderr.endswith("; wait for its end, or choose another output\n")
    assert sorted(os.listdir(output.parent)) == ["videos"]


def test_info_says_what_finishes_an_output_whose_run_was_killed(p3dfeat, output):
    def killed(_):
        run(output, {"a": 0}, lambda done: os.kill(os.getpid(), signal.SIGKILL))

    assert in_a_process(killed)[1] == -signal.SIGKILL
    ended = p3dfeat("info", output)
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"p3dfeat: {output}: not there yet: a run was interrupted, and the same extract command finishes it\n"
    )


def test_a_video_that_was_touched_is_skipped_and_said_and_one_that_changed_fails(p3dfeat, videos, output):
    for video in (videos / "left.mp4", videos / "right.mp4"):
        os.utime(video, (1_767_225_600, 1_767_225_600))
    assert p3dfeat("extract", videos, "-o", output, "-n", 1).code == 0
    os.utime(videos / "left.mp4", (1_767_225_660, 1_767_225_660))
    shutil.copyfile(videos / "left.mp4", videos / "right.mp4")
    ended = p3dfeat("extract", videos, "-o", output, "-n", 1, "--json")
    assert ended.code == 3
    assert {record["id"]: record["status"] for record in ended.records[:-1]} == {
        "archery/clip7": "skipped",
        "left": "skipped",
        "right": "failed",
    }
    times = "modified 2026-01-01T00:00:00+00:00 when stored, 2026-01-01T00:01:00+00:00 now"
    assert f"{videos / 'left.mp4'}: {times}, but the same size and ends; taken as stored\n" in ended.stderr
    (failed,) = (record for record in ended.records if record.get("status") == "failed")
    assert failed["error"].startswith("changed since it was stored (")
    assert "; modified 2026-01-01T00:00:00+00:00 there, " in failed["error"]
    with package.open_features(output) as features:
        assert len(features) == 3
