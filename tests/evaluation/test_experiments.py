"""Protocols on made sets whose right answers are known: planted classes, wrong labels, leaks, and bad input."""

import itertools
import json

import numpy as np
import pytest

import p3dfeat
from p3dfeat.errors import UsageError
from p3dfeat.evaluation.lists import Names, hmdb51_splits, recording, ucf101_splits
from tests.evaluation.made import file_of, planted, ucf_lists, ucf_names

NAMES = ucf_names(6, 25, 2)


def ucf_set(folder, *, flip=0.0, noise=0.3, seed=0, names=NAMES, prefix="", **about):
    """A feature file and lists. flip: part of the videos whose features are another class's."""
    rng = np.random.default_rng(seed)
    labels = np.array([label for _, label, _ in names])
    shown = np.where(rng.random(len(labels)) < flip, (labels + rng.integers(1, 6, len(labels))) % 6, labels)
    rows = dict(zip((prefix + id for id, _, _ in names), planted(shown, noise=noise, seed=seed), strict=True))
    return file_of(folder / "ucf.h5", rows, **about), ucf_lists(folder / "splits", names)


def test_planted_classes_are_found_in_each_split(tmp_path):
    file, lists = ucf_set(tmp_path)
    found = p3dfeat.evaluate_ucf101(file, lists)
    assert [row.name for row in found.rows] == ["1", "2", "3", "mean"]
    assert [row.values["accuracy"] for row in found.rows] == [100.0] * 4
    assert [row.values["training videos"] for row in found.rows[:3]] == [216] * 3
    assert [row.values["test videos"] for row in found.rows[:3]] == [84] * 3
    assert found.confusion.counts.trace() == 3 * 84
    assert not found.wrong


@pytest.mark.parametrize("learner", ["svm", "logistic", "ridge"])
def test_ten_per_cent_of_wrong_features_show(tmp_path, learner):
    file, lists = ucf_set(tmp_path, flip=0.1)
    found = p3dfeat.evaluate_ucf101(file, lists, learner=learner)
    assert 85 < found.result["accuracy"] < 95
    assert found.wrong[0].margin >= found.wrong[-1].margin
    assert found.wrong[0].label == found.wrong[0].id.split("/")[0]


def test_features_without_any_class_give_chance(tmp_path):
    file, lists = ucf_set(tmp_path, flip=1.0, seed=3)  # any class but the right one
    assert p3dfeat.evaluate_ucf101(file, lists, c=1.0).result["accuracy"] < 35


def test_recordings_are_on_one_side_of_the_choice_of_c(tmp_path):
    """Features that tell recordings, not classes: a choice of C that sees a recording on both sides would be fooled."""
    from p3dfeat.evaluation.classification import Task
    from p3dfeat.evaluation.descriptors import Descriptors
    from p3dfeat.evaluation.learning.tuning import accuracy, held_out_scores

    rng = np.random.default_rng(0)
    names = ucf_names(4, 24, 6)
    own = {(label, group): rng.gamma(1.0, 1.0, 64) for _, label, group in names}
    rows = {id: own[label, group] + 0.01 * rng.standard_normal(64) for id, label, group in names}
    descriptors = Descriptors.loaded([file_of(tmp_path / "f.h5", rows)], "pool5")
    labels = [(id.split("/")[0],) for id in descriptors.ids]
    found = {}
    for grouped in (True, False):
        groups = [recording(id) if grouped else id for id in descriptors.ids]
        task = Task.of(descriptors, labels, groups)
        found[grouped] = accuracy(held_out_scores(task.problem, 0, "svm", (10.0,), 0)[10.0], task.problem.targets)
    assert found[False] > 0.9
    assert found[True] < 0.5


