"""What a damaged video means to a run is the user's choice."""

import random

import h5py
import pytest

import p3dfeat as package
from tests.videos import numbered_video


@pytest.fixture
def library(tmp_path):
    """Two whole videos, and between them b, of which the second half is missing."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.mp4", "b.mkv", "c.mp4"):
        numbered_video(folder / name, 100)
    data = (folder / "b.mkv").read_bytes()
    (folder / "b.mkv").write_bytes(data[: len(data) // 2])
    return folder


@pytest.fixture
def output(tmp_path):
    return tmp_path / "feats.h5"


def attributes(output, id):
    with h5py.File(output) as file:
        return dict(file[id].attrs)


def test_by_itself_a_damaged_video_fails_and_the_others_are_stored(p3dfeat, library, output):
    ended = p3dfeat("extract", library, "-o", output, "-n", 3)
    assert (ended.code, "2 stored, 0 skipped, 1 failed" in ended.stderr) == (3, True)
    assert "damage" not in attributes(output, "a")


def test_in_part_it_is_stored_marked_and_told_of(p3dfeat, library, output):
    ended = p3dfeat(
        "extract", library, "-o", output, "--clip-stride", 16, "--tail", "drop", "--on-error", "partial", "--json"
    )
    assert ended.code == 0
    *videos, summary = ended.records
    assert [video["status"] for video in videos] == ["stored"] * 3
    assert ["damage" in video for video in videos] == [False, True, False]
    assert "cut off" in videos[1]["damage"]
    assert (summary["stored"], summary["partial"], summary["failed"]) == (3, 1, 0)
    assert "partial: " in ended.stderr
    assert "3 stored (1 in part)" in ended.stderr
    marked = attributes(output, "b")
    assert "cut off" in marked["damage"]
    assert marked["clips_left_out"] == videos[1]["clips_left_out"]
    with package.open_features(output) as features:
        assert len(features["b"]["pool5"]) == videos[1]["clips"] < len(features["a"]["pool5"])
    assert not output.with_name("feats.h5.failed.jsonl").exists()


def test_what_is_stored_in_part_stays_whatever_a_later_run_says(p3dfeat, library, output):
    p3dfeat("extract", library, "-o", output, "-n", 3, "--on-error", "partial")
    ended = p3dfeat("extract", library, "-o", output, "-n", 3)
    assert (ended.code, "nothing to do: 3 already stored" in ended.stderr) == (0, True)
    assert "damage" in attributes(output, "b")


def test_what_is_stored_in_part_is_computed_again_in_part(p3dfeat, library, output):
    p3dfeat("extract", library, "-o", output, "-n", 3, "--on-error", "partial")
    ended = p3dfeat("verify", output, "--against", library, "--recompute", "3")
    assert ended.code == 0, ended.stderr


@pytest.mark.parametrize(
    "sampling", [("-n", 20), ("--clip-stride", 8), ("--clip-stride", 8, "--tail", "drop")], ids=str
)
def test_clips_left_out_in_the_middle_are_not_missed_by_verify(p3dfeat, tmp_path, output, sampling):
    numbered_video(tmp_path / "v.mp4", 160)
    data = bytearray((tmp_path / "v.mp4").read_bytes())
    middle = slice(len(data) // 3, len(data) // 2)
    data[middle] = random.Random(1).randbytes(middle.stop - middle.start)
    (tmp_path / "v.mp4").write_bytes(data)
    source = tmp_path / "v.mp4", "-o", output
    assert p3dfeat("extract", *source, *sampling, "--on-error", "partial", "--model", "p3d-camera").code == 0
    assert attributes(output, "v")["clips_left_out"] > 0
    ended = p3dfeat("verify", output, "--against", tmp_path / "v.mp4", "--recompute", "all", "--json")
    assert (ended.code, ended.records[-1]["recomputed"], ended.records[-1]["identical"]) == (0, 1, 1), ended.stdout
    with h5py.File(output, "r+") as file:
        file["v"].attrs["clips_left_out"] += 1
    assert "clips; by its 160 frames it should have" in p3dfeat("verify", output).stdout


def test_stopped_a_run_that_overwrites_replaces_nothing_yet(p3dfeat, library, output):
    assert p3dfeat("extract", library / "a.mp4", library / "c.mp4", "-o", output, "-n", 3).code == 0
    before = output.stat().st_ino
    again = "extract", library, "-o", output, "-n", 3, "--overwrite", "--on-error", "stop", "--json"
    assert p3dfeat(*again).code == 3
    assert output.stat().st_ino == before
    (library / "b.mkv").unlink()
    ended = p3dfeat(*again)
    assert ended.code == 0
    assert {record["id"]: record["status"] for record in ended.records[:-1]} == {"a": "skipped", "c": "stored"}
    with package.open_features(output) as features:
        assert list(features) == ["a", "c"]
    assert output.stat().st_ino != before


def test_what_failed_before_is_tried_again_in_part(p3dfeat, library, output):
    p3dfeat("extract", library, "-o", output, "-n", 3)
    ended = p3dfeat("extract", library, "-o", output, "-n", 3, "--on-error", "partial")
    assert (ended.code, "1 stored (1 in part), 2 skipped, 0 failed" in ended.stderr) == (0, True)
    assert not output.with_name("feats.h5.failed.jsonl").exists()


def test_the_first_failure_can_end_the_run_and_what_came_before_is_kept(p3dfeat, library, output):
    ended = p3dfeat("extract", library, "-o", output, "-n", 3, "--on-error", "stop")
    assert ended.code == 3
    assert "1 stored, 0 skipped, 1 failed" in ended.stderr
    assert "stopped by the first failure" in ended.stderr
    with package.open_features(output) as features:
        assert list(features) == ["a"]
    (library / "b.mkv").unlink()
    assert "1 stored, 1 skipped" in p3dfeat("extract", library, "-o", output, "-n", 3, "--on-error", "stop").stderr


def test_a_failure_before_anything_is_read_ends_the_run_too(p3dfeat, library, output):
    ended = p3dfeat("extract", library / "none.mp4", library / "a.mp4", "-o", output, "-n", 3, "--on-error", "stop")
    assert (ended.code, "0 stored, 0 skipped, 1 failed" in ended.stderr) == (3, True)


def test_another_word_is_refused(p3dfeat, library, output):
    ended = p3dfeat("extract", library, "-o", output, "--on-error", "ignore")
    assert (ended.code, "'--on-error': 'ignore' is not one of 'skip', 'partial', 'stop'" in ended.stderr) == (2, True)


def test_a_plan_counts_what_would_be_stored_in_part(p3dfeat, library):
    assert p3dfeat("extract", library, "--dry-run", "--json").records[-1]["failed"] == 1
    assert p3dfeat("extract", library, "--dry-run", "--json", "--on-error", "partial").records[-1]["failed"] == 0
