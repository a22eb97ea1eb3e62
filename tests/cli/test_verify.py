"""p3dfeat verify: what is found goes to stdout, the rest to stderr, and the exit code tells which it was."""

import shutil

import h5py
import pytest


@pytest.fixture
def feats(p3dfeat, folder, tmp_path):
    output = tmp_path / "feats.h5"
    ended = p3dfeat("extract", folder, "-o", output, "--clips", 2, "--engine", "torch", "--workers", 1)
    assert ended.code == 0
    return output


def spoil(path):
    with h5py.File(path, "r+") as file:
        file["left"]["pool5"][1, 7] = float("nan")


def test_a_sound_file_ends_in_0_and_says_so_on_stderr(p3dfeat, feats, folder):
    ended = p3dfeat("verify", feats)
    assert (ended.code, ended.stdout) == (0, "")
    assert ended.stderr == f"{feats}: nothing wrong in 3 videos, 6 clips\n"
    ended = p3dfeat("verify", feats, "--against", folder / "left.mp4", "--against", folder, "--recompute", 1)
    assert (ended.code, ended.stdout) == (0, "")
    assert "1 of 1 video recomputed to the same bits" in ended.stderr


def test_findings_are_a_line_each_on_stdout_and_end_in_3(p3dfeat, feats, folder, tmp_path):
    spoil(feats)
    shutil.copy(folder / "left.mp4", tmp_path / "new.mp4")
    ended = p3dfeat("verify", feats, "--against", folder, "--against", tmp_path / "new.mp4", "--recompute", 0)
    assert ended.code == 3
    assert ended.stdout.splitlines() == [
        "damaged: left: pool5: 1 of 1024 numbers are not finite",
        f"missing: new: is not stored, nor listed as failed: {tmp_path / 'new.mp4'}",
    ]
    assert "2 findings in 3 videos" in ended.stderr


def test_remarks_go_to_stderr_and_change_no_exit_code(p3dfeat, feats, folder):
    ended = p3dfeat("verify", feats, "--against", folder / "left.mp4", "--recompute", 0)
    assert (ended.code, ended.stdout) == (0, "")
    assert "note: gone: right: is stored, but no longer among the inputs" in ended.stderr
    quiet = p3dfeat("verify", feats, "--against", folder / "left.mp4", "--recompute", 0, "-q")
    assert (quiet.code, quiet.stdout, quiet.stderr) == (0, "", "")


def test_json_has_an_object_for_each_and_a_summary_last(p3dfeat, feats, folder):
    spoil(feats)
    ended = p3dfeat("verify", feats, "--against", folder / "left.mp4", "--recompute", 0, "--json")
    assert ended.code == 3
    finding, *remarks, summary = ended.records
    text = "pool5: 1 of 1024 numbers are not finite"
    assert finding == {"event": "finding", "kind": "damaged", "id": "left", "text": text}
    assert [(record["event"], record["kind"]) for record in remarks] == [("remark", "gone")] * 2
    assert summary == {
        "event": "summary",
        "file": str(feats),
        "videos": 3,
        "clips": 6,
        "recomputed": 0,
        "identical": 0,
        "worst_relative_error": 0.0,
        "findings": 1,
        "remarks": 2,
        "left_out": 0,
    }


def test_files_that_are_no_videos_are_left_out_and_not_missing(p3dfeat, folder, tmp_path):
    videos = tmp_path / "v"
    shutil.copytree(folder, videos)
    shutil.copyfile(folder / "left.mp4", videos / "unnamed")
    (videos / "noise.bin").write_bytes(b"\1\2\3" * 1000)
    output = tmp_path / "f.h5"
    p3dfeat("extract", videos, "-o", output, "--clips", 1, "--any-extension")
    shutil.copyfile(folder / "left.mp4", videos / "late.dat")
    ended = p3dfeat("verify", output, "--against", videos, "--recompute", 0, "--any-extension", "--json")
    assert [(r["kind"], r["id"]) for r in ended.records[:-1]] == [("missing", "late.dat")]
    assert ended.records[-1]["left_out"] == 2  # notes.txt, noise.bin
    assert f"{videos}: 2 files left out as no videos, by their content\n" in ended.stderr
    plain = p3dfeat("verify", output, "--against", videos, "--recompute", 0)
    assert f"{videos}: 4 files left out by their extension (.bin 1, .dat 1, .txt 1, none 1)" in plain.stderr


def test_damage_is_a_finding_and_a_file_that_is_not_there_an_error(p3dfeat, feats, tmp_path):
    feats.write_bytes(feats.read_bytes()[:-100])
    ended = p3dfeat("verify", feats)
    assert ended.code == 3
    assert ended.stdout.startswith("damaged: cannot be opened as HDF5")
    ended = p3dfeat("verify", tmp_path / "none.h5")
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr == f"p3dfeat: {tmp_path / 'none.h5'}: no such file\n"


def test_names_that_steer_terminals_are_shown_not_obeyed(p3dfeat, feats):
    with h5py.File(feats, "r+") as file:
        file.create_group("evil\x1b[2J\nname")
    ended = p3dfeat("verify", feats)
    assert ended.stdout.splitlines() == [
        "damaged: evil\\x1b[2J\\nname: a folder without videos, or a video without its attribute source"
    ]


@pytest.mark.parametrize("sample", ["some", "-1", "1.5"])
def test_a_sample_that_is_none_is_a_usage_error(p3dfeat, feats, sample):
    ended = p3dfeat("verify", feats, f"--recompute={sample}")
    assert (ended.code, ended.stdout) == (2, "")
    assert "must be all or a number" in ended.stderr


def test_what_a_user_has_added_is_a_remark_of_one_line_each_and_not_shown_by_info(p3dfeat, feats, folder):
    shown = p3dfeat("info", feats).stdout, p3dfeat("info", feats, "--json").stdout
    with h5py.File(feats, "r+") as file:
        file["left"].attrs["label"] = [1, 2]
        for id in ("left", "right", "archery/clip7"):
            file[id]["caption"] = "a man runs"
        file["labels"] = [1]
        file.attrs["note"] = "mine"
    ended = p3dfeat("verify", feats, "--against", folder, "--recompute", 1)
    assert (ended.code, ended.stdout) == (0, "")
    assert [line for line in ended.stderr.splitlines() if line.startswith("note: ")] == [
        "note: foreign: attribute note: not written by p3dfeat, and left as it is",
        "note: foreign: array caption of 3 videos: not written by p3dfeat, and left as it is",
        "note: foreign: array labels: not written by p3dfeat, and left as it is",
        "note: foreign: left: attribute label: not written by p3dfeat, and left as it is",
    ]
    assert ": nothing wrong in 3 videos, 6 clips; 1 of 1 video recomputed to the same bits" in ended.stderr
    record = p3dfeat("verify", feats, "--json").records[-2]
    text = "attribute label: not written by p3dfeat, and left as it is"
    assert record == {"event": "remark", "kind": "foreign", "id": "left", "text": text}
    again = p3dfeat("info", feats).stdout, p3dfeat("info", feats, "--json").stdout
    assert [len(text.splitlines()) for text in again] == [len(text.splitlines()) for text in shown]
    assert not [text for text in again if any(name in text for name in ("label", "caption", "note", "mine"))]
    more = p3dfeat("extract", folder, "-o", feats, "--clips", 2, "--engine", "torch", "--workers", 1)
    assert "nothing to do: 3 already stored" in more.stderr