def test_the_answer_is_the_same_twice_to_the_bit(tmp_path):
    file, lists = ucf_set(tmp_path, noise=1.5)
    first, second = (p3dfeat.evaluate_ucf101(file, lists, save=tmp_path / f"{n}.safetensors") for n in (1, 2))
    assert first.rows == second.rows
    assert first.wrong == second.wrong
    assert len(first.wrong) > 3
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lists_are_read_with_any_line_ends(tmp_path, end):
    lists = ucf_lists(tmp_path / "s", NAMES, end=end)
    splits = ucf101_splits(lists)
    assert [split.name for split in splits] == ["1", "2", "3"]
    assert splits[0].train["Class000/v_Class000_g08_c01.avi"] == "Class000"
    assert len(splits[0].test) == 84


def test_both_spellings_of_handstand_push_ups_are_one_class(tmp_path):
    names = [
        *[(f"HandstandPushups/v_HandstandPushups_g{g:02d}_c01", 0, g) for g in range(1, 26)],
        *[(f"Archery/v_Archery_g{g:02d}_c01", 1, g) for g in range(1, 26)],
    ]
    rows = planted([label for _, label, _ in names])
    file = file_of(tmp_path / "f.h5", {id: row for (id, _, _), row in zip(names, rows, strict=True)})
    lists = ucf_lists(tmp_path / "s", names)
    for path in lists.iterdir():  # as the lists write it, unlike the files
        text = path.read_text().replace("HandstandPushups/v_HandstandPushups", "HandStandPushups/v_HandStandPushups")
        path.write_text(text.replace(" HandstandPushups", " HandStandPushups"))
    (lists / "classInd.txt").write_text("1 Archery\n2 HandStandPushups\n")
    for path in lists.glob("trainlist*"):
        lines = path.read_text().splitlines()
        path.write_text("\n".join(f"{line.split()[0]} {1 if 'Archery' in line else 2}" for line in lines))
    found = p3dfeat.evaluate_ucf101(file, lists, c=1.0)
    assert found.result["accuracy"] == 100.0
    assert found.confusion.labels == ("Archery", "HandStandPushups")
    assert not found.left_out


@pytest.mark.parametrize("id", ["{stem}", "{folder}/{stem}", "data/UCF-101/{folder}/{stem}", "{folder}/{stem}.avi"])
def test_ids_are_found_however_deep_their_folders_are(id):
    ids = [id.format(folder=name.split("/")[0], stem=name.split("/")[1]) for name, _, _ in NAMES]
    names = Names(ids)
    assert [names.place(f"{name}.avi") for name, _, _ in NAMES] == list(range(len(NAMES)))
    assert names.place("Class000/v_other.avi") is None


def test_a_name_that_two_videos_have_is_refused_unless_the_folder_tells():
    names = Names(["a/x", "b/x"])
    assert names.place("b/x.avi") == 1
    with pytest.raises(UsageError, match="could be a/x or b/x"):
        names.place("c/x.avi")


def test_a_video_of_another_class_does_not_stand_in_for_a_missing_one(tmp_path):
    """Names such as 014.avi are in every class; features say nothing of the class."""
    rng = np.random.default_rng(0)
    ids = [*(f"A/{n:03d}" for n in range(20)), *(f"B/{n:03d}" for n in range(14))]
    file = file_of(tmp_path / "f.h5", {id: rng.random(16) for id in ids})
    lists = tmp_path / "s"
    lists.mkdir()
    (lists / "trainlist01.txt").write_text("".join(f"{id}.avi\n" for id in ids))
    (lists / "testlist01.txt").write_text("".join(f"B/{n:03d}.avi\n" for n in range(14, 20)))
    with pytest.raises(UsageError, match="features of 34 training and 0 test videos"):
        p3dfeat.evaluate_ucf101(file, lists, c=1.0)
    assert Names(["A/1", "x/2", "3"], ["A", "B"]).place("B/1.avi") is None
    assert [Names(["A/1", "x/2", "3"], ["A", "B"]).place(f"B/{n}.avi") for n in (2, 3)] == [1, 2]


