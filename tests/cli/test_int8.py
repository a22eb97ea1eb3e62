"""--precision int8: what it says, what it stores, and what it refuses."""

import shutil
from pathlib import Path

import pytest

import p3dfeat as package
from tests.videos import panning_frames, write_video

TOLD = "int8: worst cosine to fp32 0.99"


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory, folder) -> Path:
    """A cache in which the embedded model is calibrated on the drawn videos."""
    cache = tmp_path_factory.mktemp("calibrated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("P3DFEAT_CACHE", str(cache))
        package.classify(str(folder), precision="int8", clips=1)
    return cache


@pytest.fixture
def cache(calibrated, tmp_path, monkeypatch) -> Path:
    """A copy of it, which the test may spoil."""
    shutil.copytree(calibrated, tmp_path / "cache")
    monkeypatch.setenv("P3DFEAT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_run_calibrates_tells_and_stores_it_and_the_next_one_goes_on(p3dfeat, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("P3DFEAT_CACHE", str(tmp_path / "empty"))
    output = tmp_path / "feats.h5"
    first = p3dfeat("extract", folder / "left.mp4", "-o", output, "-n", 2, "--precision", "int8", "--json")
    assert [record["event"] for record in first.records] == ["video", "summary"]  # and nothing else on stdout
    assert "calibrating int8 on 16 clips; about half a minute" in first.stderr
    assert TOLD in first.stderr
    assert "on 8 clips held out of the calibration" in first.stderr
    with package.open_features(output) as features:
        assert (features.settings["engine"], features.settings["precision"]) == ("openvino", "int8")
        assert 0.99 <= features.settings["int8_cosine"] < 1
        assert len(features.settings["int8_sha256"]) == 64
    second = p3dfeat("extract", folder, "-o", output, "-n", 2, "--precision", "int8")
    assert (second.code, second.stdout) == (0, "")
    assert "calibrating" not in second.stderr
    assert f"{TOLD}" in second.stderr
    assert "calibrated by an earlier run" in second.stderr
    assert "2 stored, 1 skipped" in second.stderr
    assert "int8 cosine" in p3dfeat("info", output).stdout


def test_classify_and_bench_use_what_is_calibrated(p3dfeat, folder, cache):
    ended = p3dfeat("classify", folder / "left.mp4", "--precision", "int8", "--json")
    assert ended.records[0]["predictions"][0]["label"] == "pan left"
    assert "calibrating" not in ended.stderr
    bench = p3dfeat("bench", "--precision", "int8", "--rounds", 1, "--json")
    (record,) = bench.records
    assert (record["engine"], record["precision"]) == ("openvino", "int8")
    assert 0.99 <= record["int8_cosine"] < 1
    assert TOLD in bench.stderr
    assert p3dfeat("classify", folder / "left.mp4", "--precision", "int8", "-q").stderr == ""


def test_without_videos_and_a_calibration_it_is_told_what_to_do(p3dfeat, tmp_path, monkeypatch):
    monkeypatch.setenv("P3DFEAT_CACHE", str(tmp_path / "empty"))
    ended = p3dfeat("bench", "--precision", "int8", "--rounds", 1)
    assert ended.code == 2
    assert ended.stderr == (
        "p3dfeat: precision 'int8': p3d-camera is not calibrated yet; give videos to calibrate on\n"
    )


def test_a_file_of_another_calibration_is_refused(p3dfeat, folder, cache, tmp_path):
    output = tmp_path / "feats.h5"
    assert p3dfeat("extract", folder, "-o", output, "-n", 1, "--precision", "int8").code == 0
    shutil.rmtree(cache)
    other = write_video(tmp_path / "other.mp4", panning_frames(60, pixels_a_frame=2, seed=7))
    ended = p3dfeat("extract", other, "-o", output, "-n", 1, "--precision", "int8")
    assert ended.code == 2
    assert "made with other settings (int8_sha256 is" in ended.stderr
    assert "precision is int8 there, fp32 now" in p3dfeat("extract", other, "-o", output, "-n", 1).stderr


def test_a_dry_run_calibrates_nothing(p3dfeat, folder, cache, tmp_path, monkeypatch):
    output = tmp_path / "feats.h5"
    arguments = ("extract", folder, "-o", output, "-n", 1, "--precision", "int8")
    assert p3dfeat(*arguments).code == 0
    assert "3 stored already" in p3dfeat(*arguments, "--dry-run").stdout
    monkeypatch.setenv("P3DFEAT_CACHE", str(tmp_path / "empty"))
    planned = p3dfeat(*arguments, "--dry-run")
    assert "3 stored already" in planned.stdout
    assert "int8" not in planned.stderr
    assert not (tmp_path / "empty").exists()
    for engine in ("torch", "tensorrt"):
        assert p3dfeat(*arguments, "--dry-run", "--engine", engine).code == 2


@pytest.mark.parametrize("other", [("--engine", "torch"), ("--device", "cuda:99"), ("--engine", "tensorrt")])
def test_what_does_not_compute_in_int8_is_refused(p3dfeat, folder, cache, tmp_path, other):
    ended = p3dfeat("extract", folder, "-o", tmp_path / "feats.h5", "--precision", "int8", *other)
    assert ended.code == 2
    assert not (tmp_path / "feats.h5").exists()


def test_comparing_models_does_not_calibrate(p3dfeat, folder, cache):
    both = ("p3d-camera", "p3d-camera", folder / "left.mp4")
    ended = p3dfeat("weights", "compare", *both, "--precision", "int8")
    assert (ended.code, "is not calibrated here" in ended.stderr) == (2, True)
