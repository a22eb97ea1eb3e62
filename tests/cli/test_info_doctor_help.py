"""p3dfeat info, doctor, --help and --version."""

import csv
import io
import json
import re
import subprocess
import sys

import h5py
import pytest

import p3dfeat as package
from p3dfeat import __version__
from p3dfeat.cli import app as app_module
from p3dfeat.store.layout import ORDER
from p3dfeat.types import VIDEO_ATTRIBUTES
from p3dfeat.workflows import doctor as diagnosis
from tests import commands


@pytest.fixture
def feats(p3dfeat, folder, tmp_path):
    output = tmp_path / "feats.h5"
    (tmp_path / "bad.mp4").write_text("x")
    p3dfeat("extract", folder, tmp_path / "bad.mp4", "-o", output, "--clips", 2, "--layers", "pool5,prob")
    return output


def test_info_says_what_a_file_holds_and_how_it_was_made(p3dfeat, feats):
    ended = p3dfeat("info", feats)
    assert ended.code == 0
    for words in (
        "3 videos",
        "p3d-camera",
        "openvino",
        "fp32",
        "clips 2",
        "resize 64 64",
        "pool5 (clips, 512), pooled (512), prob (clips, 12), seconds (clips, 2)",
        "archery/clip7  2      0.96 s    24      25   128x96",
        "1 video, reasons in",
    ):
        assert words in ended.stdout


def test_info_shows_frame_rates_and_segments_in_80_columns(p3dfeat, folder, tmp_path):
    rows = [f"{folder}/left.mp4,part,0.4,1.25", f"{folder}/left.mp4,rest,1,", f"{folder}/left.mp4,whole,,"]
    (tmp_path / "list.csv").write_text("\n".join(["path,id,start_seconds,end_seconds", *rows]) + "\n")
    output = tmp_path / "feats.h5"
    assert p3dfeat("extract", tmp_path / "list.csv", "-o", output, "--clips", 2).code == 0
    heading, part, rest, whole = p3dfeat("info", output).stdout.splitlines()[-4:]
    assert heading.split() == ["id", "clips", "duration", "frames", "fps", "size", "segment"]
    assert re.search(r" 25   128x96  0.4 to 1.25 s$", part)
    assert rest.endswith("128x96  1 to end")
    assert whole.endswith("128x96")
    assert max(map(len, (heading, part, rest, whole))) <= 80
    p3dfeat("extract", folder / "left.mp4", "-o", tmp_path / "plain.h5", "--clips", 2)
    assert "segment" not in p3dfeat("info", tmp_path / "plain.h5").stdout


def test_info_as_csv_and_the_table_hold_all_attributes_and_columns_of_all_videos(p3dfeat, folder, tmp_path):
    (tmp_path / "list.csv").write_text(f"path,id,label\n{folder}/left.mp4,l,=1+1\n{folder}/right.mp4,r,\n")
    output = tmp_path / "feats.h5"
    assert p3dfeat("extract", tmp_path / "list.csv", folder / "archery", "-o", output, "--clips", 2).code == 0
    rows = list(csv.DictReader(io.StringIO(p3dfeat("info", output, "--csv").stdout)))
    found = [(row["id"], row["clips"], row["label"]) for row in rows]
    assert found == [("clip7", "2", ""), ("l", "2", "'=1+1"), ("r", "2", "")]
    assert [row["num_frames"] for row in rows] == ["24", "40", "40"]
    with package.open_features(output) as features:
        table = features.table()
        assert table["id"] == list(features) == ["clip7", "l", "r"]
        assert table["label"] == [None, "=1+1", ""]
        assert table["duration_seconds"] == [features[id].attributes["duration_seconds"] for id in features]
        assert len({len(column) for column in table.values()}) == 1
    assert "label" in p3dfeat("info", output).stdout


def test_info_as_json_is_complete(p3dfeat, feats):
    *videos, summary = p3dfeat("info", feats, "--json").records
    assert [v["id"] for v in videos] == ["archery/clip7", "left", "right"]
    assert videos[1]["arrays"] == {
        "pool5": [2, 512],
        "pooled": [512],
        "prob": [2, 12],
        "seconds": [2, 2],
        "first_frames": [2],
    }
    assert videos[1]["num_frames"] == 40
    assert summary["videos"] == 3
    assert summary["sampling"]["clips"] == 2


def test_what_a_file_says_does_not_hide_what_info_says(p3dfeat, feats, monkeypatch):
    """Attributes that newer files may have could be called like p3dfeat's own keys."""
    theirs = {"event": "x", "id": "x", "arrays": "x", "videos": "x", "size_bytes": "x"}
    before = p3dfeat("info", feats, "--json").records
    monkeypatch.setattr("p3dfeat.store.reading.video.VIDEO_ATTRIBUTES", VIDEO_ATTRIBUTES | theirs.keys())
    monkeypatch.setattr("p3dfeat.store.layout.ORDER", (*ORDER, *theirs))
    with h5py.File(feats, "r+") as file:
        for group in (file, file["left"]):
            group.attrs.update(theirs)
    after = p3dfeat("info", feats, "--json").records
    for old, new in zip(before, after, strict=True):
        ours = [name for name in theirs if name in old and name != "size_bytes"]
        assert {name: new[name] for name in ours} == {name: old[name] for name in ours}
    assert after[-1]["size_bytes"] == feats.stat().st_size


