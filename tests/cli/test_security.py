"""What commands say, in one line each, of files that are not to be trusted or not to be touched."""

import json
import os
import subprocess
import sys
import warnings

import h5py
import pytest

from tests.store.runs import run

MODEL = ("--model", "p3d-camera", "--clips", "1", "--workers", "1", "--engine", "torch")


@pytest.fixture
def output(tmp_path):
    return tmp_path / "feats.h5"


def linked(output):
    """A feature file in which a user has linked train to train.h5."""
    run(output, {"a": 0})
    run(output.with_name("train.h5"), {"x": 4})
    with h5py.File(output, "r+") as file:
        file["train"] = h5py.ExternalLink("train.h5", "/")


def test_info_shows_what_the_file_holds_and_says_once_what_it_does_not_follow(p3dfeat, output):
    linked(output)
    ended = p3dfeat("info", "--json", output)
    assert ended.code == 0
    *videos, _ = map(json.loads, ended.stdout.splitlines())
    assert [video["id"] for video in videos] == ["a"]
    assert ended.stderr == f"note: {output}: 'train' is a link to elsewhere, which p3dfeat does not follow\n"
    assert p3dfeat("info", "-q", output).code == 2  # there is no such option
    assert p3dfeat("verify", "-q", output).stderr == ""


def test_a_video_below_a_link_fails_and_both_files_stay(p3dfeat, folder, output, tmp_path):
    ended = p3dfeat("extract", folder / "left.mp4", "-o", output, *MODEL)
    assert ended.code == 0
    other = tmp_path / "train.h5"
    assert p3dfeat("extract", folder / "right.mp4", "-o", other, *MODEL).code == 0
    with h5py.File(output, "r+") as file:
        file["train"] = h5py.ExternalLink("train.h5", "/")
    before = output.read_bytes(), other.read_bytes()
    (tmp_path / "videos" / "train").mkdir(parents=True)
    os.symlink(folder / "left.mp4", tmp_path / "videos" / "train" / "new.mp4")
    ended = p3dfeat("extract", tmp_path / "videos", "-o", output, *MODEL)
    assert ended.code in (3, 4)
    assert "id 'train/new'" in ended.stderr
    assert "holds 'train', which is a link to elsewhere" in ended.stderr
    assert (output.read_bytes(), other.read_bytes()) == before


@pytest.mark.parametrize("kind", ["a pipe or a device", "a folder"])
def test_an_output_that_is_no_file_is_refused(p3dfeat, folder, output, kind):
    output.mkdir() if kind == "a folder" else os.mkfifo(output)
    ended = p3dfeat("extract", folder / "left.mp4", "-o", output, *MODEL)
    assert ended.code == 2
    assert ended.stderr.startswith(f"p3dfeat: {output}: {kind}, not a file; ")
    assert os.listdir(output.parent) == ["feats.h5"]


def test_a_users_folder_beside_the_output_is_refused_and_kept(p3dfeat, folder, output):
    parts = output.with_name("feats.h5.parts")
    (parts / "mine").mkdir(parents=True)
    ended = p3dfeat("extract", folder / "left.mp4", "-o", output, *MODEL)
    assert ended.code == 2
    assert ended.stderr == (
        f"p3dfeat: {parts}: a folder that is not p3dfeat's: it holds 'mine'; move it away, or choose another place\n"
    )
    assert (parts / "mine").is_dir()


@pytest.mark.parametrize("name", ["num_frames", "duration_seconds", "width", "padded_frames", "remarks"])
@pytest.mark.parametrize("value", [[1, 2], "x", float("nan"), None], ids=str)
def test_info_takes_attributes_of_any_kind(p3dfeat, output, name, value):
    run(output, {"a": 0})
    with h5py.File(output, "r+") as file:
        if value is None:
            file["a"].attrs.pop(name, None)
        else:
            file["a"].attrs[name] = value
    for options in ((), ("--json",)):
        ended = p3dfeat("info", output, *options)
        assert ended.code in (0, 2)
        assert "bug" not in ended.stderr
        assert "Traceback" not in ended.stderr
        if ended.code == 0 and options:
            assert all(
                json.loads(line, parse_constant=lambda name: pytest.fail(name)) for line in ended.stdout.splitlines()
            )


def test_the_command_line_keeps_hdf5_from_looking_for_plugins(tmp_path):
    code = "import os, sys; from p3dfeat.cli.app import main\ntry: main(['--version'])\nfinally: print(os.environ)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "'HDF5_PLUGIN_PRELOAD': '::'" in ended.stdout


def test_a_foreign_filter_is_named_by_info(p3dfeat, output):
    run(output, {"a": 0})
    with h5py.File(output, "r+") as file:
        shape = file["a/pool5"].shape
        del file["a/pool5"]
        packed = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        packed.set_chunk(shape)
        packed.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, ())
        h5py.h5d.create(file["a"].id, b"pool5", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple(shape), packed)
    ended = p3dfeat("info", output)
    assert ended.code == 2
    assert "a/pool5: compressed with filter 32001, which is not HDF5's own" in ended.stderr


def test_warnings_of_libraries_are_for_debugging(p3dfeat, monkeypatch, output):
    import p3dfeat.store as store

    run(output, {"a": 0})
    usual = store.open_features

    def talkative(path):
        warnings.warn("for programmers", FutureWarning, stacklevel=1)
        return usual(path)

    monkeypatch.setattr(store, "open_features", talkative)
    assert p3dfeat("info", output).stderr == ""
    assert p3dfeat("info", "--debug", output).stderr == "FutureWarning: for programmers\n"


SECRET = "tops3cret"


@pytest.mark.parametrize(
    "command",
    [
        ("extract", f"@https://me:{SECRET}@h.org/list.txt", "-o", "OUT"),
        ("extract", "VIDEO", "-o", f"https://me:{SECRET}@h.org/r.h5"),
        ("extract", "VIDEO", "-o", "OUT", "--model", f"https://me:{SECRET}@h.org/w.pth"),
        ("extract", f"s3://AKIA:{SECRET}/x@bucket/v.mp4", "-o", "OUT"),
        ("extract", "@LIST", "-o", "OUT"),
        ("info", f"https://me:{SECRET}@h.org/r.h5"),
        ("verify", f"https://h.org/r.h5?sig={SECRET}"),
        ("weights", "show", f"https://me:{SECRET}@h.org/w.toml"),
        ("weights", "convert", f"https://me:{SECRET}@h.org/w.pth"),
        ("classify", f"https://me:{SECRET}/x@h.org/v.mp4", "--json"),
    ],
    ids=lambda command: " ".join(command[:2]).replace(SECRET, "..."),
)
def test_a_password_is_shown_and_kept_nowhere(p3dfeat, folder, tmp_path, command):
    (tmp_path / "list").write_text(f"https:/me:{SECRET}@h.org/d.mp4\nhttps://me:{SECRET}?x@h.org/d.mp4\n")
    places = {"OUT": tmp_path / "f.h5", "VIDEO": folder / "left.mp4", "@LIST": f"@{tmp_path / 'list'}"}
    ended = p3dfeat(*(places.get(word, word) for word in command))
    assert ended.code != 0
    assert SECRET not in ended.stdout + ended.stderr
    (tmp_path / "list").unlink()
    for path in tmp_path.iterdir():
        assert SECRET not in path.name
        assert SECRET.encode() not in path.read_bytes()
