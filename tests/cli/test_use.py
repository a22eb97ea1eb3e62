"""The commands that use features: export, similar and duplicates, as typed."""

import tracemalloc

import h5py
import numpy as np
import pytest

from p3dfeat.config import Sampling
from tests.exports.made import feature_file, plain_file, scenes

IDS = ("golf/a", "golf/b", "run/c")


@pytest.fixture
def file(tmp_path):
    return plain_file(tmp_path / "feats.h5", IDS)


def test_export_says_what_it_wrote(p3dfeat, file, tmp_path):
    ended = p3dfeat("export", file, "-o", tmp_path / "out", "--labels", "folders")
    assert (ended.code, ended.stdout) == (0, "")
    assert f"{tmp_path}/out: 3 videos written, 0 there already, 0 left out; 15 rows" in ended.stderr
    assert "beside them: README.txt, videos.csv, missing_files.txt" in ended.stderr
    again = p3dfeat("export", file, "-o", tmp_path / "out", "--labels", "folders")
    assert again.stderr == f"{tmp_path}/out: nothing to do: 3 videos there already\n"


def test_export_as_json(p3dfeat, file, tmp_path):
    (record,) = p3dfeat("export", file, "-o", tmp_path / "out", "--json", "-q").records
    assert (record["event"], record["written"], record["rows"], record["layout"]) == ("summary", 3, 15, "npy")


def test_videos_that_are_left_out_are_named_and_make_the_exit_code_3(p3dfeat, tmp_path):
    file = plain_file(tmp_path / "f.h5", IDS)
    with h5py.File(file, "r+") as stored:
        stored["run/c/pool5"][0, 0] = np.inf
    ended = p3dfeat("export", file, "-o", tmp_path / "out")
    assert ended.code == 3
    assert "left out: run/c: holds numbers that are not finite" in ended.stderr


def test_ids_without_labels_and_labels_without_ids_are_told(p3dfeat, file, tmp_path):
    (tmp_path / "labels.csv").write_text("id,label\ngolf/a,golf\nother,x\n")
    ended = p3dfeat("export", file, "-o", tmp_path / "out", "--labels", tmp_path / "labels.csv")
    assert ended.code == 0
    assert "note: 2 videos (golf/b, run/c) without a label" in ended.stderr
    assert "note: no features of 1 video (other)" in ended.stderr
    again = p3dfeat("export", file, "-o", tmp_path / "out", "--labels", tmp_path / "labels.csv")
    assert "2 videos (golf/b, run/c) without a label" in again.stderr
    assert (tmp_path / "out/missing_files.txt").read_text() == "other\n"
    with open(tmp_path / "out/videos.csv") as lines:
        assert [line.strip().rpartition(",")[2] for line in lines] == ["label", "golf", "", ""]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to", "opentad"], "with --clip-stride FRAMES"),
        (["--to", "nothing"], "p3dfeat export --help"),
        (["--pca", "x"], "x: no such file; --pca takes a number"),
        (["--to", "bmn", "--segments", "3"], "segments: only with --to rtfm"),
        (["--to", "flat-h5"], "a folder; flat-h5 is one file"),
    ],
)
def test_what_cannot_be_exported_is_one_line(p3dfeat, file, tmp_path, options, message):
    ended = p3dfeat("export", file, "-o", tmp_path, *options)
    assert ended.code == 2
    assert message in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_full_disk_leaves_complete_files_and_the_export_goes_on(p3dfeat, tmp_path, monkeypatch):
    import errno

    from p3dfeat.exports import writers

    file = plain_file(tmp_path / "f.h5", IDS)
    real, calls = writers._write_all, []

    def full(opened, data):
        calls.append(len(data))
        if len(calls) == 4:  # the rows of the second video
            real(opened, memoryview(data)[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        real(opened, data)

    monkeypatch.setattr(writers, "_write_all", full)
    ended = p3dfeat("export", file, "-o", tmp_path / "out")
    assert ended.code == 2
    assert "cannot be written (No space left on device); make room" in ended.stderr
    complete = {path.name for path in (tmp_path / "out").rglob("*.npy*")}
    assert complete in ({"a.npy"}, {"a.npy", "c.npy"})  # the third may have been begun
    monkeypatch.undo()
    again = p3dfeat("export", file, "-o", tmp_path / "out").stderr
    assert "2 videos written, 1 there already" in again or "1 video written, 2 there already" in again
    for id in IDS:
        assert np.load(tmp_path / f"out/{id}.npy").shape == (5, 8)


def test_memory_of_an_export_grows_little_with_the_number_of_videos(p3dfeat, tmp_path, monkeypatch):
    monkeypatch.setattr("p3dfeat.exports.writers.WAITING_BYTES", 1 << 20)  # reached with few videos, too
    peaks = []
    for count in (50, 500):
        file = plain_file(tmp_path / f"{count}.h5", [f"v{n:04d}" for n in range(count)], rows=40, width=256)
        tracemalloc.start()
        try:
            assert p3dfeat("export", file, "-o", tmp_path / f"out{count}", "-q").code == 0
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    features = 40 * 256 * 4
    assert peaks[1] - peaks[0] < 450 * features / 20  # bytes of names and places, not of features


def test_similar_prints_a_table_or_json(p3dfeat, file):
    ended = p3dfeat("similar", file, "golf/a", "--top", "2")
    assert ended.code == 0
    lines = ended.stdout.splitlines()
    assert lines[0].split() == ["score", "id"]
    assert {line.split()[1] for line in lines[1:]} == {"golf/b", "run/c"}
    records = p3dfeat("similar", file, "golf/a", "--json", "--moments", "--top", "1").records
    assert records[0].keys() == {"id", "score", "clip", "start_seconds", "end_seconds"}
    refused = p3dfeat("similar", file, "none")
    assert (refused.code, len(refused.stderr.splitlines())) == (2, 1)


def test_duplicates_prints_groups_or_json(p3dfeat, tmp_path):
    path = scenes(tmp_path / "v.mp4", (20,), 60)
    other = scenes(tmp_path / "w.mp4", (), 60)
    file = feature_file(tmp_path / "f.h5", {"a": path, "b": path, "c": other}, Sampling(clips=3))
    ended = p3dfeat("duplicates", file, "--above", "0.9999")
    assert (ended.code, ended.stdout) == (0, "group 1, cosine 1.0000 or more\n  a\n  b\n")
    assert p3dfeat("duplicates", file, "--above", "0.9999", "--json").records == [{"ids": ["a", "b"], "score": 1.0}]
    assert "no duplicates" in p3dfeat("duplicates", plain_file(tmp_path / "g.h5", ["a"])).stderr
