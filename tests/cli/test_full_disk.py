"""Disks that are full, outputs that cannot be written, folders that go away: one line, and a run that goes on."""

import json
import os
import shutil
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

import p3dfeat as package
from tests import commands
from tests.videos import numbered_video

SETTINGS = [
    "--model",
    "p3d-camera",
    "--engine",
    "torch",
    "--clips",
    "20",
    "--layers",
    "pool5,res3a",
    "--batch-size",
    "1",
]
VIDEOS = 8
LIMIT_BYTES = 12 << 20  # more than decoders' shared memory, less than the features


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    for number in range(VIDEOS):
        numbered_video(folder / f"{number}.mp4", 30 + number)
    return folder


@pytest.fixture(scope="module")
def reference(videos, tmp_path_factory) -> Path:
    """What a run with room enough makes."""
    path = tmp_path_factory.mktemp("reference") / "feats.h5"
    assert extract(videos, path).returncode == 0
    assert path.stat().st_size > LIMIT_BYTES
    return path


@pytest.fixture
def output(tmp_path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "feats.h5"


def extract(videos: Path, output: Path, *options: object, limit: int | None = None) -> CompletedProcess[str]:
    """A run in which no file may become larger than ``limit`` bytes: writing beyond fails, as on a full disk."""
    program = commands.MAIN if limit is None else commands.limited(limit)
    return commands.run("extract", videos, "-o", output, "--json", *SETTINGS, *options, program=program)


def statuses(run: CompletedProcess[str]) -> dict[str, str]:
    records = [json.loads(line) for line in run.stdout.splitlines()]
    return {record["id"]: record["status"] for record in records if record["event"] == "video"}


def ids_with(run: CompletedProcess[str], status: str) -> set[str]:
    return {id for id, found in statuses(run).items() if found == status}


def check_goes_on(videos: Path, output: Path, reference: Path, reported: set[str]) -> None:
    """With room enough the same command skips what was reported, and makes what was to be made."""
    again = extract(videos, output)
    assert again.returncode == 0, again.stderr
    assert reported <= ids_with(again, "skipped")
    with package.open_features(output) as features, package.open_features(reference) as expected:
        assert list(features) == list(expected)
        for id, video in features.items():
            assert all(np.array_equal(video[name], expected[id][name]) for name in expected[id]), id
    assert [path.name for path in output.parent.iterdir()] == [output.name]


def test_a_disk_that_gets_full_ends_the_run_and_the_same_command_goes_on(videos, output, reference):
    full = extract(videos, output, limit=LIMIT_BYTES)
    assert full.returncode == 2
    assert len(full.stderr.splitlines()) == 1
    assert full.stderr == f"p3dfeat: {output}: cannot be written (File too large); make room, and run it again\n"
    reported = ids_with(full, "stored")
    assert 0 < len(reported) < VIDEOS
    assert "failed" not in statuses(full).values()
    if output.exists():
        package.open_features(output).close()
    check_goes_on(videos, output, reference, reported)


def test_a_full_disk_leaves_what_the_file_held(videos, output, reference):
    first = extract(videos, output, "--max-videos", 3)
    assert first.returncode == 0
    full = extract(videos, output, limit=LIMIT_BYTES)
    assert full.returncode == 2
    assert len(full.stderr.splitlines()) == 1
    with package.open_features(output) as features, package.open_features(reference) as expected:
        assert ids_with(first, "stored") <= set(features)
        assert all(np.array_equal(video["res3a"], expected[id]["res3a"]) for id, video in features.items())
    check_goes_on(videos, output, reference, ids_with(full, "stored") | ids_with(full, "skipped"))


@pytest.mark.parametrize("away", ["moved", "removed"])
def test_a_folder_that_goes_away_is_told_and_what_was_done_is_found_where_it_comes_back(
    videos, output, reference, away, tmp_path
):
    process = commands.Command("extract", videos, "-o", output, "--json", *SETTINGS)
    try:
        first = process.stdout.readline()
        if away == "moved":
            output.parent.rename(tmp_path / "elsewhere")
        else:
            shutil.rmtree(output.parent)
        said, errors = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait(timeout=30)
    reported = {json.loads(line)["id"] for line in (first + said).splitlines() if '"stored"' in line}
    assert process.returncode == 2
    assert len(errors.splitlines()) == 1
    assert errors.startswith(f"p3dfeat: {output}: ")
    assert errors.endswith("(No such file or directory); bring it back, and run it again\n")
    assert reported
    if away == "moved":
        (tmp_path / "elsewhere").rename(output.parent)
        check_goes_on(videos, output, reference, reported)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_must_not_be_written_is_told_before_any_work(videos, p3dfeat, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    ended = p3dfeat("extract", videos, "-o", folder / "feats.h5", *SETTINGS)
    assert ended.code == 2
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert str(folder / "feats.h5") in ended.stderr
    assert list(folder.iterdir()) == []


def test_an_output_below_a_file_is_told_before_any_work(videos, p3dfeat, tmp_path):
    (tmp_path / "file").write_text("x")
    ended = p3dfeat("extract", videos, "-o", tmp_path / "file" / "feats.h5", *SETTINGS)
    assert (ended.code, len(ended.stderr.splitlines())) == (2, 1)
    assert "does not exist" in ended.stderr


def test_a_list_of_failures_that_cannot_be_written_is_told(videos, p3dfeat, output):
    Path(f"{output}.failed.jsonl").mkdir()
    ended = p3dfeat("extract", videos, "-o", output, *SETTINGS)
    assert (ended.code, len(ended.stderr.splitlines())) == (2, 1)
    assert f"{output}.failed.jsonl: " in ended.stderr
