"""A feature file that an earlier version wrote is read, added to and verified as ever."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

import p3dfeat
from tests.videos import panning_frames, write_video

FILE = Path(__file__).parents[1] / "golden" / "features_0.1.0.h5"


@pytest.fixture
def file(tmp_path):
    shutil.copy(FILE, tmp_path / "feats.h5")
    return tmp_path / "feats.h5"


def test_it_is_read(file):
    with p3dfeat.open_features(file) as features:
        assert list(features) == ["left", "pan/right"]
        assert features.settings["p3dfeat_version"] == "0.1.0"
        video = features["left"]
        assert (video["pool5"].shape, video["prob"].shape) == ((2, 512), (2, 12))
        assert np.allclose(video["seconds"], [[0.0, 0.64], [0.32, 0.96]])
        assert np.allclose(video.pooled, video["pool5"].mean(axis=0))
        assert video["prob"].mean(axis=0).argmax() == 1  # "pan left"
        assert video.attributes["source"] == "videos/left.mp4"


def test_it_is_added_to_and_what_it_held_stays_as_it_was(file, tmp_path):
    with h5py.File(file) as before:
        old = {name: before[f"left/{name}"][()].tobytes() for name in before["left"]}
    write_video(tmp_path / "new.mp4", panning_frames(24, pixels_a_frame=3))
    settings = {"model": "p3d-camera", "clips": 2, "layers": ("pool5", "prob"), "engine": "torch", "workers": 1}
    summary = p3dfeat.extract(tmp_path / "new.mp4", file, **settings)
    assert (summary.stored, summary.failed) == (1, 0)
    with h5py.File(file) as after:
        assert sorted(after) == ["left", "new", "pan"]
        assert {name: after[f"left/{name}"][()].tobytes() for name in after["left"]} == old


def test_it_is_verified(file):
    summary = p3dfeat.verify(file)
    assert (summary.videos, summary.clips, summary.findings) == (2, 4, ())
    with h5py.File(file, "r+") as changed:
        changed["left/pool5"][0, 0] = np.nan
    assert [finding.id for finding in p3dfeat.verify(file).findings] == ["left"]
