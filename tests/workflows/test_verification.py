"""verify: what is missing, failed or changed is found; what is computed again comes out as it is stored."""

import json
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

import p3dfeat
from p3dfeat.closeness import row_errors
from p3dfeat.errors import FeatureFileError, UsageError
from p3dfeat.store import Looked
from p3dfeat.types import Video
from p3dfeat.workflows.recompute import Recomputed
from p3dfeat.workflows.verify import Finding, ToRecompute, chosen
from tests.videos import panning_frames, write_video

NAMES = ("down/a", "b", "c")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder of videos, one of them no video, and what was made of it."""
    base = tmp_path_factory.mktemp("made")
    (base / "videos" / "down").mkdir(parents=True)
    for seed, name in enumerate(NAMES):
        write_video(base / "videos" / f"{name}.mp4", panning_frames(20 + seed, pixels_a_frame=3, seed=seed))
    (base / "videos" / "broken.mp4").write_bytes(b"not a video")
    settings = {"model": "p3d-camera", "engine": "torch", "clips": 2, "layers": ("pool5", "prob"), "workers": 1}
    summary = p3dfeat.extract(base / "videos", base / "feats.h5", **settings)
    assert (summary.stored, summary.failed) == (3, 1)
    (base / "videos" / "broken.mp4").unlink()
    (base / "feats.h5.failed.jsonl").unlink()
    return base


@pytest.fixture
def files(made, tmp_path) -> tuple[Path, Path]:
    """A feature file and its videos, to do with as one likes."""
    shutil.copytree(made, tmp_path / "made")  # with the times of the files
    return tmp_path / "made" / "feats.h5", tmp_path / "made" / "videos"


def told(findings: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(finding.kind, finding.id) for finding in findings]


def look(file: Path, videos: Path | list | None = None, **settings) -> p3dfeat.VerifySummary:
    """Without computing anything again, unless told to."""
    return p3dfeat.verify(file, against=videos, **{"recompute": 0} | settings)


def test_a_file_that_is_complete_and_right_gives_no_findings(files):
    events = []
    summary = p3dfeat.verify(files[0], against=files[1], workers=1, on_event=events.append)
    assert (summary.findings, summary.remarks, summary.is_sound) == ((), (), True)
    assert (summary.videos, summary.clips) == (3, 6)
    assert (summary.recomputed, summary.identical, summary.worst_relative_error) == (3, 3, 0.0)
    kinds = [type(event) for event in events if isinstance(event, Looked | ToRecompute | Recomputed)]
    assert kinds == [Looked] * 3 + [ToRecompute] + [Recomputed] * 3


def test_looking_does_not_load_what_computes(files):
    import subprocess
    import sys

    code = f"import sys, p3dfeat; p3dfeat.verify({str(files[0])!r}); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100, cwd=Path(__file__).parents[2])


def test_a_video_that_is_not_stored_is_missing(files):
    file, videos = files
    shutil.copy(videos / "b.mp4", videos / "new.mp4")
    summary = look(file, videos)
    assert told(summary.findings) == [("missing", "new")]
    assert "new.mp4" in summary.findings[0].text


def test_a_video_in_the_list_of_failures_is_told_with_its_reason(files):
    file, videos = files
    shutil.copy(videos / "b.mp4", videos / "new.mp4")
    entry = {"id": "new", "source": "new.mp4", "error": "no video stream"}
    Path(f"{file}.failed.jsonl").write_text(json.dumps(entry) + "\n")
    summary = look(file, videos)
    assert told(summary.findings) == [("failed", "new")]
    assert summary.findings[0].text == "could not be read: no video stream"


def test_an_input_that_is_no_video_is_told(files):
    summary = look(files[0], [files[1], files[1] / "none.mp4"])
    assert [(finding.kind, finding.text) for finding in summary.findings] == [("failed", "no such file or folder")]


def test_a_video_no_longer_among_the_inputs_is_worth_a_remark_only(files):
    file, videos = files
    (videos / "c.mp4").unlink()
    summary = look(file, videos)
    assert (told(summary.findings), told(summary.remarks)) == ([], [("gone", "c")])


def test_a_video_that_was_only_touched_is_worth_a_remark_only(files):
    file, videos = files
    os.utime(videos / "b.mp4", (1e9, 1e9))
    summary = look(file, videos)
    assert (told(summary.findings), told(summary.remarks)) == ([], [("touched", "b")])


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0" * 8)


def other_bytes(path: Path) -> None:
    """Of the same size and time."""
    data, status = bytearray(path.read_bytes()), path.stat()
    data[-1] ^= 255
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(("change", "text"), [(longer, "bytes now"), (other_bytes, "has other content")])
def test_a_video_that_changed_is_found_and_not_computed_again(files, change, text):
    file, videos = files
    change(videos / "b.mp4")
    summary = look(file, videos, recompute="all", workers=1)
    assert told(summary.findings) == [("changed", "b")]
    assert text in summary.findings[0].text
    assert summary.recomputed == 2


def test_another_segment_under_the_same_id_is_found(files):
    file, videos = files
    table = videos / "segments.csv"
    table.write_text("path,start_seconds,end_seconds,id\nb.mp4,0,0.3,b\n")
    assert told(look(file, table).findings) == [("changed", "b")]


def test_segments_are_held_to_their_csv_and_computed_again(tmp_path, made):
    table = tmp_path / "segments.csv"
    clip = made / "videos" / "c.mp4"
    table.write_text(f"path,start_seconds,end_seconds,id\n{clip},0.1,0.5,first\n{clip},0.5,,last\n")
    settings = {"model": "p3d-camera", "engine": "torch", "clip_stride": 4, "workers": 1}
    assert p3dfeat.extract(table, tmp_path / "feats.h5", **settings).stored == 2
    summary = look(tmp_path / "feats.h5", table, recompute="all", workers=1)
    assert (summary.findings, summary.remarks, summary.recomputed, summary.identical) == ((), (), 2, 2)


@pytest.mark.parametrize(
    "sampling", [{"clip_stride": 7, "tail": "drop"}, {"clips": 3, "fps": 10.0}, {"clip_stride": 3, "fps": 12.0}]
)
def test_the_number_of_clips_is_held_to_the_frames(made, tmp_path, sampling):
    p3dfeat.extract(made / "videos", tmp_path / "feats.h5", model="p3d-camera", engine="torch", workers=1, **sampling)
    assert look(tmp_path / "feats.h5").findings == ()
    with h5py.File(tmp_path / "feats.h5", "r+") as file:
        video = file["b"]
        for name in ("pool5", "seconds", "first_frames"):
            rows = np.concatenate([video[name][()]] + [video[name][-1:]] * 2)
            del video[name]
            video[name] = rows
        video["pooled"][...] = video["pool5"][()].mean(axis=0, dtype=np.float64).astype(np.float32)
    (finding,) = look(tmp_path / "feats.h5").findings
    assert (finding.kind, finding.id) == ("damaged", "b")
    assert "clips; by its" in finding.text


def test_an_interrupted_run_is_told_and_how_to_go_on(files):
    file, videos = files
    parts = file.with_name("feats.h5.parts")
    parts.mkdir()
    (parts / "lock").touch()
    (parts / "00000000.journal").touch()
    summary = look(file, videos)
    assert told(summary.remarks) == [("interrupted", "")]
    assert "the same extract command finishes it" in summary.remarks[0].text
    file.unlink()
    with pytest.raises(FeatureFileError, match="a run was interrupted, and the same extract command finishes it"):
        look(file)


def test_a_file_that_cannot_be_opened_is_one_finding_not_one_a_video(files):
    file, videos = files
    file.write_bytes(file.read_bytes()[:1000])
    summary = p3dfeat.verify(file, against=videos)
    assert told(summary.findings) == [("damaged", "")]
    assert summary.videos == 0


def alter(file: Path, id: str, by: float) -> None:
    """Change the rows of a video so that nothing but computing them again shows it."""
    with h5py.File(file, "r+") as features:
        rows = features[id]["pool5"][()] * np.float32(1 + by)
        features[id]["pool5"][...] = rows
        features[id]["pooled"][...] = rows.mean(axis=0, dtype=np.float64).astype(np.float32)


def test_rows_that_are_not_what_comes_out_now_are_found(files):
    file, videos = files
    alter(file, "b", 1e-3)
    alter(file, "c", 1e-6)  # as another machine may
    assert look(file, videos).findings == ()
    summary = look(file, videos, recompute="all", workers=1)
    assert told(summary.findings) == [("different", "b")]
    assert "pool5: differs by up to 1.0e-03" in summary.findings[0].text
    assert (summary.recomputed, summary.identical) == (3, 1)
    assert summary.worst_relative_error == pytest.approx(1e-3, rel=0.01)


def test_a_clip_too_many_is_found_by_computing(files):
    """Where the frames do not tell: in a segment."""
    file, videos = files
    table = videos / "segments.csv"
    table.write_text("path,start_seconds,end_seconds,id\nc.mp4,0,0.8,part\n")
    p3dfeat.extract(table, file.with_name("dense.h5"), model="p3d-camera", engine="torch", clip_stride=4, workers=1)
    with h5py.File(file.with_name("dense.h5"), "r+") as features:
        video = features["part"]
        for name in ("pool5", "seconds", "first_frames"):
            rows = video[name][:-1]
            del video[name]
            video[name] = rows
        video["pooled"][...] = video["pool5"][()].mean(axis=0, dtype=np.float64).astype(np.float32)
    summary = look(file.with_name("dense.h5"), table, recompute=1, workers=1)
    assert told(summary.findings) == [("different", "part")] * len(summary.findings)
    assert " stored, " in summary.findings[0].text


def test_without_inputs_videos_are_computed_that_are_where_they_were(made):
    summary = p3dfeat.verify(made / "feats.h5", recompute=2, workers=1)
    assert (summary.findings, summary.recomputed, summary.identical) == ((), 2, 2)


def test_where_none_is_there_that_is_wrong_only_if_it_was_asked_for(files):
    file, _ = files
    with h5py.File(file, "r+") as features:
        for name in NAMES:
            features[name].attrs["source"] = "elsewhere.mp4"
    assert p3dfeat.verify(file).findings == ()
    assert told(p3dfeat.verify(file, recompute=1).findings) == [("not recomputed", "")]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("weights_sha256", "f" * 64, "weights_sha256 is ffff"),
        ("model", "some-net", "some-net"),
        ("precision", "int8", "the calibration of this file is not kept here"),
    ],
)
def test_what_other_numbers_would_come_out_of_is_not_computed_again(files, name, value, text):
    file, videos = files
    with h5py.File(file, "r+") as features:
        features.attrs[name] = value
        if value == "int8":
            features.attrs["engine"] = "openvino"
    by_default = p3dfeat.verify(file, against=videos)
    assert (told(by_default.findings), told(by_default.remarks)) == ([], [("not recomputed", "")])
    assert text in by_default.remarks[0].text
    asked = p3dfeat.verify(file, against=videos, recompute=1)
    assert told(asked.findings) == [("not recomputed", "")]


def test_a_model_that_is_called_otherwise_here_can_be_named(files):
    file, videos = files
    with h5py.File(file, "r+") as features:
        features.attrs["model"] = "some-net"
    summary = p3dfeat.verify(file, against=videos, recompute=1, model="p3d-camera", workers=1)
    assert (summary.findings, summary.identical) == ((), 1)


def test_where_its_engine_is_not_to_be_had_another_computes(files, monkeypatch):
    file, videos = files
    with h5py.File(file, "r+") as features:
        features.attrs["engine"] = "openvino"  # whose numbers are those of torch to 1e-6
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    summary = p3dfeat.verify(file, against=videos, recompute=1, workers=1)
    assert (told(summary.findings), told(summary.remarks)) == ([], [("recomputed", "")])
    assert "engine torch on cpu (engine 'openvino': not installed" in summary.remarks[0].text


def test_the_same_videos_are_chosen_each_time_whatever_others_there_are():
    videos = [Video(f"v{number}", "", "") for number in range(100)]
    picked = chosen(videos, 5)
    assert len(picked) == 5
    assert chosen(videos, 5) == picked == sorted(picked, key=videos.index)
    rest = [video for video in videos if video in picked or int(video.id[1:]) % 2]
    assert chosen(rest, 5) == picked
    assert chosen(videos, 0) == []
    assert chosen(videos, "all") == videos


def test_the_error_is_that_of_the_worst_row():
    reference = np.array([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]])
    assert row_errors(reference + np.array([[0, 0], [0, 0], [0.5, 0]]), reference).max() == 0.5
    assert row_errors(reference, reference).max() == 0.0
    assert np.isnan(row_errors(np.full((1, 2), np.nan), reference[:1])).all()


def test_a_sample_that_is_none_is_refused(files):
    with pytest.raises(UsageError, match="recompute -1: must be all or a number of at least 0"):
        p3dfeat.verify(files[0], recompute=-1)
