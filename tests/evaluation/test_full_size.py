"""Each protocol on a made set with the number of videos, classes and pairs of the real one.

Features of some videos are those of another class. All others are easily told apart, so that the right accuracy is the
part of the test videos whose features were not exchanged: it is counted, not computed by the code under test.
"""

import json

import numpy as np
import pytest
from scipy.io import savemat

import p3dfeat
from tests.evaluation.made import file_of, layered_file, planted, ucf_lists

WIDTH = 32
UCF = (101, 25, 13_320)  # classes, groups, videos
HMDB = (51, 6_766)
ACTIVITYNET = (200, 10_024, 4_926)
ASLAN = (432, 3_697, 600, 10)  # actions, samples, pairs of a fold, folds
SCENES = {"YUPENN": (14, 420), "Dynamic Scene": (13, 130)}


def exchanged(labels, classes, share, seed=0):
    """(features' class of each video, which are not those of its label): some videos show another class."""
    rng = np.random.default_rng(seed)
    other = (labels + rng.integers(1, classes, len(labels))) % classes
    wrong = rng.random(len(labels)) < share
    return np.where(wrong, other, labels), wrong


def test_ucf101(tmp_path):
    classes, groups, count = UCF
    labels = np.arange(count) * classes // count
    names = [
        (f"Class{label:03d}/v_Class{label:03d}_g{n % groups + 1:02d}_c{n:05d}", int(label), n % groups + 1)
        for n, label in enumerate(labels)
    ]
    shown, wrong = exchanged(labels, classes, 0.1)
    rows = dict(zip([id for id, _, _ in names], planted(shown, width=WIDTH), strict=True))
    lists = ucf_lists(tmp_path / "lists", names)
    found = p3dfeat.evaluate_ucf101(file_of(tmp_path / "f.h5", rows), lists, c=1.0)
    for split, row in enumerate(found.rows[:3], 1):
        tested = np.array([7 * split - 6 <= group <= 7 * split for _, _, group in names])
        assert row.values["test videos"] == tested.sum()
        assert row.values["accuracy"] == pytest.approx(100 * (1 - wrong[tested].mean()), abs=0.3)


def test_hmdb51(tmp_path):
    classes, count = HMDB
    labels = np.arange(count) % classes
    shown, wrong = exchanged(labels, classes, 0.1)
    ids = [f"class_{label}/movie{n}_class_{label}_f_cm_np1_ba_goo_{n % 5}" for n, label in enumerate(labels)]
    lists = tmp_path / "lists"
    lists.mkdir()
    use = (np.arange(count) // classes) % 3  # 0 unused, 1 training, 2 test
    for label in range(classes):
        for split in (1, 2, 3):
            own = np.flatnonzero(labels == label)
            text = "".join(f"{ids[n].split('/')[1]}.avi {(use[n] + split) % 3}\n" for n in own)
            (lists / f"class_{label}_test_split{split}.txt").write_text(text)
    file = file_of(tmp_path / "f.h5", dict(zip(ids, planted(shown, width=WIDTH), strict=True)))
    found = p3dfeat.evaluate_hmdb51(file, lists, c=1.0)
    for split, row in enumerate(found.rows[:3], 1):
        tested = (use + split) % 3 == 2
        assert row.values["test videos"] == tested.sum()
        assert row.values["accuracy"] == pytest.approx(100 * (1 - wrong[tested].mean()), abs=0.3)


def test_activitynet(tmp_path):
    classes, training, validation = ACTIVITYNET
    labels = np.arange(training + validation) % classes
    shown, wrong = exchanged(labels, classes, 0.1)
    ids = [f"{n:011d}" for n in range(len(labels))]
    database = {
        id: {"subset": "training" if n < training else "validation", "annotations": [{"label": f"class {label}"}]}
        for n, (id, label) in enumerate(zip(ids, labels, strict=True))
    }
    (tmp_path / "a.json").write_text(json.dumps({"database": database}))
    rows = {f"v_{id}": row for id, row in zip(ids, planted(shown, width=WIDTH), strict=True)}
    found = p3dfeat.evaluate_activitynet(file_of(tmp_path / "f.h5", rows), tmp_path / "a.json", c=1.0)
    assert (found.result["videos"], found.result["classes"]) == (validation, classes)
    assert found.result["top-1"] == pytest.approx(100 * (1 - wrong[training:].mean()), abs=0.5)


def test_aslan(tmp_path):
    actions, count, pairs, folds = ASLAN
    kinds = np.arange(count) % actions
    layers = {name: planted(kinds, width=16, noise=0.2, seed=n) for n, name in enumerate(("prob", "pool5"))}
    videos = {f"{n + 1:04d}": {name: rows[n] for name, rows in layers.items()} for n in range(count)}
    rng = np.random.default_rng(0)
    own = np.array_split(rng.permutation(actions), folds)
    table = np.zeros((pairs, 5, folds))
    for fold in range(folds):
        first = rng.choice(own[fold], pairs)
        other = np.array([rng.choice(own[fold][own[fold] != kind]) for kind in first])
        same = np.arange(pairs) % 2
        second = np.where(same, first, other)
        flipped = np.where(rng.random(pairs) < 0.1, 1 - same, same)
        ids = [kind + actions * rng.integers(0, 8, pairs) + 1 for kind in (first, second)]
        table[:, :, fold] = np.stack([*ids, flipped, first, second], axis=1)
    savemat(tmp_path / "View2.mat", {"action_splits_pairs": table})
    file = layered_file(tmp_path / "f.h5", videos)
    found = p3dfeat.evaluate_aslan(file, tmp_path / "View2.mat", layers=tuple(layers), c=1.0)
    assert found.result["pairs"] == pairs * folds
    same = table[:, 3] == table[:, 4]
    right = 100 * (table[:, 2] == same).mean()
    assert found.result["accuracy"] == pytest.approx(right, abs=2.0)


@pytest.mark.parametrize("name", SCENES)
def test_scenes(tmp_path, name):
    classes, count = SCENES[name]
    labels = np.arange(count) % classes
    shown, wrong = exchanged(labels, classes, 0.1)
    rows = {
        f"scene{label}/{n}": row for n, (label, row) in enumerate(zip(labels, planted(shown, width=64), strict=True))
    }
    found = p3dfeat.evaluate_scenes(file_of(tmp_path / "f.h5", rows), c=1.0)
    assert found.result["accuracy"] == pytest.approx(100 * (1 - wrong.mean()), abs=1.0)
