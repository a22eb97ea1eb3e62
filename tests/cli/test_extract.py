"""p3dfeat extract, as users type it."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

import p3dfeat as package
from p3dfeat.engines.normalize import normalize
from tests import commands
from tests.videos import numbered_frames, numbered_video, panning_frames, write_audio, write_video


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out" / "feats.h5"


@pytest.fixture(autouse=True)
def _folder_for_output(tmp_path):
    (tmp_path / "out").mkdir()


def test_a_folder_becomes_a_feature_file(p3dfeat, folder, output):
    ended = p3dfeat("extract", folder, "-o", output)
    assert ended.code == 0
    assert ended.stdout == ""
    assert "3 stored, 0 skipped, 0 failed; 60 clips" in ended.stderr
    with package.open_features(output) as features:
        assert list(features) == ["archery/clip7", "left", "right"]
        for video in features.values():
            assert video["pool5"].shape == (20, 512)
            assert np.allclose(video.pooled, video["pool5"].mean(0), atol=1e-5)
            assert (np.diff(video["seconds"]) > 0.5).all()
        assert features["left"].attributes["num_frames"] == 40
        assert features["left"].attributes["padded_frames"] == 0
        assert features.settings["model"] == "p3d-camera"
    assert sorted(path.name for path in output.parent.iterdir()) == ["feats.h5"]


def test_the_engine_asked_for_runs_and_is_recorded(p3dfeat, folder, tmp_path):
    for engine in ("torch", "openvino"):
        output = tmp_path / f"{engine}.h5"
        assert p3dfeat("extract", folder / "left.mp4", "-o", output, "-n", 2, "--engine", engine).code == 0
        with package.open_features(output) as features:
            assert features.settings["engine"] == engine
    with package.open_features(tmp_path / "torch.h5") as a, package.open_features(tmp_path / "openvino.h5") as b:
        assert np.allclose(a["left"]["pool5"], b["left"]["pool5"], rtol=1e-4, atol=1e-5)
    other = p3dfeat("extract", folder / "right.mp4", "-o", tmp_path / "torch.h5", "-n", 2, "--engine", "openvino")
    assert (other.code, "engine is torch there, openvino now" in other.stderr) == (2, True)
    assert p3dfeat("extract", folder, "-o", tmp_path / "x.h5", "--engine", "abacus").code == 2


def test_features_are_those_of_the_net_on_the_frames_themselves(p3dfeat, tmp_path, output):
    """The whole line against PyAV's frames, the card's preprocessing and the net, put together by hand."""
    import av
    import torch

    path = write_video(tmp_path / "v.mp4", panning_frames(40, pixels_a_frame=2))
    p3dfeat("extract", path, "-o", output, "--clip-stride", 16, "--tail", "drop", "--layers", "pool5,logits,res3a")
    model = package.load_model()
    with av.open(str(path)) as container:
        frames = [
            frame.reformat(64, 64, "gray", interpolation=2 | 0x40000).to_ndarray()
            for frame in container.decode(video=0)
        ]
    clips = np.stack([np.stack(frames[0:16]), np.stack(frames[16:32])])[..., None]
    with torch.no_grad():
        expected = model.net(normalize(torch.from_numpy(clips), model.card.input), layers=("pool5", "logits", "res3a"))
    with package.open_features(output) as features:
        for layer, value in expected.items():
            found = features["v"][layer]
            assert found.shape == value.shape
            assert np.linalg.norm(found - value.numpy()) < 0.02 * np.linalg.norm(value.numpy()), layer


def test_running_again_does_only_what_is_missing(p3dfeat, folder, output, tmp_path):
    videos = tmp_path / "videos"
    shutil.copytree(folder, videos)
    p3dfeat("extract", videos, "-o", output)
    before = package.open_features(output)["left"]["pool5"]
    write_video(videos / "new.mp4", panning_frames(20, pixels_a_frame=1))
    ended = p3dfeat("extract", videos, "-o", output, "--json")
    assert {(r["id"], r["status"]) for r in ended.records[:-1]} == {
        ("archery/clip7", "skipped"),
        ("left", "skipped"),
        ("right", "skipped"),
        ("new", "stored"),
    }
    with package.open_features(output) as features:
        assert len(features) == 4
        assert np.array_equal(features["left"]["pool5"], before)


def test_json_is_all_there_is_on_stdout(p3dfeat, folder, output):
    ended = p3dfeat("extract", folder, folder / "missing.mp4", "-o", output, "--json")
    *videos, summary = ended.records
    assert ended.code == 3
    assert [v["status"] for v in videos] == ["failed", "stored", "stored", "stored"]
    assert all(set(v) == {"event", "id", "source", "status", "clips", "error", "remarks"} for v in videos)
    assert videos[0]["error"] == "no such file or folder"
    assert summary.pop("clips_per_second") > 0
    assert summary == {
        "event": "summary",
        "stored": 3,
        "partial": 0,
        "with_remarks": 0,
        "accepted": 0,
        "skipped": 0,
        "failed": 1,
        "left_out": 1,
        "clips": 60,
        "output": str(output),
    }


def test_files_of_other_kinds_are_counted_and_said_once(p3dfeat, folder, output, tmp_path):
    videos = tmp_path / "v"
    shutil.copytree(folder, videos)
    for name in ("a.jpg", "b.JPG", "archery/c.jpg", "README", "._left.mp4", ".thumbs/left.mp4"):
        (videos / name).parent.mkdir(exist_ok=True)
        (videos / name).write_bytes(b"")
    kinds = f"{videos}: 5 files left out by their extension (.jpg 3, .txt 1, none 1); --any-extension tries them"
    hidden = f"{videos}: 2 files left out as hidden; name one to include it"
    for options in ([], ["--dry-run"]):
        ended = p3dfeat("extract", videos, "-o", output, "--clips", 1, "--json", *options)
        assert (ended.code, ended.records[-1]["left_out"]) == (0, 7)
        assert ended.stderr.splitlines()[:2] == [kinds, hidden]  # then the summary
        assert ended.stderr.count("left out") == 2
        assert p3dfeat("extract", videos, "-o", output, "--clips", 1, "-q", *options).stderr == ""
    p3dfeat("extract", videos, "-o", output, "--clips", 1)
    assert len(package.open_features(output)) == 3


def test_nothing_is_said_where_nothing_is_left_out(p3dfeat, folder, output):
    archery = folder / "archery"
    ended = p3dfeat("extract", archery, "-o", output, "--clips", 1, "--json")
    assert "left out" not in ended.stderr
    assert ended.records[-1]["left_out"] == 0


@pytest.fixture
def unnamed(folder, tmp_path):
    """Videos under names that do not say so, among files of other kinds."""
    videos = tmp_path / "unnamed"
    videos.mkdir()
    shutil.copyfile(folder / "left.mp4", videos / "left")
    shutil.copyfile(folder / "right.mp4", videos / "right.dat")
    shutil.copyfile(folder / "archery" / "clip7.mp4", videos / "clip7.mp4")
    (videos / "clip7.json").write_text("{}")
    (videos / "noise.bin").write_bytes(b"\1\2\3" * 1000)
    (videos / "empty.dat").write_bytes(b"")
    return videos


def test_videos_are_found_by_content_and_what_is_none_is_left_out(p3dfeat, unnamed, output):
    planned = p3dfeat("extract", unnamed, "-o", output, "--clips", 1, "--any-extension", "--dry-run", "--json")
    ended = p3dfeat("extract", unnamed, "-o", output, "--clips", 1, "--any-extension", "--json")
    *videos, summary = ended.records
    assert {v["id"]: v["status"] for v in videos} == {
        **dict.fromkeys(("clip7", "left", "right.dat"), "stored"),
        **dict.fromkeys(("clip7.json", "empty.dat", "noise.bin"), "left_out"),
    }
    assert (ended.code, summary["stored"], summary["failed"], summary["left_out"]) == (0, 3, 0, 3)
    assert (planned.code, planned.records[-1]["videos"], planned.records[-1]["left_out"]) == (0, 3, 3)
    assert f"{unnamed}: 3 files left out as no videos, by their content\n" in ended.stderr
    assert list(package.open_features(output)) == ["clip7", "left", "right.dat"]
    assert not output.with_name("feats.h5.failed.jsonl").exists()
    again = p3dfeat("extract", unnamed, "-o", output, "--clips", 1, "--any-extension", "--on-error", "stop")
    assert (again.code, "nothing to do: 3 already stored" in again.stderr) == (0, True)


def test_a_broken_video_that_says_it_is_one_fails_with_any_extension_too(p3dfeat, unnamed, output):
    (unnamed / "broken.mp4").write_bytes(b"\1\2\3" * 1000)
    ended = p3dfeat("extract", unnamed, "-o", output, "--clips", 1, "--any-extension")
    assert (ended.code, "failed: " in ended.stderr, "1 failed" in ended.stderr) == (3, True, True)


def test_an_output_that_is_a_video_was_swallowed_by_a_shell_and_is_kept(p3dfeat, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.mp4"):
        shutil.copyfile(folder / "left.mp4", name)
    before = (tmp_path / "a.mp4").read_bytes()
    for options in ([], ["--overwrite"], ["--dry-run"]):
        ended = p3dfeat("extract", "-o", "a.mp4", "b.mp4", "--model", "nope", *options)
        assert ended.code == 2
        assert ended.stderr.startswith("p3dfeat: a.mp4: a video's name, not a feature file's; -o takes what follows it")
        assert ended.stderr.count("\n") == 1
    assert (tmp_path / "a.mp4").read_bytes() == before
    assert sorted(os.listdir()) == ["a.mp4", "b.mp4", "out"]
    assert p3dfeat("extract", "b.mp4", "-o", "new.MKV").code == 2
    with pytest.raises(package.UsageError, match="a video's name"):
        package.extract("b.mp4", "a.mp4")


@pytest.mark.parametrize("options", [[], ["--overwrite"], ["--dry-run"]])
def test_an_output_that_holds_something_else_is_refused_before_any_work(p3dfeat, folder, output, options):
    output.write_text("my thesis")
    ended = p3dfeat("extract", folder, "-o", output, "--model", "nope", *options)
    assert ended.code == 2
    assert ended.stderr == (
        f"p3dfeat: {output}: not a feature file; it is not HDF5, or is damaged; choose another output\n"
    )
    assert output.read_text() == "my thesis"
    assert os.listdir(output.parent) == [output.name]


def test_an_option_is_not_taken_for_an_output(p3dfeat, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = p3dfeat("extract", folder, "-o", "-q")
    assert (ended.code, "-q: an option in the place of the output" in ended.stderr) == (2, True)


@pytest.mark.parametrize("command", [["extract", "-o", "out/f.h5"], ["classify"]])
def test_a_file_that_would_be_read_as_an_option_is_named(p3dfeat, folder, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    names = ("-o.mp4", "-x.mp4", "-q.mp4", "--help.mp4", "-n5.mp4", "-.mp4")
    shutil.copyfile(folder / "right.mp4", "b.mp4")
    for name in names:
        shutil.copyfile(folder / "left.mp4", name)
        ended = p3dfeat(*command, name, "b.mp4")
        hint = f"p3dfeat: {name}: a file has this name, but a dash begins an option; write ./{name}\n"
        assert (ended.code, ended.stderr) == (2, hint)
    for spelt in ([f"./{name}" for name in names], ["--", *names]):
        ended = p3dfeat(*command[:1], "-n", 1, "--json", *command[1:], *spelt)
        assert ended.code == 0
        assert {record["source"] for record in ended.records if "id" in record} == {*spelt} - {"--"}
        shutil.rmtree("out")
        os.mkdir("out")


def test_a_stored_video_keeps_its_id_when_another_of_its_name_comes(p3dfeat, tmp_path, output):
    videos = tmp_path / "v"
    videos.mkdir()
    numbered_video(videos / "one.mp4", 20)
    p3dfeat("extract", videos, "-o", output, "--clips", 1)
    numbered_video(videos / "one.mkv", 24)
    planned = p3dfeat("extract", videos, "-o", output, "--clips", 1, "--dry-run", "--json")
    assert [record["id"] for record in planned.records[:-1]] == ["one.mkv"]
    ended = p3dfeat("extract", videos, "-o", output, "--clips", 1, "--json")
    assert {r["id"]: r["status"] for r in ended.records[:-1]} == {"one": "skipped", "one.mkv": "stored"}
    again = p3dfeat("extract", videos, "-o", output, "--clips", 1)
    assert "nothing to do: 2 already stored" in again.stderr
    verified = p3dfeat("verify", output, "--against", videos, "--recompute", 0)
    assert (verified.code, verified.stdout) == (0, "")
    (videos / "one.mp4").unlink()
    assert "nothing to do: 1 already stored" in p3dfeat("extract", videos, "-o", output, "--clips", 1).stderr


def test_with_overwrite_ids_are_chosen_anew(p3dfeat, tmp_path, output):
    videos = tmp_path / "v"
    videos.mkdir()
    numbered_video(videos / "one.mp4", 20)
    p3dfeat("extract", videos, "-o", output, "--clips", 1)
    numbered_video(videos / "one.mkv", 24)
    p3dfeat("extract", videos, "-o", output, "--clips", 1, "--overwrite")
    assert list(package.open_features(output)) == ["one.mkv", "one.mp4"]


def test_folders_of_numbered_pictures_are_inputs_where_asked_for(p3dfeat, tmp_path, output):
    """Of bytes that are no pictures: which videos there are is all that is asked here."""
    for name in ("v1/1.jpg", "v1/2.jpg", "v2.b/1.png", "v2.b/2.png"):
        (tmp_path / "frames" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "frames" / name).write_bytes(b"x")
    ended = p3dfeat("extract", tmp_path / "frames", "-o", output, "--frames", 25, "--json")
    assert [record["id"] for record in ended.records[:-1]] == ["v1", "v2.b"]
    failures = []
    package.classify(tmp_path / "frames", frames=25.0, on_failure=failures.append)
    assert [failure.source for failure in failures] == [str(tmp_path / "frames" / name) for name in ("v1", "v2.b")]
    ended = p3dfeat("classify", tmp_path / "frames", "--frames", 25)
    assert ended.stderr.count("failed: ") == 2
    without = p3dfeat("extract", tmp_path / "frames", "-o", output)
    assert "--frames FPS reads numbered pictures" in without.stderr


def test_paths_come_on_stdin(p3dfeat, folder, output, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "stdin", io.StringIO("left.mp4\narchery/clip7.mp4\n"))
    assert p3dfeat("extract", "-", "-o", output, "--clips", 2).code == 0
    assert list(package.open_features(output)) == ["archery/clip7", "left"]


def test_segments_of_a_csv_are_videos_of_their_own(p3dfeat, numbered, output, tmp_path):
    (tmp_path / "segments.csv").write_text(
        f"path,start_seconds,end_seconds,id\n{numbered},0,1,first\n{numbered},2,3,second\n{numbered},50,60,beyond\n"
    )
    ended = p3dfeat("extract", tmp_path / "segments.csv", "-o", output, "--clips", 2)
    assert ended.code == 3
    assert "no frame from 50 to 60 s; the video runs from 0 to 6 s" in ended.stderr
    with package.open_features(output) as features:
        assert features["second"]["seconds"].tolist() == pytest.approx(np.array([[2.0, 2.64], [2.36, 3.0]]))
        assert features["second"].attributes["segment_start_seconds"] == 2.0


def test_a_broken_video_costs_itself_alone_and_is_in_the_ledger(p3dfeat, folder, output, tmp_path):
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "empty.mp4").write_bytes(b"")
    (bad / "text.mp4").write_text("no video" * 50)
    write_audio(bad / "sound.mp4")
    whole = numbered_video(bad / "cut.mp4", 50)
    whole.write_bytes(whole.read_bytes()[:-3000])
    ended = p3dfeat("extract", folder, bad, "-o", output)
    assert ended.code == 3
    assert "3 stored, 0 skipped, 4 failed" in ended.stderr
    ledger = output.with_name("feats.h5.failed.jsonl")
    reasons = {entry["id"]: entry["error"] for entry in map(json.loads, ledger.read_text().splitlines())}
    assert set(reasons) == {"empty", "text", "sound", "cut"}
    assert reasons["empty"] == "empty file, 0 bytes"
    assert reasons["sound"] == "no video stream; is it an audio file?"
    for line in ended.stderr.splitlines()[:4]:
        assert line.startswith("failed: ")
    numbered_video(bad / "cut.mp4", 50)
    p3dfeat("extract", folder, bad, "-o", output)
    assert len(ledger.read_text().splitlines()) == 3
    for name in ("empty.mp4", "text.mp4", "sound.mp4"):
        numbered_video(bad / name, 20)
    assert p3dfeat("extract", folder, bad, "-o", output).code == 0
    assert not ledger.exists()


@pytest.mark.parametrize("name", ["missing.mp4", "empty_folder", "*.nothing"])
def test_nothing_readable_is_exit_4(p3dfeat, tmp_path, output, name):
    (tmp_path / "empty_folder").mkdir()
    ended = p3dfeat("extract", tmp_path / name, "-o", output)
    assert ended.code == 4
    assert ended.stderr.splitlines()[-1] == "p3dfeat: no video could be read, 1 failed"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--model", "nope"], 2, "model 'nope': unknown; known are p3d-camera"),
        (["--model", "gone.safetensors"], 5, "gone.safetensors: no such file"),
        (["--layers", "fc7"], 2, "layer 'fc7': not in this network; it has pool1"),
        (["--layers", ","], 2, "layers: none given"),
        (["--device", "tpu"], 2, "device 'tpu': unknown"),
        (["--precision", "fp8"], 2, "'--precision': 'fp8' is not one of 'auto', 'fp32'"),
        (["--batch-size", "many"], 2, "batch size 'many'"),
        (["--batch-size", "0"], 2, "batch size '0'"),
        (["--clips", "0"], 2, "clips 0: must be at least 1"),
        (["--clips", "3", "--clip-stride", "2"], 2, "give one of a number of clips, a stride in frames"),
        (["--fps", "-1"], 2, "fps is -1"),
        (["--tail", "cut"], 2, "'--tail': 'cut' is not one of 'pad', 'drop', 'align'"),
        (["--frames", "0"], 2, "frames 0: must be above 0 and at most 1000 frames per second"),
        (["--frames", "nan"], 2, "frames nan: must be above 0"),
        (["--frobnicate"], 2, "frobnicate"),
    ],
)
def test_wrong_usage_is_one_clear_line(p3dfeat, folder, output, options, code, message):
    ended = p3dfeat("extract", folder, "-o", output, *options)
    assert ended.code == code
    (line,) = ended.stderr.splitlines()
    assert line.startswith("p3dfeat: ")
    assert message in line
    assert list(output.parent.iterdir()) == []


def test_an_output_must_be_named(p3dfeat, folder):
    ended = p3dfeat("extract", folder)
    assert (ended.code, ended.stderr) == (2, "p3dfeat: output: none given; name the feature file with -o feats.h5\n")


def test_an_output_that_is_not_ours_is_refused_and_kept(p3dfeat, folder, output):
    output.write_text("my thesis")
    ended = p3dfeat("extract", folder, "-o", output, "--overwrite")
    assert ended.code == 2
    assert "not a feature file" in ended.stderr
    assert output.read_text() == "my thesis"


@pytest.mark.skipif(not os.path.isdir("/sys/kernel"), reason="needs Linux's /sys")
def test_an_output_that_cannot_be_written_is_refused(p3dfeat, folder):
    ended = p3dfeat("extract", folder, "-o", "/sys/feats.h5")  # where not even root may write
    assert ended.code == 2
    assert ended.stderr.startswith("p3dfeat: /sys/feats.h5: cannot be written (")
    assert len(ended.stderr.splitlines()) == 1


def test_an_output_in_a_missing_folder_is_refused_before_any_work(p3dfeat, folder, tmp_path):
    ended = p3dfeat("extract", folder, "-o", tmp_path / "no" / "feats.h5")
    assert ended.code == 2
    assert "does not exist" in ended.stderr


def test_the_same_name_in_another_folder_is_not_taken_for_done(p3dfeat, tmp_path, output):
    for number, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        numbered_video(tmp_path / folder / "clip.mp4", 20 + 20 * number)
    p3dfeat("extract", tmp_path / "a", "-o", output)
    ended = p3dfeat("extract", tmp_path / "b", "-o", output)
    assert ended.code == 4
    assert "id 'clip' is stored for another file" in ended.stderr


def test_a_mistyped_input_with_overwrite_costs_nothing(p3dfeat, folder, output):
    p3dfeat("extract", folder, "-o", output)
    assert p3dfeat("extract", folder / "typo.mp4", "-o", output, "--overwrite").code == 4
    assert len(package.open_features(output)) == 3


def test_names_that_are_not_text_or_look_like_markup_are_names(p3dfeat, tmp_path, output):
    folder = tmp_path / "odd"
    folder.mkdir()
    video = numbered_video(folder / "movie [x264-YIFY].mp4", 20)
    os.mkdir(os.fsencode(folder) + b"/\xff[")
    shutil.copyfile(video, os.fsencode(folder) + b"/\xff[/red].mp4")
    ended = p3dfeat("extract", folder, "-o", output, "--clips", 1)
    assert ended.code == 0
    shown = p3dfeat("info", output).stdout
    assert "movie [x264-YIFY] " in shown
    assert "\\xff[/red]" in shown
    assert "\\xff[/red]" in p3dfeat("extract", folder, "--dry-run").stdout


def test_an_exception_in_a_callback_does_not_hang_the_program(tmp_path):
    """Decoders are processes; one that nobody ends would go on, and so might this one."""
    video = write_video(tmp_path / "v.mp4", numbered_frames(400))
    code = (
        "import sys, p3dfeat\n"
        "def fail(event):\n"
        "    if type(event).__name__ == 'Described': raise ValueError('mine')\n"
        "p3dfeat.extract(sys.argv[1], sys.argv[2], clip_stride=4, on_event=fail)\n"
    )
    done = commands.run(video, tmp_path / "f.h5", program=code)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("ValueError: mine")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_one_line(folder, output):
    with open("/dev/full", "w") as full:
        ended = commands.run("extract", folder, "-o", output, "--json", "--clips", 1, stdout=full)
    assert ended.returncode == 2
    assert ended.stderr == "p3dfeat: <stdout>: cannot be written (No space left on device)\n"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frame_interval": 0}, "frame interval"),
        ({"batch_size": -1}, "batch size"),
        ({"max_videos": 0}, "max videos"),
        ({"layers": []}, "layers: none given"),
        ({"fps": float("nan")}, "fps"),
    ],
)
def test_the_api_refuses_nonsense(folder, output, settings, message):
    with pytest.raises(package.UsageError, match=message):
        package.extract(folder, output, **settings)
    assert not output.exists()


def test_a_layer_may_be_named_alone(folder, output):
    package.extract(folder / "left.mp4", output, layers="prob", clips=2)
    assert set(package.open_features(output)["left"]) == {"prob", "seconds", "first_frames"}


def test_other_settings_are_refused_and_overwrite_helps(p3dfeat, folder, output):
    p3dfeat("extract", folder, "-o", output, "--clips", 2)
    refused = p3dfeat("extract", folder, "-o", output, "--clips", 3)
    assert refused.code == 2
    assert "sampling.clips is 2 there, 3 now" in refused.stderr
    assert p3dfeat("extract", folder, "-o", output, "--clips", 3, "--overwrite").code == 0
    assert package.open_features(output)["left"]["pool5"].shape == (3, 512)


def test_limit_computes_so_many_and_the_next_run_goes_on(p3dfeat, folder, output):
    assert "2 stored" in p3dfeat("extract", folder, "-o", output, "--max-videos", 2).stderr
    assert "1 stored, 2 skipped" in p3dfeat("extract", folder, "-o", output, "--max-videos", 2).stderr


def test_a_dry_run_says_what_would_come_and_touches_nothing(p3dfeat, folder, output):
    plan = p3dfeat("extract", folder, "-o", output, "--dry-run", "--clip-stride", 8, "--json")
    assert list(output.parent.iterdir()) == []
    p3dfeat("extract", folder, "-o", output, "--clip-stride", 8)
    with package.open_features(output) as features:
        stored = {id: len(video["pool5"]) for id, video in features.items()}
    *videos, summary = plan.records
    assert {v["id"]: v["clips"] for v in videos} == stored
    assert summary["clips"] == sum(stored.values())
    assert summary["size_bytes"] == pytest.approx(output.stat().st_size, rel=0.15)
    text = p3dfeat("extract", folder, "--dry-run")
    assert "3 videos, 60 clips, about" in text.stdout
    again = p3dfeat("extract", folder, "-o", output, "--dry-run", "--clip-stride", 8)
    assert "0 videos, 0 clips" in again.stdout
    assert "3 stored already" in again.stdout


def test_a_dry_run_refuses_what_the_run_would(p3dfeat, folder, output):
    p3dfeat("extract", folder, "-o", output, "--clips", 2)
    for options in (["--clips", 3], ["--precision", "fp8"], ["--device", "tpu"]):
        assert p3dfeat("extract", folder, "-o", output, *options, "--dry-run").code == 2
    overwriting = p3dfeat("extract", folder, "-o", output, "--clips", 3, "--overwrite", "--dry-run")
    assert "3 videos, 9 clips" in overwriting.stdout


def test_limit_counts_what_is_stored_not_what_fails(p3dfeat, tmp_path, output):
    videos = tmp_path / "limited"
    videos.mkdir()
    (videos / "0.mp4").write_text("x")
    for number in (1, 2):
        numbered_video(videos / f"{number}.mp4", 20)
    assert "1 stored, 0 skipped, 1 failed" in p3dfeat("extract", videos, "-o", output, "--max-videos", 1).stderr
    assert "1 stored, 1 skipped, 1 failed" in p3dfeat("extract", videos, "-o", output, "--max-videos", 1).stderr


@pytest.mark.parametrize("option", ["--frame-interval", "--clips", "--clip-stride"])
def test_absurd_numbers_are_wrong_usage(p3dfeat, folder, output, option):
    ended = p3dfeat("extract", folder, "-o", output, option, 10**18)
    assert ended.code == 2
    assert "must be from 1 to 1,000,000" in ended.stderr


def test_names_cannot_steer_the_terminal(p3dfeat, tmp_path, output):
    (tmp_path / "\x1b[31mred\n.mp4").write_text("x")
    (line, _) = p3dfeat("extract", tmp_path, "-o", output).stderr.splitlines()[-2:]
    assert "\x1b" not in line


def test_a_dry_run_lists_what_cannot_be_read(p3dfeat, folder, tmp_path):
    (tmp_path / "bad.mp4").write_text("x")
    ended = p3dfeat("extract", folder, tmp_path / "bad.mp4", "--dry-run")
    assert ended.code == 3
    assert "bad.mp4: not a video" in ended.stderr


def test_quiet_is_silent_but_for_the_exit_code(p3dfeat, folder, output):
    ended = p3dfeat("extract", folder, folder / "missing.mp4", "-o", output, "-q")
    assert (ended.code, ended.stdout, ended.stderr) == (3, "", "")


def test_short_videos_say_how_many_frames_are_padding(p3dfeat, tmp_path, output):
    numbered_video(tmp_path / "short.mp4", 10)
    p3dfeat("extract", tmp_path / "short.mp4", "-o", output, "--clips", 1)
    assert package.open_features(output)["short"].attributes["padded_frames"] == 6


def test_fps_step_and_precision_are_used_and_recorded(p3dfeat, numbered, output):
    p3dfeat("extract", numbered, "-o", output, "--fps", 10, "--frame-interval", 2, "--clips", 1, "--precision", "bf16")
    with package.open_features(output) as features:
        assert features.settings["sampling"]["fps"] == 10.0
        assert features.settings["sampling"]["step"] == 2
        assert features.settings["precision"] == "bf16"
        # 60 frames of a tenth of a second; the clip spans 31 of them, from the 14th.
        assert features["numbered"]["seconds"][0] == pytest.approx([1.4, 4.44], abs=0.03)


def test_all_real_videos_give_a_complete_file(p3dfeat, real_clips, output):
    ended = p3dfeat("extract", real_clips, "-o", output, "--layers", "pool5,prob")
    assert ended.code == 0
    with package.open_features(output) as features:
        assert len(features) == 8
        for video in features.values():
            assert video["pool5"].shape == (20, 512)
            assert np.isfinite(video["pool5"]).all()
            assert np.allclose(video["prob"].sum(1), 1, atol=1e-4)
            assert (video["seconds"][:, 0] < video["seconds"][:, 1]).all()


def long_videos(tmp_path, count: int = 12):
    folder = tmp_path / "long"
    folder.mkdir()
    first = write_video(folder / "00.mp4", numbered_frames(400))
    for number in range(1, count):
        shutil.copyfile(first, folder / f"{number:02}.mp4")
    return folder


@pytest.mark.parametrize("command", [["extract", "-", "-o", "x.h5"], ["classify", "-"]])
def test_a_closed_stdin_is_wrong_usage(tmp_path, command):
    line = " ".join(f"'{word}'" for word in [sys.executable, "-m", "p3dfeat", *command])
    done = subprocess.run(f"{line} <&-", shell=True, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (2, "p3dfeat: -: stdin is closed\n")


def test_a_killed_run_loses_only_what_was_in_flight(p3dfeat, tmp_path, output):
    videos = long_videos(tmp_path)
    process = commands.Command("extract", videos, "-o", output, "--clip-stride", 4, "--json", stderr=None)
    done = [json.loads(process.stdout.readline())["id"] for _ in range(2)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not output.exists()
    ended = p3dfeat("extract", videos, "-o", output, "--clip-stride", 4, "--json")
    status = {record["id"]: record["status"] for record in ended.records[:-1]}
    assert [status[id] for id in done] == ["skipped", "skipped"]
    assert len(package.open_features(output)) == 12


def in_a_shell(line: str) -> "subprocess.CompletedProcess[str]":
    """A line in which p3dfeat is a command."""
    path = f"{commands.shell_commands()}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path}
    return subprocess.run(line, shell=True, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_a_reader_that_goes_away_is_no_error(folder, output):
    done = in_a_shell(f"p3dfeat extract '{folder}' -o '{output}' --json | head -n 1")
    assert "Traceback" not in done.stderr
    assert "Broken pipe" not in done.stderr


def test_a_pipe_carries_json_and_nothing_else(folder, output):
    done = in_a_shell(f"find '{folder}' -name '*.mp4' | sort | p3dfeat extract - -o '{output}' --json")
    assert done.returncode == 0
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == ["video", "video", "video", "summary"]


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
def test_a_terminal_shows_one_bar_for_the_run(tmp_path, output):
    videos = long_videos(tmp_path, 3)
    (videos / "bad.mp4").write_text("x")
    master, slave = os.openpty()
    process = commands.Command("extract", videos, "-o", output, "--clip-stride", 2, "--json", stderr=slave)
    os.close(slave)
    shown = b""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    records = process.communicate()[0].splitlines()
    assert [json.loads(record)["event"] for record in records] == ["video"] * 4 + ["summary"]
    os.close(master)
    text = shown.decode()
    assert process.returncode == 3
    assert "clips" in text
    assert "/4 videos" in text
    assert "1 failed" in text
    assert "3 stored" in text


def test_devices_and_precisions_that_are_not_here_are_told_in_one_line(p3dfeat, folder, tmp_path):
    import torch

    def line(*options):
        ended = p3dfeat("extract", folder, "-o", tmp_path / "f.h5", *options)
        assert ended.code == 2
        return ended.stderr.strip()

    assert "'tf32': is of CUDA GPUs, not of cpu; use fp32 or bf16" in line("--device", "cpu", "--precision", "tf32")
    assert "a list names CUDA GPUs by number" in line("--device", "cpu,cpu")
    if not torch.cuda.is_available():
        assert line("--device", "cuda:all").endswith("this PyTorch sees no CUDA GPU; use --device cpu")


def test_further_columns_of_a_csv_are_attributes_of_its_videos(p3dfeat, folder, tmp_path, output):
    csv = tmp_path / "list.csv"
    csv.write_text(f"path,id,label,split\n{folder}/left.mp4,l,moving left,1\n{folder}/right.mp4,r,,2\n")
    assert p3dfeat("extract", csv, "-o", output, "--clips", 1).code == 0
    with package.open_features(output) as features:
        assert features["l"].columns == {"label": "moving left", "split": "1"}
        assert features["r"].columns == {"label": "", "split": "2"}
        assert "columns" not in features["l"].attributes
    with h5py.File(output) as file:
        assert file["l"].attrs["label"] == "moving left"
    verified = p3dfeat("verify", output, "--against", csv)
    assert verified.code == 0
    assert verified.stderr.startswith(f"{output}: nothing wrong in 2 videos, 2 clips; 2 of 2 videos recomputed")


@pytest.mark.parametrize("name", ["feats.npy", "feats.NPZ", "feats.csv", "feats.pt", "feats.mat", "feats.parquet"])
def test_an_output_that_promises_another_format_is_refused(p3dfeat, folder, tmp_path, name):
    ended = p3dfeat("extract", folder, "-o", tmp_path / name)
    assert (ended.code, ended.stdout) == (2, "")
    assert f"{name}: features are written as HDF5, not as " in ended.stderr
    assert f"; write -o {tmp_path}/feats.h5, and read it with p3dfeat.open_features or h5py\n" in ended.stderr
    assert not (tmp_path / name).exists()


def test_columns_that_were_changed_later_are_said_and_not_stored(p3dfeat, folder, tmp_path, output):
    csv = tmp_path / "list.csv"
    csv.write_text(f"path,id,label\n{folder}/left.mp4,l,left\n{folder}/right.mp4,r,right\n")
    assert p3dfeat("extract", csv, "-o", output, "--clips", 1).code == 0
    assert "warning" not in p3dfeat("extract", csv, "-o", output, "--clips", 1).stderr
    csv.write_text(f"path,id,label\n{folder}/left.mp4,l,left\n{folder}/right.mp4,r,up\n")
    ended = p3dfeat("extract", csv, "-o", output, "--clips", 1)
    assert ended.code == 0
    assert "warning: columns of the CSV differ from those of 1 stored video, and stay as stored" in ended.stderr
    assert p3dfeat("remove", output, "r").code == 0
    assert p3dfeat("extract", csv, "-o", output, "--clips", 1).code == 0
    with package.open_features(output) as features:
        assert features["r"].columns == {"label": "up"}
