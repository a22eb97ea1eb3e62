"""Videos in which something does not add up are stored, and said to be; where one is strict, they fail."""

import json
import struct

import h5py
import pytest

from tests.videos import Coding, numbered_frames, numbered_video, write_video

REMARK = "its index lists 1 frame of"


@pytest.fixture
def library(tmp_path):
    """A whole video, and one whose index lists only the first of its frames."""
    folder = tmp_path / "videos"
    folder.mkdir()
    numbered_video(folder / "whole.mp4", 40)
    coding = Coding("mjpeg", ".avi", "yuvj420p", {})
    data = write_video(folder / "odd.avi", numbered_frames(40), coding=coding).read_bytes()
    place = data.rindex(b"idx1")
    short = data[: place + 4] + struct.pack("<I", 16) + data[place + 8 : place + 24]
    (folder / "odd.avi").write_bytes(short[:4] + struct.pack("<I", len(short) - 8) + short[8:])
    return folder


@pytest.fixture
def output(tmp_path):
    return tmp_path / "feats.h5"


def test_they_are_stored_with_remarks_everywhere(p3dfeat, library, output):
    ended = p3dfeat("extract", library, "-o", output, "-n", 2, "--json")
    assert ended.code == 0
    odd, whole, summary = ended.records
    assert (odd["status"], whole["status"], whole["remarks"]) == ("stored", "stored", [])
    assert odd["remarks"][0].startswith(REMARK)
    assert (summary["stored"], summary["with_remarks"], summary["partial"], summary["failed"]) == (2, 1, 0, 0)
    assert "2 stored (1 with remarks), 0 skipped, 0 failed" in ended.stderr
    assert f"remark: {library}/odd.avi: {REMARK}" in ended.stderr
    with h5py.File(output) as file:
        assert file["odd"].attrs["remarks"].startswith(REMARK)
        assert "remarks" not in file["whole"].attrs
        assert file["odd"]["pool5"].shape == file["whole"]["pool5"].shape
    assert REMARK in p3dfeat("info", output, "--json").records[0]["remarks"]
    assert p3dfeat("verify", output, "--against", library, "--recompute", "all").code == 0
    assert not output.with_name("feats.h5.failed.jsonl").exists()


def test_where_one_is_strict_they_fail(p3dfeat, library, output):
    ended = p3dfeat("extract", library, "-o", output, "-n", 2, "--strict")
    assert (ended.code, "1 stored, 0 skipped, 1 failed" in ended.stderr) == (3, True)
    (failed,) = [json.loads(line) for line in output.with_name("feats.h5.failed.jsonl").read_text().splitlines()]
    assert (failed["id"], failed["error"].startswith(REMARK)) == ("odd", True)
    again = p3dfeat("extract", library, "-o", output, "-n", 2)
    assert (again.code, "1 stored (1 with remarks), 1 skipped" in again.stderr) == (0, True)


def test_a_dry_run_tells_them(p3dfeat, library):
    ended = p3dfeat("extract", library, "--dry-run", "--json")
    assert [bool(record["remarks"]) for record in ended.records[:-1]] == [True, False]


def test_quiet_runs_say_nothing_of_them(p3dfeat, library, output):
    assert p3dfeat("extract", library, "-o", output, "-n", 2, "-q").stderr == ""