def test_info_lists_twenty_videos_unless_asked_for_all(p3dfeat, feats, monkeypatch):
    monkeypatch.setattr("p3dfeat.cli.commands.info.SHOWN", 2)
    assert "... and 1 more; --all lists them" in p3dfeat("info", feats).stdout
    assert "more" not in p3dfeat("info", feats, "--all").stdout


@pytest.mark.parametrize("name", ["missing.h5", "text.h5"])
def test_info_on_something_else_is_one_line(p3dfeat, tmp_path, name):
    (tmp_path / "text.h5").write_text("x")
    ended = p3dfeat("info", tmp_path / name)
    assert ended.code == 2
    assert len(ended.stderr.splitlines()) == 1


def test_doctor_finds_this_installation_healthy(p3dfeat):
    ended = p3dfeat("doctor")
    assert ended.code == 0
    for words in ("torch", "av", "h264", "hevc", "av1", "cpu", "p3d-camera", "passed"):
        assert words in ended.stdout


def test_doctor_as_json(p3dfeat):
    (record,) = p3dfeat("doctor", "--json").records
    assert record["self_test_passed"] is True
    assert record["self_test_error"] < 1e-4
    assert "h264" in record["decoders"]
    assert "huggingface" in record["hub_cache"]
    assert record["default_model"] == "p3d-camera"
    assert set(diagnosis.PACKAGES) == set(record["packages"])


def test_doctor_notices_wrong_numbers(p3dfeat, monkeypatch):
    right = diagnosis.self_test_logits
    monkeypatch.setattr(diagnosis, "self_test_logits", lambda model: [1.1 * value for value in right(model)])
    ended = p3dfeat("doctor")
    assert ended.code == 5
    assert "FAILED" in ended.stdout
    assert "off by 1.0e-01" in ended.stderr


def test_help_is_instant_and_loads_nothing_heavy():
    code = (
        "import sys\n"
        "calls = 0\n"
        "def count(frame, event, _):\n"
        "    global calls\n"
        "    calls += event in ('call', 'c_call')\n"
        "sys.setprofile(count)\n"
        "from p3dfeat.cli.app import run\n"
        "assert run(['--help']) == 0\n"
        "sys.setprofile(None)\n"
        "heavy = {'torch', 'av', 'h5py', 'numpy', 'huggingface_hub', 'safetensors'} & set(sys.modules)\n"
        "print(calls, sorted(heavy), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    calls, heavy = done.stderr.strip().split(" ", 1)
    assert heavy == "[]"
    assert "extract" in done.stdout
    assert int(calls) < 400_000  # of functions: a fifth of a second of processor time; numpy alone takes as many more


@pytest.mark.parametrize("command", ["extract", "classify", "info", "doctor"])
def test_every_command_explains_itself_and_all_its_options(p3dfeat, command):
    ended = p3dfeat(command, "--help")
    assert ended.code == 0
    assert "Usage: p3dfeat" in ended.stdout


def test_without_a_command_there_is_help(p3dfeat):
    ended = p3dfeat()
    assert ended.code == 2
    assert "Usage: p3dfeat" in ended.stdout
    assert ended.stderr == ""


def test_version(p3dfeat):
    assert p3dfeat("--version").stdout == f"p3dfeat {__version__}\n"


def test_importing_the_package_is_cheap():
    code = "import sys, p3dfeat; p3dfeat.extract; print('torch' in sys.modules)"
    before = "import sys, p3dfeat; print('torch' in sys.modules, 'av' in sys.modules, 'h5py' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", before], text=True).split() == ["False"] * 3
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "True"


def test_every_public_name_is_there():
    import p3dfeat

    for name in p3dfeat.__all__:
        assert getattr(p3dfeat, name) is not None
    assert set(p3dfeat.__all__) <= set(dir(p3dfeat))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = p3dfeat.nothing


def test_a_bug_is_a_traceback_and_exit_1(monkeypatch, capfd, tmp_path):
    monkeypatch.setattr("p3dfeat.store.open_features", lambda path: 1 / 0)
    assert app_module.run(["info", str(tmp_path)]) == 1
    errors = capfd.readouterr().err
    assert "ZeroDivisionError" in errors
    assert "a bug in p3dfeat" in errors


def test_debug_shows_where_an_error_comes_from(capfd, tmp_path):
    assert app_module.run(["info", str(tmp_path / "x.h5"), "--debug"]) == 2
    assert "Traceback" in capfd.readouterr().err


def test_names_that_are_not_text_are_shown_escaped(tmp_path):
    name = b"b\xff.mp4"
    (tmp_path / "x").mkdir()
    with open(bytes(tmp_path / "x") + b"/" + name, "wb"):
        pass
    done = commands.run("extract", tmp_path / "x", "-o", tmp_path / "f.h5", "--json", text=False)
    assert done.returncode == 4
    assert json.loads(done.stdout.splitlines()[0])["status"] == "failed"
    assert b"Traceback" not in done.stderr
