"""p3dfeat classify, as users type it: true answers about known camera moves."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

import p3dfeat as package
from examples.sample_videos import camera_path, colour_scene, write_h264
from p3dfeat.types import LeftOut
from p3dfeat.workflows.classify import timeline_of
from tests import commands
from tests.videos import numbered_video
from weights.recipes.p3d_camera.moves import render

MOVES = {
    "pan left": {"x": -1.0},
    "pan right": {"x": 1.0},
    "tilt up": {"y": -0.8},
    "tilt down": {"y": 0.8},
    "zoom in": {"zoom": 1.2},
    "zoom out": {"zoom": -1.2},
    "roll clockwise": {"roll": 90.0},
    "roll counter-clockwise": {"roll": -90.0},
    "static": {},
}


def film(path, *moves: str, seed: int = 3, frames: int = 48):
    parts = []
    for number, move in enumerate(moves):
        scene = colour_scene(seed + number)
        seen = render(scene, camera_path(**MOVES[move]), height=120, width=160, scene_width=2.6)[:frames]
        parts.append((seen * 255).round().to(torch.uint8).permute(0, 2, 3, 1))
    write_h264(path, torch.cat(parts))
    return path


class Films(dict):
    """The film of each move, which is made when it is first asked for."""

    def __init__(self, folder):
        self._folder = folder

    def __missing__(self, move):
        self[move] = film(self._folder / f"{move.replace(' ', '_')}.mp4", move)
        return self[move]


@pytest.fixture(scope="module")
def tour(tmp_path_factory):
    """Three moves, one after the other."""
    return film(tmp_path_factory.mktemp("tour") / "tour.mp4", "pan right", "tilt up", "zoom in")


@pytest.fixture(scope="module")
def moves(tmp_path_factory):
    folder = tmp_path_factory.mktemp("moves")
    return Films(folder)


@pytest.mark.parametrize("move", MOVES)
def test_the_embedded_model_names_the_cameras_move(p3dfeat, moves, move):
    ended = p3dfeat("classify", moves[move], "--json")
    (record,) = ended.records
    assert ended.code == 0
    assert record["predictions"][0]["label"] == move
    assert record["predictions"][0]["probability"] > 0.6


def test_json_has_the_documented_form(p3dfeat, moves):
    (record,) = p3dfeat("classify", moves["pan left"], "--json", "--top-k", 3).records
    assert set(record) == {"id", "source", "predictions"}
    assert record["id"] == "pan_left"
    assert record["source"] == str(moves["pan left"])
    assert len(record["predictions"]) == 3
    probabilities = [p["probability"] for p in record["predictions"]]
    assert probabilities == sorted(probabilities, reverse=True)
    labels = package.load_model().card.labels
    for prediction in record["predictions"]:
        assert set(prediction) == {"label", "index", "probability"}
        assert labels[prediction["index"]] == prediction["label"]


def test_a_table_is_for_people(p3dfeat, moves):
    ended = p3dfeat("classify", moves["zoom in"])
    lines = ended.stdout.splitlines()
    assert len(lines) == 6
    assert lines[0].split() == ["label", "probability"]
    assert lines[1].startswith("zoom in")
    assert "█" in lines[1]


def test_several_files_are_named_each(p3dfeat, moves):
    ended = p3dfeat("classify", moves["zoom in"], moves["static"], "-k", 1)
    lines = [line.rstrip() for line in ended.stdout.splitlines() if line.strip()]
    assert lines[0] == str(moves["zoom in"])
    assert str(moves["static"]) in lines
    assert any(line.startswith("static") for line in lines)


def test_a_timeline_follows_the_video(p3dfeat, tour):
    (record,) = p3dfeat("classify", tour, "--json", "--timeline").records
    spans = [(s["label"], s["start_seconds"], s["end_seconds"]) for s in record["timeline"]]
    assert spans == [
        ("pan right", 0.0, pytest.approx(1.92)),
        ("tilt up", pytest.approx(1.92), pytest.approx(3.84)),
        ("zoom in", pytest.approx(3.84), pytest.approx(5.76)),
    ]
    ended = p3dfeat("classify", tour, "--timeline")
    assert "1.92 s  3.84 s  tilt up" in ended.stdout
    assert ended.stderr == "labels: mean over 20 evenly spaced clips; timeline: one clip every 16 frames\n"


@pytest.mark.parametrize("options", [(), ("--clips", 3), ("--clip-stride", 8), ("--fps", 10), ("--frame-interval", 2)])
def test_a_timeline_does_not_change_the_answer(p3dfeat, tour, options):
    (alone,) = p3dfeat("classify", tour, "--json", *options).records
    (record,) = p3dfeat("classify", tour, "--json", *options, "--timeline").records
    assert record["predictions"] == alone["predictions"]
    assert record["timeline"]
    given = {str(name)[2:].replace("-", "_"): value for name, value in zip(options[::2], options[1::2], strict=True)}
    (found,) = package.classify(tour, timeline=True, **given)
    assert [span.as_json() for span in found.timeline] == record["timeline"]


def test_with_a_timeline_videos_that_fail_are_told_once_and_others_in_order(p3dfeat, tmp_path):
    paths = [film(tmp_path / "a.mp4", "pan left"), tmp_path / "broken.mp4", film(tmp_path / "b.mp4", "zoom in")]
    paths[1].write_bytes(b"no video")
    ended = p3dfeat("classify", *paths, "--json", "--timeline")
    assert [record["source"] for record in ended.records] == [str(paths[0]), str(paths[2])]
    assert (ended.code, ended.stderr.count("failed: ")) == (3, 1)


def test_neighbouring_clips_of_one_label_are_one_span():
    rows = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.6, 0.4]], np.float32)
    seconds = np.array([[0, 1], [1, 2], [2, 3], [3, 4]], np.float64)
    spans = timeline_of(rows, seconds, ("a", "b"))
    assert [(s.label, s.start_seconds, s.end_seconds) for s in spans] == [("a", 0, 2), ("b", 2, 3), ("a", 3, 4)]
    assert [s.probability for s in spans] == pytest.approx([0.8, 0.8, 0.6])


def test_borders_lie_in_the_middle_of_overlaps_and_gaps():
    rows = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], np.float32)
    overlapping = timeline_of(rows, np.array([[0, 4], [2, 6], [8, 9]], np.float64), ("a", "b"))
    assert [(s.start_seconds, s.end_seconds) for s in overlapping] == [(0, 3), (3, 7), (7, 9)]


def test_the_end_of_a_video_is_not_padded_into_stillness(p3dfeat, tmp_path):
    path = film(tmp_path / "pan.mp4", "pan left", frames=50)
    (record,) = p3dfeat("classify", path, "--json", "--timeline").records
    assert [(s["label"], s["end_seconds"]) for s in record["timeline"]] == [("pan left", pytest.approx(2.0))]


def test_the_video_itself_comes_on_stdin(moves, tmp_path):
    with open(moves["tilt down"], "rb") as file:
        env = {"TMPDIR": str(tmp_path), "PATH": ""}
        done = commands.run("classify", "-", "--json", "-m", "p3d-camera", stdin=file, env=env)
    record = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert (record["id"], record["source"]) == ("-", "-")
    assert record["predictions"][0]["label"] == "tilt down"
    assert list(tmp_path.iterdir()) == []


def test_a_streamed_matroska_on_stdin_is_read(moves):
    """As ``ffmpeg ... -f matroska - | p3dfeat classify -`` gives it: no index, no length, written once through."""
    mux = (
        "import av, sys\n"
        "source = av.open(sys.argv[1]); sink = av.open(sys.stdout.buffer, 'w', format='matroska')\n"
        "stream = sink.add_stream_from_template(source.streams.video[0])\n"
        "for packet in source.demux(video=0):\n"
        "    if packet.dts is not None:\n"
        "        packet.stream = stream; sink.mux(packet)\n"
        "sink.close()\n"
    )
    with (
        subprocess.Popen([sys.executable, "-c", mux, str(moves["zoom out"])], stdout=subprocess.PIPE) as source,
        commands.Command("classify", "-", "--json", stdin=source.stdout, stderr=None) as reader,
    ):
        source.stdout.close()
        record = json.loads(reader.communicate(timeout=120)[0])
    assert record["predictions"][0]["label"] == "zoom out"


def test_a_broken_video_does_not_stop_the_others(p3dfeat, moves, tmp_path):
    (tmp_path / "bad.mp4").write_text("x")
    ended = p3dfeat("classify", tmp_path / "bad.mp4", moves["static"], "--json")
    assert ended.code == 3
    assert len(ended.records) == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("failed: ")
    assert "bad.mp4: not a video" in line


def test_files_of_other_kinds_are_left_out_and_counted(p3dfeat, moves, tmp_path):
    shutil.copyfile(moves["static"], tmp_path / "static.dat")
    shutil.copyfile(moves["zoom in"], tmp_path / "zoom.mp4")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "._zoom.mp4").write_text("x")
    hidden = f"{tmp_path}: 1 file left out as hidden; name one to include it"
    ended = p3dfeat("classify", tmp_path, "--json")
    assert (ended.code, [record["id"] for record in ended.records]) == (0, ["zoom"])
    left_out = "2 files left out by their extension (.dat 1, .txt 1); --any-extension tries them"
    assert ended.stderr.splitlines() == [f"{tmp_path}: {left_out}", hidden]
    ended = p3dfeat("classify", tmp_path, "--json", "--any-extension")
    assert (ended.code, [record["id"] for record in ended.records]) == (0, ["static.dat", "zoom"])
    assert ended.stderr.splitlines() == [hidden, f"{tmp_path}: 1 file left out as no video, by its content"]
    told = []
    package.classify(tmp_path, clips=1, any_extension=True, on_left_out=told.append)
    assert told == [LeftOut(str(tmp_path), {}, hidden=1, no_videos=1)]


def test_nothing_readable_is_exit_4(p3dfeat, tmp_path):
    ended = p3dfeat("classify", tmp_path / "missing.mp4")
    assert ended.code == 4
    assert ended.stderr.splitlines()[-1] == "p3dfeat: no video could be read, 1 failed"


def test_an_empty_stdin_is_no_video():
    done = commands.run("classify", "-", input="")
    assert done.returncode == 4
    assert done.stderr.splitlines()[0] == "failed: -: empty file, 0 bytes"


def test_the_python_api_gives_the_same(moves):
    (result,) = package.classify(moves["pan right"], top_k=2)
    assert result.predictions[0].label == "pan right"
    assert len(result.predictions) == 2
    with pytest.raises(package.VideoError, match=r"gone.mp4: no such file or folder"):
        package.classify("gone.mp4")
    failures = []
    assert package.classify(["gone.mp4", moves["static"]], on_failure=failures.append, clips=2)[0].id == "static"
    assert [failure.source for failure in failures] == ["gone.mp4"]


def test_a_video_shorter_than_a_clip_is_classified(p3dfeat, tmp_path):
    assert p3dfeat("classify", numbered_video(tmp_path / "short.mp4", 3), "--json").code == 0
