"""Adding to a feature file: in place where it has our shape, else by way of a copy; what comes of it is the same."""

import os
import random
import signal
import struct
import time

import h5py
import numpy as np
import pytest

from p3dfeat.errors import OutputError, VideoError
from p3dfeat.store import FeatureWriter, open_features, write
from p3dfeat.store.commit import commit, waiting
from p3dfeat.store.commit.hdf5_groups import Lists, OtherShapeError
from p3dfeat.store.commit.journal import JournalReader
from p3dfeat.store.commit.memory_file import Image, undisturbed
from p3dfeat.store.commit.waiting import Waiting
from p3dfeat.system.disk import Folder
from p3dfeat.types import Features
from tests.store.runs import content, in_a_process, run
from tests.store.test_journal import killed_run
from tests.store.test_store import INFO, SETTINGS, features, video

FLIPPED = slice(40, 96)  # of the superblock


@pytest.fixture
def output(tmp_path):
    return tmp_path / "feats.h5"


def seeds(ids) -> dict[str, int]:
    return {id: 2 * (number % 100) for number, id in enumerate(ids)}


def everything(path) -> dict[str, object]:
    """All that HDF5 finds in a file, by way of each of its lists."""
    found = {}

    def note(name, item):
        found[name] = (item.dtype, item[()].tobytes()) if isinstance(item, h5py.Dataset) else dict(item.attrs)

    with h5py.File(path) as file:
        found[""] = dict(file.attrs)
        file.visititems(note)
    return found


def by_hdf5_alone(path, wanted) -> None:
    """The file as h5py's ordinary calls make it."""
    with FeatureWriter(path, SETTINGS) as writer:  # for what is said of videos
        for id, seed in wanted.items():
            writer.add(video(id), features(2, seed=seed))
            writer.add(video(id), features(1, seed=seed + 1))
            writer.finish(video(id), INFO)
    with h5py.File(path) as made, h5py.File(path.with_name("plain.h5"), "w") as plain:
        plain.attrs.update(made.attrs)
        for id in wanted:
            group = plain.create_group(id)
            group.attrs.update(made[id].attrs)
            for name, values in made[id].items():
                group[name] = values[()]
    os.replace(path.with_name("plain.h5"), path)


def inode(path) -> int:
    return path.stat().st_ino


def test_what_was_in_the_file_is_not_touched_but_for_56_bytes(output):
    run(output, seeds(["a", "folder/b"]))
    for number in range(5):
        before = output.read_bytes()
        there = inode(output)
        run(output, seeds([f"folder/c{number}", f"d{number}"]))
        now = output.read_bytes()
        assert inode(output) == there
        assert now[: FLIPPED.start] == before[: FLIPPED.start]
        assert now[FLIPPED] != before[FLIPPED]
        assert now[FLIPPED.stop : len(before)] == before[FLIPPED.stop :]


def test_the_old_file_is_in_there_until_the_56_bytes_are_written(output):
    """A reader that opened it before, or a disk that lost the last write, has the old one whole."""
    run(output, seeds(["a", "folder/b"]))
    before, old = output.read_bytes()[FLIPPED], everything(output)
    run(output, {"folder/c": 6, "a2": 8})
    with open(output, "r+b") as file:
        file.seek(FLIPPED.start)
        file.write(before)
    assert everything(output) == old
    run(output, {"z": 10})
    assert content(output) == {"a": 0, "folder/b": 2, "z": 10}


def test_a_file_of_many_additions_is_the_one_that_h5py_makes_at_once(output, tmp_path):
    ids = [f"v{number}" for number in range(30)] + [f"f/{number % 3}/x{number}" for number in range(30)]
    wanted = seeds(ids)
    for first in range(0, 60, 7):
        run(output, dict(list(wanted.items())[first : first + 7]))
    by_hdf5_alone(tmp_path / "at_once.h5", wanted)
    assert everything(output) == everything(tmp_path / "at_once.h5")