@pytest.mark.parametrize("test", ["A/0.mp4", "a/0.avi"])
def test_one_video_under_two_names_is_not_on_both_sides(tmp_path, test):
    file = file_of(tmp_path / "f.h5", {id: np.random.default_rng(0).random(8) for id in ("A/0", "A/1", "B/0", "B/1")})
    lists = tmp_path / "s"
    lists.mkdir()
    (lists / "trainlist01.txt").write_text("A/0.avi\nA/1.avi\nB/0.avi\nB/1.avi\n")
    (lists / "testlist01.txt").write_text(f"{test}\n")
    with pytest.raises(UsageError, match="A/0 is a training and a test video"):
        p3dfeat.evaluate_ucf101(file, lists, c=1.0)


def test_a_video_with_two_labels_in_the_lists_is_refused(tmp_path):
    file = file_of(tmp_path / "f.h5", {id: np.random.default_rng(0).random(8) for id in ("v0", "v1", "v2")})
    lists = tmp_path / "s"
    lists.mkdir()
    (lists / "trainlist01.txt").write_text("A/v0.avi\nB/v1.avi\nB/v0.avi\n")
    (lists / "testlist01.txt").write_text("A/v2.avi\n")
    with pytest.raises(UsageError, match="v0 is of A and B in the lists"):
        p3dfeat.evaluate_ucf101(file, lists, c=1.0)


def test_numbers_in_test_lists_are_not_read_and_hidden_files_are_skipped(tmp_path):
    lists = ucf_lists(tmp_path / "s", NAMES)
    (lists / "testlist01.txt").write_text("Class000/v_Class000_g01_c01.avi 0\n")
    (lists / "._trainlist09.txt").write_bytes(b"\0\5\26\7")
    assert list(ucf101_splits(lists)[0].test) == ["Class000/v_Class000_g01_c01.avi"]
    _, lists = hmdb_set(tmp_path)
    (lists / "._run_test_split1.txt").write_bytes(b"\0\5\26\7")
    assert len(hmdb51_splits(lists)) == 3


def test_listed_videos_without_features_are_counted_and_strict_stops(tmp_path):
    file, lists = ucf_set(tmp_path, names=NAMES[1:])
    ucf_lists(lists, NAMES)
    found = p3dfeat.evaluate_ucf101(file, lists, c=1.0)
    assert found.left_out == {f"{NAMES[0][0]}.avi": "no features"}
    with pytest.raises(UsageError, match="strict: 1 video left out"):
        p3dfeat.evaluate_ucf101(file, lists, c=1.0, strict=True)


def test_videos_in_no_list_do_not_count(tmp_path):
    extra = [*NAMES, ("Class000/other", 0, 1)]
    file, lists = ucf_set(tmp_path, names=extra)
    ucf_lists(lists, NAMES)
    found = p3dfeat.evaluate_ucf101(file, lists, c=1.0, strict=True)
    assert found.left_out == {"Class000/other": "in none of the lists"}


def test_videos_with_invalid_numbers_are_left_out(tmp_path):
    rows = dict(zip([id for id, _, _ in NAMES], planted([label for _, label, _ in NAMES]), strict=True))
    rows[NAMES[5][0]][3] = np.nan
    file, lists = file_of(tmp_path / "f.h5", rows), ucf_lists(tmp_path / "s", NAMES)
    found = p3dfeat.evaluate_ucf101(file, lists, c=1.0)
    assert found.left_out == {NAMES[5][0]: "not all numbers are finite"}
    assert found.result["accuracy"] == 100.0


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("trainlist01.txt", "Class000/v.avi 3\n", "line 1: the label is 3; Class000 is 1 in classInd.txt"),
        ("trainlist01.txt", "v.avi 1\n", "'v.avi' is in no folder"),
        ("trainlist01.txt", "", "split 1 has 0 training"),
        ("classInd.txt", "Class000 1\n", "must be a number and a class"),
    ],
)
def test_lists_that_cannot_be_right_are_refused(tmp_path, name, text, message):
    lists = ucf_lists(tmp_path / "s", NAMES)
    (lists / name).write_text(text)
    with pytest.raises(UsageError, match=message):
        ucf101_splits(lists)


