"""The list of failures is whole after a kill or a full disk, but for the line that was being written."""

import os

import pytest

from p3dfeat.errors import FeatureFileError, OutputError
from p3dfeat.store import Ledger
from p3dfeat.system import disk


@pytest.fixture
def output(tmp_path):
    return tmp_path / "feats.h5"


def entries(output) -> list[str]:
    return [entry["id"] for entry in Ledger(output).entries()]


def test_cut_anywhere_the_list_is_taken_up_and_added_to(output):
    ledger = Ledger(output)
    for id in ("a", "ünï", "c\n"):
        ledger.record(id, f"{id}.mp4", "damaged")
    whole = ledger.path.read_bytes()
    ends = [0, *(at + 1 for at, byte in enumerate(whole) if byte == ord("\n"))]
    for size in range(len(whole) + 1):
        ledger.path.write_bytes(whole[:size])
        found = entries(output)
        num_whole = sum(end <= size for end in ends) - 1
        assert found in (["a", "ünï", "c\n"][:num_whole], ["a", "ünï", "c\n"][: num_whole + 1])
        Ledger(output).record("new", "new.mp4", "empty")
        assert entries(output) == [*found, "new"]
        assert ledger.path.read_bytes().count(b"\n") == len(found) + 1


def test_a_damaged_line_that_is_not_the_last_is_not_passed_over(output):
    Ledger(output).record("a", "a.mp4", "damaged")
    path = output.with_name("feats.h5.failed.jsonl")
    path.write_bytes(b'{"id": "x", "so\n' + path.read_bytes())
    with pytest.raises(FeatureFileError, match="not a list of failures; move it out of the way"):
        Ledger(output)


def test_notes_without_a_newline_are_not_taken_for_a_line_that_was_cut_off(output):
    path = output.with_name("feats.h5.failed.jsonl")
    path.write_text("my notes")
    with pytest.raises(FeatureFileError, match="not a list of failures"):
        Ledger(output)


@pytest.mark.parametrize("room", [0, 1, 30])
def test_a_full_disk_leaves_no_half_line(output, monkeypatch, room):
    ledger = Ledger(output)
    ledger.record("a", "a.mp4", "damaged")
    before, pwrite, left = ledger.path.read_bytes(), os.pwrite, room

    def filling(fd, data, offset):
        nonlocal left
        if left == 0:
            raise OSError(28, "No space left on device")
        data, left = data[:left], max(0, left - len(data))
        return pwrite(fd, data, offset)

    with monkeypatch.context() as patch, pytest.raises(OutputError, match="No space left on device"):
        patch.setattr(disk.os, "pwrite", filling)
        ledger.record("b", "b.mp4", "empty")
    assert ledger.path.read_bytes() == before
    ledger.save()
    assert entries(output) == ["a", "b"]


def test_a_list_that_cannot_be_written_anew_stays_as_it_is(output, monkeypatch):
    ledger = Ledger(output)
    ledger.record("a", "a.mp4", "damaged")

    def refused(*_, **__):
        raise OSError(28, "No space left on device")

    ledger.record("b", "b.mp4", "damaged")
    before = ledger.path.read_bytes()
    with monkeypatch.context() as patch, pytest.raises(OutputError, match="No space left on device"):
        patch.setattr(disk.os, "replace", refused)
        ledger.save()
    assert ledger.path.read_bytes() == before
    assert os.listdir(output.parent) == ["feats.h5.failed.jsonl"]


def test_what_a_killed_save_left_is_removed(output):
    ledger = Ledger(output)
    ledger.path.with_name("feats.h5.failed.jsonl.writing-0123456789abcdef").write_text("{")
    ledger.save()
    assert os.listdir(output.parent) == []


def test_a_folder_whose_disk_has_gone_is_not_written_to(tmp_path):
    """Under its name there is then what the disk was mounted on."""
    (tmp_path / "mounted").mkdir()
    ledger = Ledger(tmp_path / "mounted" / "feats.h5")
    ledger.record("a", "a.mp4", "damaged")
    (tmp_path / "mounted").rename(tmp_path / "elsewhere")
    (tmp_path / "mounted").mkdir()
    for write in (lambda: ledger.record("b", "b.mp4", "empty"), ledger.save):
        with pytest.raises(OutputError, match=r"its folder has vanished.*; bring it back, and run it again"):
            write()
    assert os.listdir(tmp_path / "mounted") == []
    assert entries(tmp_path / "elsewhere" / "feats.h5") == ["a"]


@pytest.mark.parametrize("line", ['{"id": "zz"}', '{"id": "zz", "source": "zz.mp4"}', "[]", "3"])
def test_lines_of_others_are_no_failures(output, line):
    path = output.with_name("feats.h5.failed.jsonl")
    path.write_text(f"{line}\n")
    with pytest.raises(FeatureFileError, match="not a list of failures; move it out of the way"):
        Ledger(output)
