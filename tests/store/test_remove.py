"""Videos are removed and replaced with the promise of adding: the file is at every moment the old or the new one."""

import os
import shutil
import signal
from dataclasses import replace
from functools import partial

import h5py
import numpy as np
import pytest

from p3dfeat.errors import FeatureFileError, OutputError, UsageError, VideoError
from p3dfeat.fingerprint import fingerprint, modified
from p3dfeat.store import FeatureWriter, open_features, remove_videos
from p3dfeat.store.commit.commit import is_added_to_in_place
from p3dfeat.types import Video
from tests.store.runs import at_line, be_killed, in_a_process
from tests.store.test_store import INFO, SETTINGS, features, video, write

IDS = ("a", "folder/b", "folder/deeper/c", "lone/d", "z")


@pytest.fixture
def output(tmp_path):
    write(tmp_path / "feats.h5", *IDS)
    return tmp_path / "feats.h5"


def held(output) -> dict[str, bytes]:
    """What each video holds; HDF5 reads all of the file."""
    with h5py.File(output) as file:
        file.visititems(
            lambda name, item: item[()].size and None if isinstance(item, h5py.Dataset) else len(item) and None
        )
    with open_features(output) as found:
        return {id: b"".join(array.tobytes() for array in found[id].values()) for id in found}


@pytest.mark.parametrize("removed", [["a"], ["folder/b"], ["lone/d"], ["folder/b", "folder/deeper/c"], list(IDS)])
@pytest.mark.parametrize("shape", ["ours", "another"])
def test_others_stay_to_the_bit_and_folders_that_are_left_empty_go(output, removed, shape):
    before = held(output)
    if shape == "another":
        os.link(output, output.with_name("backup.h5"))
        assert not is_added_to_in_place(output)
    assert remove_videos(output, removed) > 100 * len(removed)
    assert held(output) == {id: data for id, data in before.items() if id not in removed}
    with h5py.File(output) as file:
        assert set(file) == {id.partition("/")[0] for id in before.keys() - set(removed)}
    if shape == "another":
        assert held(output.with_name("backup.h5")) == before
    write(output, *removed)  # and they can come back
    assert held(output).keys() == before.keys()


def test_what_a_user_has_added_stays_or_is_named(output):
    with h5py.File(output, "r+") as file:
        file["lone"].attrs["mine"] = 1
        file["notes"] = np.arange(3)
        file["a/mask"] = np.arange(4)
    remove_videos(output, ["lone/d"])
    with h5py.File(output) as file:
        assert file["lone"].attrs["mine"] == 1
        assert list(file["notes"]) == [0, 1, 2]
    before = output.read_bytes()
    with pytest.raises(UsageError, match="video 'a' holds 'mask', which p3dfeat did not write"):
        remove_videos(output, ["z", "a"])
    assert output.read_bytes() == before
    remove_videos(output, ["a"], with_added=True)
    assert "a" not in open_features(output)


@pytest.mark.parametrize("id", ["nothing", "folder", "", "/a", "folder/../a", "notes"])
def test_only_videos_are_removed(output, id):
    before = output.read_bytes()
    with pytest.raises(UsageError, match="holds no video"):
        remove_videos(output, ["z", id])
    assert output.read_bytes() == before


def test_a_file_that_is_missing_written_or_waits_for_its_run_is_not_touched(output, tmp_path):
    with pytest.raises(FeatureFileError, match="no such file"):
        remove_videos(tmp_path / "missing.h5", ["a"])
    with FeatureWriter(output, SETTINGS), pytest.raises(OutputError, match="process"):
        remove_videos(output, ["a"])

    def killed(report):
        writer = FeatureWriter(output, SETTINGS)
        writer.add(video("new"), features(2))
        writer.finish(video("new"), INFO)
        os.kill(os.getpid(), signal.SIGKILL)

    in_a_process(killed)
    with pytest.raises(OutputError, match="a run that was interrupted; run its command again first"):
        remove_videos(output, ["a"])