def test_missing_lists_and_videos_on_both_sides_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"no trainlist01\.txt there"):
        ucf101_splits(tmp_path)
    with pytest.raises(UsageError, match="name the folder with the lists"):
        ucf101_splits(tmp_path / "missing")
    lists = ucf_lists(tmp_path / "s", NAMES)
    (lists / "testlist02.txt").unlink()
    with pytest.raises(UsageError, match=r"testlist02\.txt is missing"):
        ucf101_splits(lists)
    lists = ucf_lists(tmp_path / "s", NAMES)
    (lists / "testlist01.txt").write_text("Class000/v_Class000_g08_c01.avi\n")
    with pytest.raises(UsageError, match="is a training and a test video"):
        ucf101_splits(lists)


def hmdb_set(folder):
    labels = ["brush_hair", "cartwheel", "catch"]
    lists = folder / "hmdb"
    lists.mkdir()
    rows, kinds = {}, []
    for label in labels:
        names = [f"My_{label}_#{n}_{label}_u_nm_np1_fr_goo_{n % 3}" for n in range(20)]
        for split in (1, 2, 3):
            use = [1 if (n + split) % 4 in (0, 1) else 2 if (n + split) % 4 == 2 else 0 for n in range(20)]
            text = "".join(f"{name}.avi {u} \n" for name, u in zip(names, use, strict=True))
            (lists / f"{label}_test_split{split}.txt").write_text(text)
        rows |= {f"{label}/{name}": None for name in names}
        kinds += [labels.index(label)] * 20
    return file_of(folder / "h.h5", dict(zip(rows, planted(kinds), strict=True))), lists


def test_hmdb51_uses_ones_for_training_and_twos_for_tests(tmp_path):
    file, lists = hmdb_set(tmp_path)
    found = p3dfeat.evaluate_hmdb51(file, lists, c=1.0)
    assert [row.values["training videos"] for row in found.rows[:3]] == [30] * 3
    assert [row.values["test videos"] for row in found.rows[:3]] == [15] * 3
    assert found.result["accuracy"] == 100.0
    splits = hmdb51_splits(lists)
    assert set(splits[0].train.values()) == {"brush_hair", "cartwheel", "catch"}
    (lists / "catch_test_split1.txt").write_text("a.avi 3\n")
    with pytest.raises(UsageError, match="line 1: must be a file name and 0, 1 or 2"):
        hmdb51_splits(lists)


@pytest.mark.parametrize(
    ("id", "of"),
    [
        ("Archery/v_Archery_g08_c03", "archery/v_archery_g08"),
        ("brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0", "brush_hair/april_09_brush_hair"),
        ("plain", "plain"),
    ],
)
def test_recordings_come_from_the_data_sets_own_names(id, of):
    assert recording(id) == of


# Scenes.


def test_scenes_leave_one_video_out(tmp_path):
    kinds = np.arange(24) % 4
    rows = planted(kinds)
    rows[0] = rows[1]  # shows the next class: its own label must not help
    ids = [f"scene{kind}/{number}" for number, kind in enumerate(kinds)]
    found = p3dfeat.evaluate_scenes(file_of(tmp_path / "f.h5", dict(zip(ids, rows, strict=True))))
    assert found.result == {"accuracy": pytest.approx(100 * 23 / 24), "test videos": 24}
    assert [row.name for row in found.rows] == ["scene0", "scene1", "scene2", "scene3", "all"]
    assert found.wrong[0].id == "scene0/0"
    assert any("extract --mirror" in note for note in found.notes)


def test_scores_do_not_depend_on_the_change_of_axes_for_few_videos(tmp_path):
    """Fewer videos than numbers: rows are replaced by shorter ones with the same products."""
    from p3dfeat.evaluation.classification import compact

    rows = planted(np.arange(20) % 4, width=300)
    short = compact(rows)
    assert short.shape == (20, 20)
    np.testing.assert_allclose(short @ short.T, rows @ rows.T, rtol=1e-5)


# Any folder.