def test_lists_of_thousands_of_members_have_levels_that_hdf5_reads_and_changes(output):
    run(output, {"a": 0, "folder/b": 2})
    ids = [f"v{number * 7919 % 9000:05d}" for number in range(9000)] + [f"folder/{number}" for number in range(300)]
    with h5py.File(output) as file:
        header = h5py.h5o.get_info(file["a"].id).addr
    for some in (ids[:8000], ids[8000:]):  # all of them names of one video
        fd = os.open(output, os.O_RDWR)
        try:
            tail, flip = Lists(fd).added(dict.fromkeys(some, header), os.fstat(fd).st_size)
            os.pwrite(fd, tail, os.fstat(fd).st_size)
            os.pwrite(fd, flip, FLIPPED.start)
        finally:
            os.close(fd)
    root = sorted(name for name in ids if "/" not in name)
    with h5py.File(output) as file:
        assert list(file) == ["a", "folder", *root]
        assert set(file["folder"]) == {"b", *map(str, range(300))}
        assert all(file[id].attrs["source"] == "folder/a.mp4" for id in ids[::97])
        assert "v09000" not in file
    with h5py.File(output, "r+") as file:  # HDF5 splits and merges our nodes as its own
        for name in root[::5]:
            file.move(name, name.replace("v", "w"))
        for number in range(500):
            file.create_group(f"x{number * 37 % 500:03d}")
    with h5py.File(output) as file:
        moved = [name.replace("v", "w") for name in root[::5]]
        left = sorted(set(root) - set(root[::5]))
        assert list(file) == ["a", "folder", *left, *moved, *(f"x{number:03d}" for number in range(500))]


def test_names_of_all_kinds_are_found_in_the_order_of_their_bytes(output):
    draw = random.Random(5)
    letters = "aZ09 .-_'\n\"üß日本\U0001f600"
    names = {"".join(draw.choices(letters, k=draw.randint(1, 12))).replace(".", "x") for _ in range(150)}
    names |= {"n" * count for count in range(295, 305)} | {"-x", "ünï"}
    folders = ["Folder ü", "日本/\U0001f600", "f" * 300]
    ids = [name if number % 4 == 0 else f"{folders[number % 3]}/{name}" for number, name in enumerate(sorted(names))]
    wanted = seeds(draw.sample(ids, len(ids)))
    for first in range(0, len(ids), 40):
        run(output, dict(list(wanted.items())[first : first + 40]))
    assert content(output) == wanted
    with h5py.File(output) as file:
        assert list(file) == sorted(file, key=str.encode)
        assert all(id in file for id in ids)


def made_latest(path) -> None:
    with h5py.File(path) as old, h5py.File(path.with_name("x"), "w", libver="latest") as new:
        copy_all(old, new)
    os.replace(path.with_name("x"), path)


def made_with_a_userblock(path) -> None:
    with h5py.File(path) as old, h5py.File(path.with_name("x"), "w", userblock_size=512) as new:
        copy_all(old, new)
    os.replace(path.with_name("x"), path)


def made_in_pages(path) -> None:
    pages = {"fs_strategy": "page", "fs_persist": True, "fs_page_size": 4096}
    with h5py.File(path) as old, h5py.File(path.with_name("x"), "w", **pages) as new:
        copy_all(old, new)
    os.replace(path.with_name("x"), path)


def linked_softly(path) -> None:
    with h5py.File(path, "r+") as file:
        file["folder/link"] = h5py.SoftLink("/a")


def linked_twice(path) -> None:
    with h5py.File(path, "r+") as file:
        file["again"] = file["folder"]


def linked_in_a_new_way(path) -> None:
    with h5py.File(path, "r+") as file:
        file["folder/elsewhere"] = h5py.ExternalLink("other.h5", "/a")


def copy_all(old: h5py.File, new: h5py.File) -> None:
    new.attrs.update(old.attrs)
    for name in old:
        old.copy(name, new)


OTHERS = [made_latest, made_with_a_userblock, made_in_pages, linked_softly, linked_twice, linked_in_a_new_way]