def test_a_kill_at_any_line_leaves_the_old_file_or_the_new_one(output, tmp_path):
    before, wanted = held(output), {"folder/b", "z"}
    number, seen = 1, set()
    while True:
        place = tmp_path / str(number) / "feats.h5"
        place.parent.mkdir()
        shutil.copy(output, place)
        status = in_a_process(
            lambda report, n=number, p=place: at_line(n, be_killed, partial(remove_videos, p, wanted))
        )[1]
        found = held(place)
        assert found.keys() in (before.keys(), before.keys() - wanted)
        assert all(before[id] == data for id, data in found.items())
        seen.add(len(found))
        if status == 0:
            break
        remaining = [id for id in wanted if id in found]
        remove_videos(place, remaining)
        assert held(place).keys() == before.keys() - wanted
        number += 29
    assert seen == {5, 3}
    assert number > 100


@pytest.fixture
def changed(tmp_path):
    """A feature file with a video whose file has changed since."""
    path = tmp_path / "clip.mp4"
    output = tmp_path / "feats.h5"
    found = Video("folder/clip", str(path), "clip.mp4")

    def info():
        size = {"size_bytes": path.stat().st_size, "fingerprint": fingerprint(str(path))}
        return replace(INFO, **size, modified=modified(os.stat(path)))

    path.write_bytes(b"before")
    with FeatureWriter(output, SETTINGS) as writer:
        for each, about in ((found, info()), (video("other"), INFO)):
            writer.add(each, features(3))
            writer.finish(each, about)
    path.write_bytes(b"after it changed")
    return output, found, info()


def replacing(output, found, about, seed=40, *, finish=True):
    with FeatureWriter(output, SETTINGS) as writer:
        if writer.is_stored(found, replace=True):
            return False
        writer.add(found, features(3, seed=seed))
        writer.finish(found, about) if finish else writer.abandon(found)
    return True


@pytest.mark.parametrize("shape", ["ours", "another"])
def test_a_video_that_changed_is_replaced_where_that_is_asked_for(changed, shape):
    output, found, about = changed
    before = held(output)
    with FeatureWriter(output, SETTINGS) as writer, pytest.raises(VideoError, match="--on-changed replace"):
        writer.is_stored(found)
    assert held(output) == before
    assert replacing(output, found, about, finish=False)  # it failed: the old features stay
    assert held(output) == before
    if shape == "another":
        os.link(output, output.with_name("backup.h5"))
    assert replacing(output, found, about)
    after = held(output)
    assert after["other"] == before["other"]
    assert after["folder/clip"] != before["folder/clip"]
    with open_features(output) as features_now:
        assert features_now["folder/clip"].attributes["fingerprint"] == about.fingerprint
    assert not replacing(output, found, about)


def test_what_a_user_added_to_a_video_is_not_replaced(changed):
    output, found, about = changed
    with h5py.File(output, "r+") as file:
        file["folder/clip/mask"] = np.arange(4)
    with pytest.raises(VideoError, match="you added 'mask' to it; move that away first"):
        replacing(output, found, about)


def test_a_kill_at_any_line_while_replacing_leaves_one_of_the_two(changed, tmp_path):
    output, found, about = changed
    before = held(output)
    number, seen = 1, set()
    while True:
        place = tmp_path / str(number) / "feats.h5"
        place.parent.mkdir()
        shutil.copy(output, place)
        work = partial(replacing, place, found, about)
        status = in_a_process(lambda report, n=number, w=work: at_line(n, be_killed, w))[1]
        seen.add(held(place)["folder/clip"] == before["folder/clip"])
        if status == 0:
            break
        replacing(place, found, about)  # takes up what was finished, or computes it again
        assert held(place)["folder/clip"] != before["folder/clip"]
        assert not place.with_name("feats.h5.parts").exists()
        number += 37
    assert seen == {True, False}
    assert number > 100