def test_a_folder_is_evaluated_by_recording(tmp_path):
    names = ucf_names(3, 10, 3)
    rng = np.random.default_rng(0)
    own = {(label, group): rng.gamma(1.0, 1.0, 64) for _, label, group in names}
    rows = {id: own[label, group] + 0.01 * rng.standard_normal(64) for id, label, group in names}
    file = file_of(tmp_path / "f.h5", rows)
    leaking = p3dfeat.evaluate_folder(file, c=10.0).result["accuracy"]
    honest = p3dfeat.evaluate_folder(file, c=10.0, groups=r"re:(.*_g\d+)_c\d+").result["accuracy"]
    assert leaking > 90  # the other clips of a recording are among the training videos
    assert honest < 60
    groups = tmp_path / "groups.csv"
    groups.write_text("id,label\n" + "".join(f"{id},{id[:-4]}\n" for id in rows))
    assert p3dfeat.evaluate_folder(file, c=10.0, groups=groups).result["accuracy"] == honest


def test_classes_of_one_video_and_videos_without_a_label_are_left_out(tmp_path):
    kinds = np.arange(20) % 2
    rows = dict(zip([f"v{n}" for n in range(20)], planted(kinds), strict=True))
    labels = {f"v{n}": f"class {kind}" for n, kind in enumerate(kinds)} | {"v3": "alone"}
    del labels["v4"]
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    file = file_of(tmp_path / "f.h5", rows)
    found = p3dfeat.evaluate_folder(file, labels=tmp_path / "labels.json", c=1.0, folds=3)
    assert found.left_out == {"v3": "the only video of its class", "v4": "no label"}
    assert found.result["accuracy"] == 100.0
    with pytest.raises(UsageError, match="strict: 2 videos left out"):
        p3dfeat.evaluate_folder(file, labels=tmp_path / "labels.json", c=1.0, folds=3, strict=True)


def test_empty_labels_and_groups_are_none(tmp_path):
    ids = [f"v{n}" for n in range(20)]
    file = file_of(tmp_path / "f.h5", dict(zip(ids, planted(np.arange(20) % 2), strict=True)))
    labels = tmp_path / "l.csv"
    labels.write_text("id,label\n" + "".join(f"{id},{'' if n < 4 else n % 2}\n" for n, id in enumerate(ids)))
    found = p3dfeat.evaluate_folder(file, labels=labels, c=1.0, folds=3)
    assert found.confusion.labels == ("0", "1")
    assert set(found.left_out.values()) == {"no label"}
    groups = tmp_path / "g.csv"
    groups.write_text("video,recording\n" + "".join(f"{id},{'' if n < 6 else n}\n" for n, id in enumerate(ids)))
    with pytest.raises(UsageError, match=r"groups .*: none for 2 videos"):
        p3dfeat.evaluate_folder(file, labels=labels, groups=groups, c=1.0, folds=3)


def test_a_file_of_blank_lines_is_refused(tmp_path):
    (tmp_path / "l.csv").write_text("\n\n")
    ids = [f"c{n % 2}/v{n}" for n in range(6)]
    file = file_of(tmp_path / "f.h5", dict(zip(ids, planted(np.arange(6) % 2), strict=True)))
    for option in ("labels", "groups"):
        with pytest.raises(UsageError, match=rf"{option} .*l\.csv: empty"):
            p3dfeat.evaluate_folder(file, **{option: tmp_path / "l.csv"})


@pytest.mark.parametrize("learner", ["svm", "logistic", "ridge"])
def test_folds_of_one_class_do_not_choose_c(tmp_path, learner):
    ids = [f"c{kind}/r{recording}-{n}" for kind in (0, 1) for recording in (0, 1) for n in range(3)]
    file = file_of(tmp_path / "f.h5", dict(zip(ids, planted([int(id[1]) for id in ids]), strict=True)))
    with pytest.raises(UsageError, match="each fold has training videos of one class only; give --c"):
        p3dfeat.evaluate_folder(file, groups=r"re:(.*)-", folds=2, learner=learner)
    assert p3dfeat.evaluate_folder(file, groups=r"re:(.*)-", folds=2, learner=learner, c=1.0).result["accuracy"] == 100


