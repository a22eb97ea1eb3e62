"""ASLAN's protocol on made pairs of the same layout: View 2 with ten folds of disjoint actions, and View 1."""

import numpy as np
import pytest
from scipy.io import savemat
from sklearn.metrics import roc_auc_score

import p3dfeat
from p3dfeat.errors import UsageError
from p3dfeat.evaluation.aslan.pairs import Pair, Samples, read_pairs
from tests.evaluation.made import layered_file

LAYERS = ("prob", "pool5", "res5c", "res4b35")
SHAPES = {"prob": (9,), "pool5": (24,), "res5c": (6, 1, 3, 3), "res4b35": (4, 2, 4, 4)}


def made_samples(folder, *, actions=40, each=8, noise=0.25, seed=0):
    """A feature file with four layers, whose samples are numbered from 1, and the action of each."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(actions * each) % actions
    centres = {layer: rng.gamma(1.0, 1.0, (actions, *shape)) for layer, shape in SHAPES.items()}
    videos = {
        f"{number:04d}": {
            layer: np.maximum(centres[layer][kind] + noise * rng.standard_normal(SHAPES[layer]), 0) for layer in LAYERS
        }
        for number, kind in enumerate(kinds, 1)
    }
    return layered_file(folder / "aslan.h5", videos), kinds


def made_pairs(kinds, count, folds, seed=0, flip=0.0):
    """(count, 5, folds): id1, id2, same, action1, action2; folds have actions of their own; half are the same."""
    rng = np.random.default_rng(seed)
    actions = np.array_split(rng.permutation(kinds.max() + 1), folds)
    table = np.zeros((count, 5, folds))
    for fold, own in enumerate(actions):
        for row in range(count):
            same = row % 2
            first = rng.choice(own)
            second = first if same else rng.choice(own[own != first])
            ids = [rng.choice(np.flatnonzero(kinds == kind)) + 1 for kind in (first, second)]
            while ids[0] == ids[1]:
                ids[1] = rng.choice(np.flatnonzero(kinds == second)) + 1
            said = 1 - same if rng.random() < flip else same
            table[row, :, fold] = *ids, said, first, second
    return table


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return made_samples(tmp_path_factory.mktemp("aslan"))


@pytest.mark.parametrize("normalise", ["l2", "zscore"])
def test_view_2_finds_planted_actions(samples, tmp_path, normalise):
    file, kinds = samples
    savemat(tmp_path / "View2.mat", {"action_splits_pairs": made_pairs(kinds, 40, 10)})
    found = p3dfeat.evaluate_aslan(file, tmp_path / "View2.mat", pair_normalise=normalise)
    assert len(found.rows) == 11
    assert found.result["pairs"] == 400
    assert found.result["accuracy"] > 90
    assert found.result["AUC"] > 95
    folds = [row.values["accuracy"] for row in found.rows[:-1]]
    assert found.result["accuracy"] == pytest.approx(np.mean(folds))
    assert found.result["standard error"] == pytest.approx(np.std(folds, ddof=1) / np.sqrt(10))


def test_ten_per_cent_of_wrong_labels_show_and_shuffled_ones_give_chance(samples, tmp_path):
    file, kinds = samples
    for flip, low, high in ((0.1, 84, 94), (0.5, 40, 60)):
        savemat(tmp_path / "v.mat", {"action_splits_pairs": made_pairs(kinds, 60, 10, flip=flip)})
        accuracy = p3dfeat.evaluate_aslan(file, tmp_path / "v.mat", c=1.0).result["accuracy"]
        assert low < accuracy < high


def test_view_1_trains_on_one_file_and_tests_on_another(samples, tmp_path):
    file, kinds = samples
    savemat(tmp_path / "train_pairs.mat", {"train_pairs": made_pairs(kinds, 200, 1)[..., 0]})
    savemat(tmp_path / "test_pairs.mat", {"test_pairs": made_pairs(kinds, 100, 1, seed=1)[..., 0]})
    found = p3dfeat.evaluate_aslan(file, tmp_path / "train_pairs.mat", test_pairs=tmp_path / "test_pairs.mat")
    assert found.result["pairs"] == 100
    assert found.result["accuracy"] > 90


def test_text_is_read_as_the_mat_file_is(samples, tmp_path):
    _, kinds = samples
    table = made_pairs(kinds, 10, 3)
    savemat(tmp_path / "v.mat", {"action_splits_pairs": table})
    lines = ["fold,id1,id2,same"]
    lines += [f"{f + 1},{int(r[0])},{int(r[1])},{int(r[2])}" for f in range(3) for r in table[:, :, f]]
    (tmp_path / "v.csv").write_bytes("\r\n".join(lines).encode())
    assert read_pairs(tmp_path / "v.csv") == read_pairs(tmp_path / "v.mat")
    (tmp_path / "v.txt").write_text("0001 0002 same\n0003 0004 different\n")
    assert read_pairs(tmp_path / "v.txt") == [Pair("0001", "0002", True, 1), Pair("0003", "0004", False, 1)]


def test_the_area_is_that_of_scikit_learn_and_the_curve_encloses_it(samples, tmp_path, monkeypatch):
    from p3dfeat.evaluation.aslan import run

    seen = {}
    real = run.roc

    def spy(same, scores):
        seen["area"] = roc_auc_score(same, scores)
        return real(same, scores)

    monkeypatch.setattr(run, "roc", spy)
    file, kinds = samples
    savemat(tmp_path / "v.mat", {"action_splits_pairs": made_pairs(kinds, 40, 5, flip=0.2)})
    found = p3dfeat.evaluate_aslan(file, tmp_path / "v.mat", c=1.0)
    assert found.result["AUC"] == pytest.approx(100 * seen["area"])
    (line,) = found.charts[0].lines
    assert np.trapezoid(line.y, line.x) == pytest.approx(seen["area"], abs=0.01)


def test_pairs_that_refer_to_nothing_are_left_out_and_counted(samples, tmp_path):
    file, kinds = samples
    table = made_pairs(kinds, 20, 3)
    table[0, 0, 0] = 9999
    savemat(tmp_path / "v.mat", {"action_splits_pairs": table})
    found = p3dfeat.evaluate_aslan(file, tmp_path / "v.mat", c=1.0)
    assert found.result["pairs"] == 59
    assert found.left_out == {"9999": "no features"}
    assert "left out: 1 pair of videos without features" in found.notes
    with pytest.raises(UsageError, match="strict: 1 video left out; the first is 9999"):
        p3dfeat.evaluate_aslan(file, tmp_path / "v.mat", c=1.0, strict=True)


def test_the_answer_is_the_same_twice(samples, tmp_path):
    file, kinds = samples
    savemat(tmp_path / "v.mat", {"action_splits_pairs": made_pairs(kinds, 20, 4, flip=0.2)})
    first, second = (p3dfeat.evaluate_aslan(file, tmp_path / "v.mat") for _ in range(2))
    assert first.rows == second.rows
    assert first.charts == second.charts


def test_layers_with_negative_numbers_are_refused(tmp_path):
    rows = {f"{n:04d}": {"logits": np.array([1.0, -1.0])} for n in (1, 2)}
    file = layered_file(tmp_path / "f.h5", rows)
    (tmp_path / "p.csv").write_text("1,1,2,1\n2,2,1,0\n")
    with pytest.raises(UsageError, match="layer logits: 0001 has negative numbers"):
        p3dfeat.evaluate_aslan(file, tmp_path / "p.csv", layers=("logits",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"MATLAB 7.3 MAT-file, Platform: GLNXA64", "version 7.3; save it in MATLAB with"),
        (b"\x89HDF\r\n\x1a\n", "version 7.3"),
        (b"MATLAB 5.0 MAT-file, cut", "not a .mat file that can be read"),
        (b"1,2\n", "line 1: must be fold,id1,id2,same"),
        (b"1,1,2,1\n1,1,2,maybe\n", "line 2: must be fold"),
        (b"x,1,2,1\n", "line 1: must be fold"),
        (b"a" * 200_000 + b",1,2,1\n", "field larger than field limit"),
    ],
)
def test_lists_that_are_none_are_refused(tmp_path, content, message):
    path = tmp_path / "pairs"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_pairs(path)


def test_a_whole_id_is_not_taken_for_the_end_of_another():
    samples = Samples(["1", "x/1", "x/2", "y/2", "0003"])
    assert [samples.place(name) for name in ("1", "x/1", "x/2", "3", "4")] == [0, 1, 2, 4, None]
    with pytest.raises(UsageError, match="2 could be several videos"):
        samples.place("2")


def test_too_few_pairs_to_choose_c_and_no_layers_are_refused(samples, tmp_path):
    file, _ = samples
    (tmp_path / "p.csv").write_text("1,1,41,1\n1,1,2,0\n2,2,42,1\n2,2,3,0\n")
    with pytest.raises(UsageError, match="cannot be chosen from so few pairs; give --c"):
        p3dfeat.evaluate_aslan(file, tmp_path / "p.csv", learner="logistic")
    assert p3dfeat.evaluate_aslan(file, tmp_path / "p.csv", learner="logistic", c=1.0).result["pairs"] == 4
    with pytest.raises(UsageError, match="layers: none given"):
        p3dfeat.evaluate_aslan(file, tmp_path / "p.csv", layers=())


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((3, 4))}, "no array action_splits_pairs"),
        ({"action_splits_pairs": np.zeros((3, 4, 2))}, "must be"),
        ({"p": np.array([[1, 2, 3, 0, 0]])}, "pair 1: must be two numbers and 0 or 1"),
        ({"p": np.array([[np.inf, 2, 1, 0, 0]])}, "pair 1: must be two numbers and 0 or 1"),
        ({"p": np.array([[1.5, 2, 1, 0, 0]])}, "pair 1: must be two numbers and 0 or 1"),
    ],
)
def test_mat_files_of_something_else_are_refused(tmp_path, arrays, message):
    savemat(tmp_path / "p.mat", arrays)
    with pytest.raises(UsageError, match=message):
        read_pairs(tmp_path / "p.mat")
