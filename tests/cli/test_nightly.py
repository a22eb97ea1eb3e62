"""A pipeline that runs every night over a changing folder stays green, and says what changed."""

import json
import os

import pytest

import p3dfeat as package
from tests.videos import panning_frames, write_video


@pytest.fixture
def library(tmp_path):
    """Two videos and a file that cannot be read."""
    folder = tmp_path / "videos"
    folder.mkdir()
    write_video(folder / "a.mp4", panning_frames(24, pixels_a_frame=3))
    write_video(folder / "b.mp4", panning_frames(24, pixels_a_frame=-3))
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture
def output(tmp_path):
    return tmp_path / "feats.h5"


def top(output, id: str) -> bytes:
    with package.open_features(output) as features:
        return features[id]["pool5"].tobytes()


def test_what_failed_before_is_accepted_until_it_changes(p3dfeat, library, output):
    night = ("extract", library, "-o", output, "--clips", 1, "--accept-failed")
    first = p3dfeat(*night)
    assert (first.code, first.stderr.count("failed: ")) == (3, 1)
    second = p3dfeat(*night, "--json")
    assert second.code == 0
    assert second.stderr == f"{output}: nothing to do: 2 already stored, 1 failed before and unchanged\n"
    assert {record["id"]: record["status"] for record in second.records[:-1]} == {
        "a": "skipped",
        "b": "skipped",
        "broken": "accepted",
    }
    assert (second.records[-1]["accepted"], second.records[-1]["failed"]) == (1, 0)
    assert p3dfeat(*night[:-1]).code == 3  # it is tried unless that is asked for
    assert p3dfeat(*night).code == 0
    (library / "broken.mp4").write_bytes(b"no video either")
    assert p3dfeat(*night).code == 3
    write_video(library / "broken.mp4", panning_frames(24, pixels_a_frame=5))
    assert p3dfeat(*night).code == 0
    assert not output.with_name("feats.h5.failed.jsonl").exists()


def test_lists_of_failures_of_earlier_versions_do_not_say_how_the_file_was(p3dfeat, library, output):
    night = ("extract", library, "-o", output, "--clips", 1, "--accept-failed")
    p3dfeat(*night)
    failures = output.with_name("feats.h5.failed.jsonl")
    entry = json.loads(failures.read_text())
    assert (entry["size_bytes"], entry["error"]) == (8, entry["error"])
    failures.write_text(json.dumps({name: entry[name] for name in ("id", "source", "error")}) + "\n")
    assert p3dfeat(*night).code == 3  # tried once more
    assert p3dfeat(*night).code == 0


def test_a_file_that_is_missing_may_be_accepted_too(p3dfeat, library, output, tmp_path):
    (tmp_path / "list.txt").write_text(f"{library}/a.mp4\n{library}/gone.mp4\n")
    night = ("extract", f"@{tmp_path}/list.txt", "-o", output, "--clips", 1, "--accept-failed")
    assert [p3dfeat(*night).code for _ in range(2)] == [3, 0]
    write_video(library / "gone.mp4", panning_frames(24, pixels_a_frame=5))
    ended = p3dfeat(*night)
    assert ended.code == 0
    assert ": 1 stored, 1 skipped, 0 failed" in ended.stderr


def test_a_video_that_changed_fails_or_is_replaced(p3dfeat, library, output):
    (library / "broken.mp4").unlink()
    night = ("extract", library, "-o", output, "--clips", 1)
    assert p3dfeat(*night).code == 0
    before = {id: top(output, id) for id in "ab"}
    write_video(library / "a.mp4", panning_frames(30, pixels_a_frame=7, seed=4))
    ended = p3dfeat(*night)
    assert ended.code == 3
    assert "failed: videos/a.mp4" in ended.stderr.replace(str(library.parent) + "/", "")
    assert "; choose another output or name, --on-changed replace, or --overwrite" in ended.stderr
    assert top(output, "a") == before["a"]
    ended = p3dfeat(*night, "--on-changed", "replace")
    assert ended.code == 0
    assert ": 1 stored, 1 skipped, 0 failed" in ended.stderr
    assert top(output, "a") != before["a"]
    assert top(output, "b") == before["b"]
    assert p3dfeat("verify", output, "--against", library, "--recompute", "all").code == 0
    assert "nothing to do: 2 already stored" in p3dfeat(*night, "--on-changed", "replace").stderr


def test_a_video_that_changed_into_something_unreadable_keeps_its_features(p3dfeat, library, output):
    night = ("extract", library, "-o", output, "--clips", 1, "--on-changed", "replace")
    p3dfeat(*night)
    before = top(output, "a")
    (library / "a.mp4").write_bytes(b"half of an upload")
    ended = p3dfeat(*night)
    assert ended.code == 3
    assert top(output, "a") == before


def test_videos_that_are_gone_are_listed_and_removed(p3dfeat, library, output):
    p3dfeat("extract", library, "-o", output, "--clips", 1)
    os.remove(library / "b.mp4")
    (library / "broken.mp4").unlink()
    ended = p3dfeat("verify", output, "--against", library)
    assert "p3dfeat remove --not-in removes it" in ended.stderr
    shown = p3dfeat("remove", output, "--not-in", library, "--dry-run")
    assert (shown.code, shown.stdout) == (0, "b\n")
    assert "would remove 1 video," in shown.stderr
    with package.open_features(output) as features:
        assert list(features) == ["a", "b"]
    ended = p3dfeat("remove", output, "--not-in", library, "--json")
    assert (ended.code, ended.records[0]["removed"]) == (0, ["b"])
    with package.open_features(output) as features:
        assert list(features) == ["a"]
    assert p3dfeat("remove", output, "--not-in", library).stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "ids: none given; name videos, or use --not-in INPUT"),
        (("c",), "holds no video 'c'; p3dfeat info"),
        (("--not-in", "missing"), "missing: no such file"),
        (("--not-in", "empty"), "empty: no videos in this folder, by their extensions; nothing was removed"),
    ],
)
def test_nothing_is_removed_by_mistake(p3dfeat, library, output, tmp_path, monkeypatch, arguments, message):
    p3dfeat("extract", library, "-o", output, "--clips", 1)
    before = output.read_bytes()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    ended = p3dfeat("remove", output, *arguments)
    assert (ended.code, ended.stdout) == (2, "")
    assert message in ended.stderr
    assert output.read_bytes() == before


def test_ids_come_through_a_pipe(p3dfeat, library, output, monkeypatch):
    import io

    p3dfeat("extract", library, "-o", output, "--clips", 1)
    monkeypatch.setattr("sys.stdin", io.StringIO("a\nb\n"))
    assert p3dfeat("remove", output, "-").stdout == "a\nb\n"
    with package.open_features(output) as features:
        assert len(features) == 0