def test_a_fold_without_a_class_in_training_is_told(tmp_path):
    kinds = [0] * 9 + [1] * 9 + [2] * 2
    ids = [f"c{kind}/v{n}" for n, kind in enumerate(kinds)]
    file = file_of(tmp_path / "f.h5", dict(zip(ids, planted(kinds), strict=True)))
    groups = tmp_path / "g.json"
    groups.write_text(json.dumps({id: "both" if id.startswith("c2") else id for id in ids}))
    found = p3dfeat.evaluate_folder(file, groups=groups, c=1.0, folds=3)
    assert any("1 class (c2) without a training video; they are wrong" in note for note in found.notes)
    assert {each.id for each in found.wrong} == {"c2/v18", "c2/v19"}
    assert {each.margin for each in found.wrong} == {float("inf")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": "re:("}, "not a pattern"),
        ({"groups": "re:abc"}, "must have a group"),
        ({"groups": "re:(nothing)"}, "none for 12 videos"),
        ({"labels": "missing.csv"}, "No such file"),
        ({"folds": 13}, "13 folds of 12 recordings"),
        ({"c": 0.0}, "c 0.0: must be more than 0"),
        ({"learner": "forest"}, "learner 'forest': unknown; known are svm, logistic, ridge"),
        ({"save": "head.pkl"}, r"a classifier is a \.safetensors file"),
        ({"layer": "res5c"}, "layer 'res5c' is not stored"),
        ({"seed": 2**32}, "seed 4294967296: must be below"),
        ({"fuse": "missing.h5"}, "missing.h5"),
    ],
)
def test_options_that_cannot_be_used_are_refused(tmp_path, options, message):
    ids = [f"c{n % 2}/v{n}" for n in range(12)]
    file = file_of(tmp_path / "f.h5", dict(zip(ids, planted(np.arange(12) % 2), strict=True)))
    with pytest.raises(UsageError, match=message):
        p3dfeat.evaluate_folder(file, **options)


def test_a_file_without_labels_or_with_one_class_is_refused(tmp_path):
    file = file_of(tmp_path / "f.h5", {f"v{n}": row for n, row in enumerate(planted([0] * 4))})
    with pytest.raises(UsageError, match="none of 4 videos has one"):
        p3dfeat.evaluate_folder(file)
    file = file_of(tmp_path / "g.h5", {f"c/v{n}": row for n, row in enumerate(planted([0] * 4))})
    with pytest.raises(UsageError, match="at least two classes"):
        p3dfeat.evaluate_folder(file)


def test_features_of_two_models_are_not_mixed(tmp_path):
    one, two = (
        file_of(tmp_path / f"{name}.h5", {f"c{n % 2}/{name}{n}": row for n, row in enumerate(planted([0, 1] * 6))}, **a)
        for name, a in (("a", {}), ("b", {"model": "other", "weights_sha256": "1" * 64}))
    )
    with pytest.raises(UsageError, match="made with other settings than"):
        p3dfeat.evaluate_folder([one, two])


def test_few_videos_per_class_are_enough_to_choose_c(tmp_path):
    ids = [f"c{n % 2}/v{n}" for n in range(6)]
    file = file_of(tmp_path / "f.h5", dict(zip(ids, planted(np.arange(6) % 2), strict=True)))
    assert p3dfeat.evaluate_folder(file, folds=3).result["accuracy"] == 100.0
    with pytest.raises(UsageError, match="4 folds, but no class has more than 3 videos"):
        p3dfeat.evaluate_folder(file, folds=4)
    two = file_of(tmp_path / "g.h5", dict(zip(ids[:4], planted(np.arange(4) % 2), strict=True)))
    with pytest.raises(UsageError, match="one training video per class; give --c"):
        p3dfeat.evaluate_folder(two, folds=2)
    assert p3dfeat.evaluate_folder(two, folds=2, c=1.0).result["accuracy"] == 100.0


# Fusion.