@pytest.mark.parametrize("change", OTHERS, ids=lambda change: change.__name__)
def test_a_file_of_another_shape_is_added_to_all_the_same(output, change, monkeypatch):
    monkeypatch.setattr(waiting, "BATCH_VIDEOS", 2)
    run(output, {"a": 0, "folder/b": 2})
    change(output)
    before, there = everything(output), inode(output)
    new = {"folder/c": 4, "folder/deep/d": 6, "e": 8, "ü": 10, "z/y": 12}
    run(output, new)
    assert inode(output) != there
    with open_features(output) as found:
        assert set(new) | {"a", "folder/b"} <= set(found)
        for id, seed in new.items():
            rows = np.concatenate([features(2, seed=seed).layers["pool5"], features(1, seed=seed + 1).layers["pool5"]])
            assert found[id]["pool5"].tobytes() == rows.tobytes()
            assert found[id].attributes["source"] == f"folder/{id}.mp4"
    now = everything(output)
    assert before.items() <= now.items()
    assert os.listdir(output.parent) == ["feats.h5"]


@pytest.mark.parametrize("change", [made_latest, made_with_a_userblock], ids=lambda change: change.__name__)
def test_of_another_shape_an_interrupted_run_leaves_its_journal_and_a_full_disk_the_file(output, change, monkeypatch):
    run(output, {"a": 0})
    change(output)
    before = output.read_bytes()

    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(output, {"b": 2, "c": 4}, interrupt)
    assert output.read_bytes() == before

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OutputError, match="No space left"):
        patch.setattr(commit, "write_at", full)
        run(output, {"b": 2})
    assert output.read_bytes() == before
    assert run(output, {"b": 2, "c": 4}) == ["c"]
    assert content(output) == {"a": 0, "b": 2, "c": 4}


def test_what_else_a_user_put_into_the_file_stays(output):
    run(output, {"a": 0, "folder/b": 2})
    with h5py.File(output, "r+") as file:
        file["notes"] = np.arange(5)
        file["folder/more"] = "text"
        file["folder"].attrs["made"] = "by hand"
        file.attrs["mine"] = list(range(400))  # into a continuation of the root's object header
        del file["a"]
    there = inode(output)
    run(output, {"folder/c": 4, "d": 6})
    assert inode(output) == there
    with h5py.File(output) as file:
        assert sorted(file) == ["d", "folder", "notes"]
        assert sorted(file["folder"]) == ["b", "c", "more"]
        assert file["folder/more"][()] == b"text"
        assert (file["folder"].attrs["made"], list(file.attrs["mine"])) == ("by hand", list(range(400)))
        assert list(file["notes"]) == list(range(5))


def test_lists_that_are_damaged_are_not_made_anew(output):
    run(output, {"a": 0})
    whole = bytearray(output.read_bytes())
    for signature in (b"TREE", b"HEAP", b"SNOD"):
        damaged = whole.copy()
        end = struct.unpack_from("<Q", whole, 40)[0]
        at = damaged.rindex(signature, 0, end)
        damaged[at] ^= 1
        output.write_bytes(damaged)
        fd = os.open(output, os.O_RDWR)
        try:
            with pytest.raises(OtherShapeError):
                Lists(fd).check(["b"])
        finally:
            os.close(fd)


def test_rows_of_a_video_without_clips_and_of_a_large_one_are_stored(output, monkeypatch):
    monkeypatch.setattr(write, "BUFFERED_BYTES", 1000)
    monkeypatch.setattr(waiting, "COPIED_BYTES", 333)
    parts = [features(40, seed=seed) for seed in range(6)]
    for id in ("a", "b"):
        with FeatureWriter(output, SETTINGS) as writer:
            writer.add(
                video(f"{id}none"),
                Features({"prob": np.zeros((0, 2), np.float32)}, np.zeros((0, 2)), np.zeros(0, np.int64)),
            )
            writer.finish(video(f"{id}none"), INFO)
            for part in parts:
                writer.add(video(id), part)
            writer.finish(video(id), INFO)
    with open_features(output) as found:
        for id in ("a", "b"):
            assert found[f"{id}none"]["prob"].shape == (0, 2)
            for name in ("pool5", "prob"):
                rows = np.concatenate([part.layers[name] for part in parts])
                assert found[id][name].tobytes() == rows.tobytes()


