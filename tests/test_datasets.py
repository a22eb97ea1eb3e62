"""Feature files in a DataLoader: forked and spawned workers, labels, and videos of different lengths."""

import multiprocessing
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import p3dfeat
from p3dfeat.errors import UsageError
from p3dfeat.store import open_features
from tests.exports.made import plain_file

IDS = [f"{label}/v{number}" for label in ("golf", "run") for number in range(6)]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("dataset") / "feats.h5"
    return plain_file(path, IDS, rows=4)


def test_samples_are_the_rows_of_the_file(file):
    dataset = p3dfeat.FeatureDataset(file, labels="folders")
    assert (len(dataset), dataset.classes) == (12, ["golf", "run"])
    with open_features(file) as features:
        for sample in (dataset[index] for index in (11, 0, 5)):
            np.testing.assert_array_equal(sample.features.numpy(), features[sample.id]["pool5"])
            assert dataset.classes[sample.label] == sample.id.partition("/")[0]


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_workers_read_what_the_main_process_reads(file, start):
    dataset = p3dfeat.FeatureDataset(file, "pooled", "folders")
    alone = [dataset[index] for index in range(len(dataset))]  # the file is open in this process, too
    loader = DataLoader(
        dataset, batch_size=4, num_workers=2, multiprocessing_context=multiprocessing.get_context(start)
    )
    found = list(loader)
    assert [id for batch in found for id in batch.id] == [sample.id for sample in alone]
    np.testing.assert_array_equal(
        torch.cat([batch.features for batch in found]), torch.stack([sample.features for sample in alone])
    )
    assert torch.cat([batch.label for batch in found]).tolist() == [0] * 6 + [1] * 6


def test_it_survives_a_pickle(file):
    dataset = pickle.loads(pickle.dumps(p3dfeat.FeatureDataset(file)))
    assert dataset[3].features.shape == (4, 8)
    assert dataset[3].label == -1


def test_videos_of_different_lengths_are_padded_together(file, tmp_path):
    one = p3dfeat.FeatureDataset(file)
    two = p3dfeat.FeatureDataset(plain_file(tmp_path / "f.h5", ["x"], rows=7))
    batch = p3dfeat.FeatureDataset.collate([one[0], two[0]])
    assert batch.features.shape == (2, 7, 8)
    assert batch.lengths.tolist() == [4, 7]
    assert not batch.features[0, 4:].any()
    np.testing.assert_array_equal(batch.features[1], two[0].features)


def test_videos_without_a_label_are_left_out_and_named(file, tmp_path):
    (tmp_path / "labels.csv").write_text("id,label\ngolf/v1,a\nrun/v2.mp4,b\nother,c\n")
    dataset = p3dfeat.FeatureDataset(file, labels=tmp_path / "labels.csv")
    assert dataset.ids == ["golf/v1", "run/v2"]
    assert dataset.labels == [0, 1]
    assert len(dataset.without_label) == 10
    again = p3dfeat.FeatureDataset(file, labels=tmp_path / "labels.csv", classes=["b", "a", "x"])
    assert again.labels == [1, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "prob"}, "'prob' is not stored; stored are pool5, pooled"),
        ({"layer": "res5c"}, "'res5c' is not stored; stored are pool5, pooled"),
        ({"labels": "column:sport"}, "none of 12 videos has one"),
        ({"labels": "folders", "classes": ["golf"]}, "'run' is none of the classes"),
    ],
)
def test_what_cannot_be_used_is_refused(file, options, message):
    with pytest.raises(UsageError, match=message):
        p3dfeat.FeatureDataset(file, **options)


def test_arrays_by_name_are_those_of_the_video(file):
    with open_features(file) as features:
        for id in IDS:
            for name in ("pool5", "pooled", "seconds", "first_frames"):
                np.testing.assert_array_equal(features.array(id, name), features[id][name])
        for id, name in (("golf/none", "pool5"), ("golf", "pool5"), ("golf/v1", "prob"), ("golf/v1/pool5", "x")):
            with pytest.raises(KeyError):
                features.array(id, name)


def test_the_pooled_vectors_are_one_matrix(file):
    with open_features(file) as features:
        ids, matrix = features.table("pooled")
        assert ids == list(features)
        np.testing.assert_array_equal(matrix, [video.pooled for video in features.values()])
        with pytest.raises(UsageError, match="has no such array"):
            features.table("res5c")


def test_arrays_of_different_shapes_are_no_matrix(file, tmp_path):
    copy = tmp_path / "f.h5"
    plain_file(copy, ["a"], rows=3)
    plain_file(copy, ["b"], rows=3)
    import h5py

    with h5py.File(copy, "r+") as stored:
        del stored["b/pool5"]
        stored["b/pool5"] = np.zeros((2, 8), np.float32)
    with open_features(copy) as features, pytest.raises(UsageError, match=r"b has the shape \(2, 8\)"):
        features.table("pool5")


def test_a_data_frame_has_a_row_per_video(file):
    pytest.importorskip("pandas")
    with open_features(file) as features:
        frame = features.frame()
    assert frame.index.tolist() == IDS
    assert frame.clips.tolist() == [4] * 12
    assert frame.width.unique().tolist() == [320]
