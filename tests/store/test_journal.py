"""A journal gives back what was appended to it, whatever a kill, a full disk or a damaged disk left of it."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from p3dfeat.errors import OutputError
from p3dfeat.fingerprint import fingerprint
from p3dfeat.store import FeatureWriter, open_features
from p3dfeat.store.commit import journal
from p3dfeat.store.commit.journal import JournalReader, JournalWriter
from p3dfeat.store.side_files.parts import PASSING
from p3dfeat.system.disk import Folder
from p3dfeat.types import Video
from tests.store.test_store import INFO, SETTINGS, features, video, write


@pytest.fixture
def output(tmp_path):
    return tmp_path / "feats.h5"


def killed_run(output, *ids: str, overwrite: bool = False) -> FeatureWriter:
    """As a SIGKILL leaves it: nothing of the end of the with block happens."""
    writer = FeatureWriter(output, SETTINGS, overwrite=overwrite)
    for seed, id in enumerate(ids):
        writer.add(video(id), features(seed=seed))
        writer.finish(video(id), INFO)
    writer._lock._file.close()
    return writer


def check(output, *ids: str) -> None:
    with open_features(output) as found:
        assert list(found) == sorted(ids)
        for seed, id in enumerate(ids):
            assert np.array_equal(found[id]["pool5"], features(seed=seed).layers["pool5"])
            assert found[id].attributes["source"] == f"folder/{id}.mp4"
    assert [path.name for path in output.parent.iterdir()] == ["feats.h5"]


def test_records_come_back_in_order_and_by_offset(tmp_path):
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "none": np.zeros((0, 4)), "one": np.array([1.5])}
    writer = JournalWriter(Folder.opened(tmp_path), "j.journal")
    offsets = [writer.append({"n": 1}), writer.append({"n": "\udcff ü"}, arrays), writer.append({})]
    writer.close()
    with JournalReader(Folder.opened(tmp_path), "j.journal") as reader:
        headers = [(record.offset, record.header) for record in reader]
        assert headers == list(zip(offsets, [{"n": 1}, {"n": "\udcff ü"}, {}], strict=True))
        record = reader.record(offsets[1])
        for name, values in arrays.items():
            assert record.arrays[name][1:] == (values.dtype.str, values.shape)
            assert b"".join(reader.data(record, name, 10)) == values.tobytes()


def test_cut_anywhere_a_journal_gives_the_records_before_the_cut(tmp_path):
    path, cut = tmp_path / "j.journal", tmp_path / "cut.journal"
    writer = JournalWriter(Folder.opened(tmp_path), path.name)
    ends = [0]
    for number in range(3):
        writer.append({"n": number}, {"x": np.full(3, number)})
        ends.append(os.path.getsize(path))
    writer.close()
    whole = path.read_bytes()
    for size in range(len(whole)):
        cut.write_bytes(whole[:size])
        with JournalReader(Folder.opened(tmp_path), cut.name) as reader:
            assert len(list(reader)) == sum(end <= size for end in ends[1:])


def test_a_damaged_record_and_those_after_it_are_not_believed(tmp_path):
    path = tmp_path / "j.journal"
    writer = JournalWriter(Folder.opened(tmp_path), path.name)
    offsets = [writer.append({"n": number}, {"x": np.full(3, number)}) for number in range(3)]
    writer.close()
    whole = path.read_bytes()
    for place in range(offsets[1], offsets[2]):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with JournalReader(Folder.opened(tmp_path), path.name) as reader:
            assert [record.header for record in reader] == [{"n": 0}]


def test_a_run_keeps_one_journal_and_stores_every_video(output):
    ids = [f"folder/v{number}" for number in range(8)]
    writer = killed_run(output, *ids)
    assert sorted(path.name for path in writer.parts.iterdir()) == ["00000000.journal", "lock"]
    write(output)
    check(output, *ids)


def test_journals_of_killed_runs_are_taken_up_and_added_to(output):
    killed_run(output, "a", "b")
    with FeatureWriter(output, SETTINGS) as writer:
        assert writer.stored == {"a", "b"}
        for seed, id in enumerate("cd", 2):
            writer.add(video(id), features(seed=seed))
            writer.finish(video(id), INFO)
        assert len(list(writer.parts.glob("*.journal"))) == 2
    check(output, *"abcd")


def test_a_kill_in_the_middle_of_a_video_loses_that_one(output):
    writer = killed_run(output, "a", "b")
    (path,) = writer.parts.glob("*.journal")
    os.truncate(path, os.path.getsize(path) - 1)
    with FeatureWriter(output, SETTINGS) as writer:
        assert writer.stored == {"a"}
    check(output, "a")


def test_a_kill_before_the_first_record_is_whole_is_no_obstacle(output):
    writer = killed_run(output, "a")
    (path,) = writer.parts.glob("*.journal")
    os.truncate(path, 10)
    write(output, "b")
    check(output, "b")


def test_a_kill_between_joining_and_removing_the_journal_stores_nothing_twice(output, tmp_path):
    writer = killed_run(output, "a", "b")
    kept = tmp_path / "kept"
    shutil.copytree(writer.parts, kept)
    write(output)
    shutil.move(kept, writer.parts)
    write(output)
    check(output, "a", "b")


def test_a_full_disk_while_appending_loses_only_that_video(output, monkeypatch):
    room = {"bytes": 5000}

    class Filling(JournalWriter):
        def _write(self, data):
            kept = data[: room["bytes"]]
            room["bytes"] -= len(kept)
            super()._write(kept)
            if len(kept) < len(data):
                raise OSError(28, "No space left on device")

    monkeypatch.setattr("p3dfeat.store.write.JournalWriter", Filling)
    writer = FeatureWriter(output, SETTINGS)
    stored = []
    with pytest.raises(OutputError, match="No space left"):
        for number in range(100):
            writer.add(video(str(number)), features(seed=number))
            writer.finish(video(str(number)), INFO)
            stored.append(str(number))
    room["bytes"] = 10**9  # space was made, and the run goes on
    writer.add(video("later"), features(seed=len(stored)))
    writer.finish(video("later"), INFO)
    writer._lock._file.close()
    assert len(stored) > 1
    write(output)
    check(output, *stored, "later")


def test_a_video_whose_rows_overflow_memory_is_put_together(output, monkeypatch):
    monkeypatch.setattr("p3dfeat.store.write.BUFFERED_BYTES", 100)
    parts = [features(5, seed=seed) for seed in range(4)]
    writer = FeatureWriter(output, SETTINGS)
    for number, part in enumerate(parts):
        writer.add(video("long"), part)
        writer.add(video("given up"), part)
        writer.add(video(f"short{number}"), features(1, seed=9))
        writer.finish(video(f"short{number}"), INFO)
    writer.abandon(video("given up"))
    writer.finish(video("long"), INFO)
    writer._lock._file.close()
    write(output)
    with open_features(output) as found:
        assert list(found) == ["long", *(f"short{number}" for number in range(4))]
        rows = np.concatenate([part.layers["pool5"] for part in parts])
        assert np.array_equal(found["long"]["pool5"], rows)
        assert np.allclose(found["long"].pooled, rows.mean(0), atol=1e-7)


def test_a_video_that_changed_does_not_come_back_out_of_a_journal(output, tmp_path):
    files = {id: tmp_path / f"{id}.mp4" for id in "abc"}
    for id, file in files.items():
        file.write_bytes(id.encode() * 100)
    writer = FeatureWriter(output, SETTINGS, overwrite=True)
    for id, file in files.items():
        writer.add(video(id), features(seed=7))
        writer.finish(video(id), replace(INFO, fingerprint=fingerprint(str(file))))
    writer._lock._file.close()
    files["a"].write_bytes(b"changed")
    writer = FeatureWriter(output, SETTINGS, overwrite=True)
    assert writer.is_stored(Video("b", str(files["b"]), "b.mp4"))
    assert not writer.is_stored(Video("a", str(files["a"]), "a.mp4"))
    writer._lock._file.close()  # killed before it was computed again
    write(output)
    with open_features(output) as found:
        assert list(found) == ["b", "c"]


def test_what_is_brought_to_the_disk_meanwhile_is_still_there(output, monkeypatch):
    synced, sync = [], JournalWriter._sync
    monkeypatch.setattr(journal, "SYNCED_BYTES", 3000)
    monkeypatch.setattr(JournalWriter, "_sync", lambda self: (synced.append(1), sync(self)))
    named, keep = [], Folder.keep_names
    monkeypatch.setattr(Folder, "keep_names", lambda self: (named.append((self.path, len(synced))), keep(self)))
    ids = [f"v{number:02d}" for number in range(20)]
    write(output, *ids)
    assert 2 < len(synced) < 15
    assert named[0] == (Path(f"{output}.parts"), 1)  # the journal's own name is brought there, too
    check(output, *ids)


@pytest.mark.parametrize(("stored", "left"), [("a/b", "a"), ("a", "a/b")])
def test_what_a_killed_overwriting_run_left_takes_no_stored_videos_place(output, stored, left):
    write(output, stored)
    killed_run(output, left, overwrite=True)
    with pytest.raises(OutputError, match=f"holds video '{left}'.*or finish the run that was interrupted"):
        write(output)
    assert list(open_features(output)) == [stored]
    write(output, overwrite=True)
    check(output, left)


def test_a_video_that_changed_in_a_run_that_was_killed_as_it_tidied_up_is_no_obstacle(output, tmp_path):
    """Its journal holds the video as it was, too; the output holds it as it is."""
    file = tmp_path / "a.mp4"
    writer = FeatureWriter(output, SETTINGS, overwrite=True)
    for content in (b"before", b"after"):
        file.write_bytes(content)
        if "a" in writer.stored:
            assert not writer.is_stored(Video("a", str(file), "a.mp4"))
        writer.add(video("a"), features(seed=0))
        writer.finish(video("a"), replace(INFO, fingerprint=fingerprint(str(file)), size_bytes=len(content)))
    writer._lock._file.close()
    kept = tmp_path / "kept"
    shutil.copytree(writer.parts, kept)
    write(output, overwrite=True)
    shutil.move(kept, writer.parts)
    (writer.parts / "overwrite").rename(writer.parts / "overwritten")
    with FeatureWriter(output, SETTINGS, overwrite=True) as writer:
        assert writer.stored == {"a"}
    assert list(open_features(output)) == ["a"]


def test_a_disk_full_before_the_settings_leaves_no_journal_without_them(output, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    writer = FeatureWriter(output, SETTINGS)
    with monkeypatch.context() as patch:
        patch.setattr(JournalWriter, "_write", full)
        writer.add(video("a"), features())
        with pytest.raises(OutputError, match="No space left"):
            writer.finish(video("a"), INFO)
    writer.add(video("b"), features())
    writer.finish(video("b"), INFO)
    writer._lock._file.close()
    write(output)
    check(output, "b")


def test_journals_are_named_in_order(tmp_path):
    folder = Folder.opened(tmp_path)
    for number in range(12):
        assert journal.next_journal(folder) == f"{number:08d}.journal"
        JournalWriter(folder, journal.next_journal(folder)).close()


@pytest.mark.parametrize("shape", ["none", "ours", "another", "replaced"])
def test_an_interrupt_just_after_a_new_file_took_the_outputs_place_is_no_stranger(output, monkeypatch, shape):
    """The end of the run finds its own file there, and what it holds."""
    if shape != "none":
        write(output, "before")
    if shape == "another":  # is added to by way of a copy
        os.link(output, output.with_name("backup.h5"))
    usual, interrupted = Folder.unlink, []

    def unlink(self, name):
        usual(self, name)
        if PASSING.fullmatch(name) and not interrupted:
            interrupted.append(name)
            raise KeyboardInterrupt

    def interrupted_run():
        with FeatureWriter(output, SETTINGS, overwrite=shape == "replaced") as writer:
            writer.add(video("a"), features(3))
            writer.finish(video("a"), INFO)
            monkeypatch.setattr(Folder, "unlink", unlink)
            writer.commit()

    if shape == "ours":  # is added to in place
        interrupted_run()
        assert not interrupted
    else:
        with pytest.raises(KeyboardInterrupt):
            interrupted_run()
    with open_features(output) as found:
        assert list(found) == (["a"] if shape in ("none", "replaced") else ["a", "before"])