def test_a_run_adds_to_the_file_as_it_goes_and_holds_little_twice(output, monkeypatch):
    monkeypatch.setattr(write, "COMMITTED_VIDEOS", 4)
    there = []

    def look(id):
        there.append(len(content(output)))
        assert len(list(output.with_name("feats.h5.parts").glob("*.journal"))) <= 1

    run(output, seeds(f"v{number}" for number in range(10)), look)
    assert there == [0, 0, 0, 4, 4, 4, 4, 8, 8, 8]


def test_a_file_open_for_reading_is_added_to_and_one_open_for_writing_is_not(output):
    run(output, {"a": 0})
    with h5py.File(output) as reader:
        run(output, {"b": 2})
        assert list(reader) == ["a"]
        assert reader["a/pool5"].shape == (3, 6)
    refused = pytest.raises(OutputError, match="open for writing in another program; close it there, then run again")
    with h5py.File(output, "r+"), refused:
        run(output, {"c": 4})
    assert run(output, {"c": 4}) == []
    assert content(output) == {"a": 0, "b": 2, "c": 4}


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_reader_left_open_in_this_process_hides_nothing_that_is_stored(output, elsewhere):
    """HDF5 would show the file as it was then to whoever opens it again: a notebook's cell may have done so."""
    run(output, {"x": 0})

    def add(**seeds):
        wanted = {id.replace("__", "/"): seed for id, seed in seeds.items()}
        in_a_process(lambda report: run(output, wanted)) if elsewhere else run(output, wanted)

    with h5py.File(output) as reader:
        add(a=2, folder__b=4)
        assert run(output, {"a": 6}) == []
        with FeatureWriter(output, SETTINGS) as writer, pytest.raises(VideoError, match="is a folder of videos"):
            writer.is_stored(video("folder"))
        assert list(open_features(output)) == ["a", "folder/b", "x"]
        assert list(reader) == ["x"]
        assert run(output, {"c": 8}) == ["c"]
    assert content(output) == {"x": 0, "a": 2, "folder/b": 4, "c": 8}


@pytest.mark.parametrize("id", ["a", "folder", "a/inside"])
def test_a_place_that_is_taken_on_the_disk_is_not_taken_again(output, id, monkeypatch):
    """Whatever HDF5 shows of the file."""
    run(output, {"a": 0, "folder/b": 2})
    before = output.read_bytes()
    killed_run(output.with_name("other.h5"), id)
    with Folder.opened(output.with_name("other.h5.parts")) as folder, JournalReader(folder, "00000000.journal") as left:
        offsets = [record.offset for record in left if "video" in record.header]
        with pytest.raises(OutputError, match=r"feats.h5: .* is in it already; is it open in this process"):
            commit.add_in_place(output, folder, [Waiting(id, "00000000.journal", offset) for offset in offsets])
    assert output.read_bytes() == before


def test_permissions_of_a_file_that_is_replaced_stay(output):
    run(output, {"a": 0})
    output.chmod(0o640)
    run(output, {"b": 2}, overwrite=True)
    assert output.stat().st_mode & 0o777 == 0o640


def test_a_signal_waits_while_hdf5_works(output):
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append("heard"))
    try:
        with undisturbed():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)
            seen.append("working")
        assert seen == ["working", "heard"]
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_image_is_a_file_in_memory_over_one_on_the_disk(tmp_path):
    draw = random.Random(1)
    plain, beneath = bytearray(os.urandom(10_000)), tmp_path / "beneath"
    beneath.write_bytes(plain)
    fd = os.open(beneath, os.O_RDWR)
    try:
        image = Image(len(plain), fd)
        for _ in range(300):
            offset, data = draw.randrange(30_000), os.urandom(draw.randrange(1, 6000))
            plain.extend(bytes(max(0, offset + len(data) - len(plain))))
            plain[offset : offset + len(data)] = data
            image.seek(offset)
            assert image.write(data) == len(data)
            at = draw.randrange(len(plain))
            image.seek(at)
            assert image.read(500)[: len(plain) - at] == plain[at : at + 500]
            assert image.seek(0, os.SEEK_END) == len(plain)
        assert beneath.stat().st_size == 10_000
        image.put(fd, 100)
        assert beneath.read_bytes()[100:] == plain[100:]
    finally:
        os.close(fd)