def fusion_set(folder, noise):
    """Two files: each tells half of the classes from each other. noise: of each file."""
    kinds = np.arange(160) % 4
    ids = [f"c{kind}/v{n}" for n, kind in enumerate(kinds)]
    files = []
    for name, seen, sd in zip(("rgb", "flow"), (kinds // 2, kinds % 2), noise, strict=True):
        rows = planted(seen, noise=sd, seed=len(files))
        files.append(file_of(folder / f"{name}.h5", dict(zip(ids, rows, strict=True)), model=name))
    return files


def test_two_files_tell_more_than_each(tmp_path):
    rgb, flow = fusion_set(tmp_path, (0.2, 0.2))
    alone = [p3dfeat.evaluate_folder(file, c=1.0).result["accuracy"] for file in (rgb, flow)]
    both = p3dfeat.evaluate_folder(rgb, fuse=[flow], c=1.0)
    assert max(alone) < 75
    assert both.result["accuracy"] > 95
    assert "fusion weights" in both.rows[0].values


def test_a_file_that_tells_nothing_gets_no_weight(tmp_path):
    kinds = np.arange(120) % 3
    ids = [f"c{kind}/v{n}" for n, kind in enumerate(kinds)]
    good = file_of(tmp_path / "good.h5", dict(zip(ids, planted(kinds, noise=1.0), strict=True)))
    noise = np.random.default_rng(0).random((120, 32)).astype(np.float32)
    bad = file_of(tmp_path / "bad.h5", dict(zip(ids, noise, strict=True)))
    alone = p3dfeat.evaluate_folder(good, c=1.0).result["accuracy"]
    both = p3dfeat.evaluate_folder(good, fuse=[bad], c=1.0)
    assert both.result["accuracy"] >= alone - 2
    assert all(float(str(row.values["fusion weights"]).split(", ")[0]) >= 0.5 for row in both.rows[:-1])


def test_videos_of_one_file_only_are_left_out(tmp_path):
    rgb, flow = fusion_set(tmp_path, (0.2, 0.2))
    p3dfeat.remove(flow, ["c0/v0"])
    found = p3dfeat.evaluate_folder(rgb, fuse=[flow], c=1.0)
    assert found.left_out == {"c0/v0": "not in every file that is fused"}
    other = file_of(tmp_path / "o.h5", {"x/y": np.ones(4)})
    with pytest.raises(UsageError, match="has no video of"):
        p3dfeat.evaluate_folder(rgb, fuse=[other])


# The effect of dimension.


def test_accuracy_falls_with_the_number_of_components(tmp_path):
    file, lists = ucf_set(tmp_path, noise=1.5)
    found = p3dfeat.evaluate_pca(file, splits=lists, dimensions=(30, 8, 3, 1), c=10.0)
    assert [row.name for row in found.rows] == ["30", "8", "3", "1", "all 32"]
    curve = [row.values["accuracy"] for row in found.rows]
    assert curve[-1] == pytest.approx(curve[0], abs=3)
    assert all(after <= before + 2 for before, after in itertools.pairwise(curve[:4]))
    assert curve[3] < curve[0] - 20
    assert found.charts[0].lines[0].x == (30.0, 8.0, 3.0, 1.0)


def test_dimensions_beyond_the_training_videos_are_left_out(tmp_path):
    ids = [f"c{n % 2}/v{n}" for n in range(12)]
    file = file_of(tmp_path / "f.h5", dict(zip(ids, planted(np.arange(12) % 2), strict=True)))
    found = p3dfeat.evaluate_pca(file, dimensions=(500, 4), folds=3, c=1.0)
    assert [row.name for row in found.rows] == ["4", "all 32"]
    assert "left out: 500 dimensions: at most 7 are possible here" in found.notes
    for dimensions in ((), (0,), (-1,)):
        with pytest.raises(UsageError, match="none from 1 to 7"):
            p3dfeat.evaluate_pca(file, dimensions=dimensions, folds=3, c=1.0)
    with pytest.raises(UsageError, match=r"dimensions \[500, 20\]: none from 1 to 7"):
        p3dfeat.evaluate_pca(file, dimensions=(500, 20), folds=3, c=1.0)
