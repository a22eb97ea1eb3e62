"""Convolution layers: stored whole, averaged, or compressed."""

import h5py
import numpy as np
import pytest

import p3dfeat as package

LAYERS = "pool5,prob,pool1,res2a,res5a"


@pytest.fixture(scope="module")
def extracted(folder, tmp_path_factory):
    """{way: feature file} of one video, with convolution layers."""
    place = tmp_path_factory.mktemp("layers")
    ways = {"whole": {}, "compressed": {"compress": True}, "mean": {"pool": "mean"}}
    found = {}
    for way, options in ways.items():
        found[way] = place / f"{way}.h5"
        package.extract(folder / "left.mp4", found[way], clips=3, layers=LAYERS.split(","), engine="torch", **options)
    return found


def arrays(path) -> dict[str, np.ndarray]:
    with package.open_features(path) as features:
        return dict(features["left"])


def test_compressed_layers_are_the_same_to_the_bit_and_take_less(extracted):
    whole, compressed = arrays(extracted["whole"]), arrays(extracted["compressed"])
    assert {name: rows.tobytes() for name, rows in whole.items()} == {
        n: rows.tobytes() for n, rows in compressed.items()
    }
    with h5py.File(extracted["compressed"]) as file:
        res2a = file["left/res2a"]
        assert (res2a.chunks, res2a.compression, res2a.shuffle) == ((1, *res2a.shape[1:]), "gzip", True)
        assert res2a.id.get_storage_size() < res2a.nbytes
        assert file["left/pool5"].chunks is None


def test_the_mean_is_over_time_height_and_width(extracted):
    whole, mean = arrays(extracted["whole"]), arrays(extracted["mean"])
    for name in ("pool1", "res2a", "res5a"):
        expected = whole[name].reshape(*whole[name].shape[:2], -1).mean(axis=2, dtype=np.float64)
        assert mean[name].shape == whole[name].shape[:2]
        assert mean[name].dtype == np.float32
        assert np.allclose(mean[name], expected, rtol=1e-6)
    for name in ("pool5", "prob", "seconds", "pooled"):
        assert np.array_equal(mean[name], whole[name])
    with package.open_features(extracted["mean"]) as features:
        assert features.settings["pool"] == "mean"


def test_dimensions_have_names_in_the_file(extracted):
    with h5py.File(extracted["whole"]) as file:
        assert [d.label for d in file["left/res2a"].dims] == ["clip", "channel", "time", "height", "width"]
        assert len(file["left/res2a"].shape) == 5
        labels = [d.label for d in file["left/res5a"].dims]
        assert labels == ["clip", "channel", "height", "width"][: len(labels)]
        assert not file["left/pool5"].attrs
    with package.open_features(extracted["whole"]) as features:
        video = features["left"]
        assert video.dims("res2a") == ("clip", "channel", "time", "height", "width")
        assert (video.dims("pool5"), video.dims("prob")) == (("clip", "channel"), ("clip", "class"))
        assert (video.dims("seconds"), video.dims("pooled")) == (("clip", "bound"), ("channel",))
        assert all(len(video.dims(name)) == video[name].ndim for name in video)


@pytest.mark.parametrize("way", ["whole", "compressed", "mean"])
def test_each_way_is_verified_and_recomputed(p3dfeat, extracted, folder, way):
    ended = p3dfeat("verify", extracted[way], "--against", folder / "left.mp4", "--recompute", "all")
    assert (ended.code, ended.stdout) == (0, "")
    assert "nothing wrong in 1 video, 3 clips; 1 of 1" in ended.stderr
    assert "note:" not in ended.stderr


def test_ways_that_change_the_numbers_do_not_mix_and_compression_does(p3dfeat, extracted, folder):
    common = ("--clips", 3, "--layers", LAYERS, "--engine", "torch")
    ended = p3dfeat("extract", folder / "right.mp4", "-o", extracted["mean"], *common)
    assert ended.code == 2
    assert "pool is mean there, none now" in ended.stderr
    ended = p3dfeat("extract", folder / "right.mp4", "-o", extracted["whole"], *common, "--pool", "mean")
    assert (ended.code, "pool is none there, mean now" in ended.stderr) == (2, True)
    ended = p3dfeat("extract", folder / "right.mp4", "-o", extracted["compressed"], *common)
    assert ended.code == 0
    with h5py.File(extracted["compressed"]) as file:
        assert (file["left/res2a"].compression, file["right/res2a"].compression) == ("gzip", None)
    assert p3dfeat("verify", extracted["compressed"]).code == 0


def test_a_plan_knows_the_size_of_averaged_layers(p3dfeat, extracted, folder):
    common = ("--clips", 3, "--layers", LAYERS, "--engine", "torch", "--dry-run", "--json")
    for way, options in (("whole", ()), ("mean", ("--pool", "mean"))):
        size = p3dfeat("extract", folder / "left.mp4", *common, *options).records[-1]["size_bytes"]
        assert size == pytest.approx(extracted[way].stat().st_size, rel=0.15), way


def test_compressed_videos_are_committed_in_small_batches(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("p3dfeat.store.commit.waiting.COMPRESSED_BYTES", 1)
    output = tmp_path / "feats.h5"
    package.extract(folder, output, clips=2, layers=["res2a"], compress=True, workers=1)
    with package.open_features(output) as features:
        assert [video["res2a"].shape[0] for video in features.values()] == [2, 2, 2]
