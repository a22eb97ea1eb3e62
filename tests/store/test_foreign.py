"""What users add to a feature file with h5py is theirs: nothing of p3dfeat reads it, and nothing loses it."""

import h5py
import numpy as np
import pytest

from p3dfeat.errors import VideoError
from p3dfeat.store import FeatureWriter, open_features
from p3dfeat.store.commit.commit import is_added_to_in_place
from tests.store.runs import content, run
from tests.store.test_store import INFO, SETTINGS, features, video

BOXES = np.arange(30.0).reshape(5, 6)


@pytest.fixture(params=["in place", "by way of a copy"])
def output(request, tmp_path):
    """Of two videos and a user's things, of a shape that is added to without a copy, and of one that is not."""
    output = tmp_path / "feats.h5"
    run(output, {"a": 0, "folder/b": 2})
    with h5py.File(output, "r+") as file:
        file.attrs["note"] = "for a paper"
        file["labels"] = ["run", "walk"]
        file["my/boxes"] = BOXES
        file["folder"]["index"] = [1, 2]
        file["a"].attrs["label"] = "run"
        file["a"].attrs["numbers"] = np.arange(200)
        file["a"]["caption"] = "a man runs"
        file["a"].create_dataset("boxes", data=BOXES, compression="gzip")
        if request.param != "in place":
            file.create_group("new", track_order=True)["x"] = [1]
            file["link"] = h5py.SoftLink("/labels")
    assert is_added_to_in_place(output) == (request.param == "in place")
    return output


def theirs(output):
    """All that a user has added, to be compared."""
    with h5py.File(output) as file:
        return (
            file.attrs["note"],
            file["labels"].asstr()[()].tolist(),
            file["my/boxes"][()].tobytes(),
            file["folder/index"][()].tolist(),
            file["a"].attrs["label"],
            file["a"].attrs["numbers"].tolist(),
            file["a/caption"].asstr()[()],
            file["a/boxes"][()].tobytes(),
        )


def test_readers_see_only_what_p3dfeat_wrote(output):
    with open_features(output) as found:
        assert list(found) == ["a", "folder/b"]
        assert "note" not in found.settings
        assert set(found["a"]) == set(found["folder/b"]) == {"pool5", "prob", "seconds", "first_frames", "pooled"}
        assert len(found["a"]) == 5
        assert set(found["a"].attributes) == set(found["folder/b"].attributes)
        assert "caption" not in found["a"]
        with pytest.raises(KeyError):
            found["a"]["caption"]
        for id in ("labels", "my", "my/boxes", "folder", "a/caption"):
            assert id not in found


def test_adding_keeps_it(output):
    before = theirs(output)
    assert run(output, {"a": 0, "folder/b": 2, "c": 4, "folder/d": 6}) == ["c", "folder/d"]
    assert content(output) == {"a": 0, "c": 4, "folder/b": 2, "folder/d": 6}
    assert theirs(output) == before


def test_a_run_that_was_killed_before_it_could_tidy_up_keeps_it(tmp_path, monkeypatch):
    """Its journal holds what the output holds already."""
    output = tmp_path / "feats.h5"
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(FeatureWriter, "_tidy", lambda self, replaced: (_ for _ in ()).throw(KeyboardInterrupt))
        run(output, {"a": 0, "b": 2})
    assert (tmp_path / "feats.h5.parts").exists()
    with h5py.File(output, "r+") as file:
        file["a"].attrs["label"] = "run"
        file["a"]["caption"] = "a man runs"
    assert run(output, {"a": 0, "b": 2, "c": 4}) == ["c"]
    assert content(output) == {"a": 0, "b": 2, "c": 4}
    with h5py.File(output) as file:
        assert file["a"].attrs["label"] == "run"
        assert file["a/caption"].asstr()[()] == "a man runs"


@pytest.mark.parametrize("id", ["labels", "labels/x", "my", "folder/index", "folder/index/y", "my/boxes/z"])
def test_a_video_of_the_same_name_is_refused_and_takes_nothings_place(output, id):
    before = theirs(output)
    with FeatureWriter(output, SETTINGS) as writer:
        with pytest.raises(VideoError, match=r"holds '.*', which is no video; rename one"):
            writer.is_stored(video(id))
        assert not writer.is_stored(video("my/own"))
        writer.add(video("my/own"), features(3, seed=8))
        writer.finish(video("my/own"), INFO)
    assert theirs(output) == before
    with open_features(output) as found:
        assert list(found) == ["a", "folder/b", "my/own"]
