"""ActivityNet's scores are those of a slow computation that follows the official definition word by word."""

import itertools
import json

import numpy as np
import pytest

import p3dfeat
from p3dfeat.errors import UsageError
from p3dfeat.evaluation.activitynet import Annotations, Predictions, interpolated_precision, score
from tests.evaluation.made import file_of, planted


def slow_scores(truth, predictions):
    """(top-1, top-3, mAP): loops over sorted lists, no shared code. predictions: {video: [(label, score), ...]}."""
    hits = {1: [], 3: []}
    for video, labels in truth.items():
        ranked = sorted(predictions.get(video, []), key=lambda each: -each[1])
        for k, found in hits.items():
            found.append(1.0 if any(label in labels for label, _ in ranked[:k]) else 0.0)
    classes = {label for labels in truth.values() for label in labels}
    averages = []
    for wanted in classes:
        listed = sorted(
            ((value, video) for video, each in predictions.items() for label, value in each if label == wanted),
            key=lambda each: -each[0],
        )
        positives = sum(wanted in labels for labels in truth.values())
        points, right = [(0.0, 0.0)], 0
        for rank, (_, video) in enumerate(listed, 1):
            right += video in truth and wanted in truth[video]
            points.append((right / positives, right / rank))
        recalls = sorted({recall for recall, _ in points})
        total = 0.0
        for before, recall in itertools.pairwise(recalls):
            total += (recall - before) * max(precision for r, precision in points if r >= recall)
        averages.append(total)
    return np.mean(hits[1]), np.mean(hits[3]), np.mean(averages)


def random_case(seed, videos=60, classes=7):
    rng = np.random.default_rng(seed)
    names = [f"class {number}" for number in range(classes)]
    truth = {
        f"v{number}": tuple(rng.choice(names, rng.integers(1, 3), replace=False).tolist()) for number in range(videos)
    }
    predictions = {}
    for video in [*truth, "stranger"]:
        if rng.random() < 0.9:
            some = rng.choice(names, rng.integers(1, classes + 1), replace=False)
            predictions[video] = [(str(label), float(rng.random())) for label in some]
    return truth, predictions


def as_predictions(predictions):
    return Predictions.of((video, label, value) for video, each in predictions.items() for label, value in each)


@pytest.mark.parametrize("seed", range(20))
def test_scores_are_those_of_a_slow_computation(seed):
    truth, predictions = random_case(seed)
    present = {label for labels in truth.values() for label in labels}
    predictions = {id: [each for each in found if each[0] in present] for id, found in predictions.items()}
    found = score(truth, as_predictions(predictions))
    wanted = slow_scores(truth, predictions)
    np.testing.assert_allclose((found.top1, found.top3, found.mean_average_precision), wanted, atol=1e-9)


def test_blocked_videos_are_as_if_they_were_not_there():
    truth, predictions = random_case(3)
    blocked = list(truth)[:20]
    kept = {id: labels for id, labels in truth.items() if id not in blocked}
    found = score(truth, as_predictions(predictions), blocked)
    wanted = slow_scores(kept, {id: each for id, each in predictions.items() if id not in blocked})
    np.testing.assert_allclose((found.top1, found.top3, found.mean_average_precision), wanted, atol=1e-9)
    assert found.videos == len(kept)


def test_a_video_without_a_prediction_is_wrong():
    truth = {"a": ("x",), "b": ("y",)}
    found = score(truth, Predictions.of([("a", "x", 1.0)]))
    assert (found.top1, found.top3, found.mean_average_precision) == (0.5, 0.5, 0.5)
    assert found.without_prediction == ("b",)


def test_any_label_of_a_video_is_a_hit_and_the_average_hit_counts_them():
    truth = {"a": ("x", "y"), "b": ("z",)}
    found = score(truth, Predictions.of([("a", "x", 1.0), ("b", "z", 1.0)]))
    assert (found.top3, found.average_hits) == (1.0, 0.75)


def test_the_same_label_twice_is_right_once():
    truth = {"a": ("x",), "b": ("x",)}
    twice = [("a", "x", 3.0), ("a", "x", 2.0), ("b", "x", 1.0)]
    assert score(truth, Predictions.of(twice)).mean_average_precision == pytest.approx((1 + 2 / 3) / 2)


def test_precision_is_the_best_at_any_higher_recall():
    assert interpolated_precision(np.array([False, True, True]), 2) == pytest.approx(2 / 3)
    assert interpolated_precision(np.zeros(0, bool), 3) == 0.0


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        ([("a", "unknown", 1.0)], "'unknown' is not one of the subset's 2 labels"),
        ([("a", "x", float("nan"))], "the score of a is not finite"),
    ],
)
def test_predictions_that_cannot_be_scored_are_refused(predictions, message):
    with pytest.raises(UsageError, match=message):
        score({"a": ("x",), "b": ("y",)}, Predictions.of(predictions))


def made_set(folder, *, labels=6, train=20, test=8, flip=0.0, seed=0):
    """(features, annotations): ActivityNet's layout. flip: part of the labels that are replaced by other ones."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(labels * (train + test)) % labels
    rows = planted(kinds, seed=seed)
    ids = [f"-a{number:09d}" for number in range(len(kinds))]  # YouTube's may begin with a dash
    said = np.where(rng.random(len(kinds)) < flip, (kinds + rng.integers(1, labels, len(kinds))) % labels, kinds)
    database = {
        id: {
            "subset": "training" if number < labels * train else "validation",
            "duration": 10.0,
            "annotations": [{"label": f"class {label}", "segment": [0, s]} for s in (1, 2)],
        }
        for number, (id, label) in enumerate(zip(ids, said, strict=True))
    }
    database["hidden"] = {"subset": "testing", "duration": 1.0, "annotations": []}
    annotations = folder / "anet.json"
    annotations.write_text(json.dumps({"version": "1.3", "database": database, "taxonomy": []}))
    return file_of(folder / "anet.h5", {f"v_{id}": row for id, row in zip(ids, rows, strict=True)}), annotations


def test_planted_classes_are_found_and_written_predictions_score_the_same(tmp_path):
    file, annotations = made_set(tmp_path)
    out = tmp_path / "results.json"
    found = p3dfeat.evaluate_activitynet(file, annotations, write_predictions=out)
    assert found.result["top-1"] == 100.0
    assert found.result["mAP"] == pytest.approx(100.0)
    scored = p3dfeat.evaluate_activitynet([], annotations, predictions=out).result
    assert {name: scored[name] for name in ("top-1", "top-3", "mAP")} == {
        name: found.result[name] for name in ("top-1", "top-3", "mAP")
    }


def test_ten_per_cent_of_wrong_labels_show(tmp_path):
    file, annotations = made_set(tmp_path, train=40, test=40, flip=0.1)
    result = p3dfeat.evaluate_activitynet(file, annotations, c=1.0).result
    assert 84 < result["top-1"] < 95


def test_videos_without_features_count_as_the_protocol_says(tmp_path):
    file, annotations = made_set(tmp_path)
    database = json.loads(annotations.read_text())
    more = {f"gone{n}": {"subset": "validation", "annotations": [{"label": f"class {n % 6}"}]} for n in range(48)}
    database["database"] |= more
    annotations.write_text(json.dumps(database))
    left = p3dfeat.evaluate_activitynet(file, annotations, c=1.0)
    assert (left.result["top-1"], left.result["videos"]) == (100.0, 48)
    assert left.left_out["gone0"] == "no features"
    wrong = p3dfeat.evaluate_activitynet(file, annotations, c=1.0, protocol="official")
    assert (wrong.result["top-1"], wrong.result["videos"]) == (50.0, 96)
    assert wrong.result["mAP"] == pytest.approx(50.0)
    blocked = tmp_path / "blocked.json"
    blocked.write_text(json.dumps(list(more)))
    spared = p3dfeat.evaluate_activitynet(file, annotations, c=1.0, protocol="official", blocked=blocked)
    assert (spared.result["top-1"], spared.result["videos"]) == (100.0, 48)
    with pytest.raises(UsageError, match="strict: 48 videos left out"):
        p3dfeat.evaluate_activitynet(file, annotations, c=1.0, strict=True)


def test_a_class_whose_validation_videos_have_no_features_is_not_counted(tmp_path):
    file, annotations = made_set(tmp_path)
    database = json.loads(annotations.read_text())
    gone = [id for id, entry in database["database"].items() if entry["subset"] == "validation"][:8]
    for id in gone:
        database["database"][id]["annotations"] = [{"label": "class 5"}]
    for id, entry in database["database"].items():  # no other validation video is of this class
        if entry["subset"] == "validation" and id not in gone and entry["annotations"][0]["label"] == "class 5":
            entry["annotations"] = [{"label": "class 0"}]
    annotations.write_text(json.dumps(database))
    p3dfeat.remove(file, [f"v_{id}" for id in gone])
    out = tmp_path / "r.json"
    left = p3dfeat.evaluate_activitynet(file, annotations, c=1.0, write_predictions=out)
    assert left.result["classes"] == 5
    assert p3dfeat.evaluate_activitynet([], annotations, predictions=out).result["classes"] == 6


def test_blocked_videos_are_no_fault_of_the_features(tmp_path):
    file, annotations = made_set(tmp_path)
    ids = [id for id, e in json.loads(annotations.read_text())["database"].items() if e["subset"] == "validation"]
    (tmp_path / "b.json").write_text(json.dumps([f"v_{ids[0]}", ids[1], "stranger"]))
    found = p3dfeat.evaluate_activitynet(file, annotations, c=1.0, blocked=tmp_path / "b.json", strict=True)
    assert found.result["videos"] == len(ids) - 2
    assert any("2 videos blocked" in sentence for sentence in found.protocol)


def test_two_videos_of_one_youtube_id_are_refused(tmp_path):
    _, annotations = made_set(tmp_path)
    twice = file_of(tmp_path / "t.h5", {"a/v_-a000000000": np.ones(32), "b/-a000000000": np.ones(32)})
    with pytest.raises(UsageError, match="-a000000000: could be a/v_-a000000000 or b/-a000000000"):
        p3dfeat.evaluate_activitynet(twice, annotations)


def test_a_video_with_invalid_numbers_is_left_out_once(tmp_path):
    file, annotations = made_set(tmp_path)
    with p3dfeat.open_features(file) as features:
        rows = {id: video.pooled for id, video in features.items()}
    rows["v_-a000000003"] = np.full(32, np.nan)
    found = p3dfeat.evaluate_activitynet(file_of(tmp_path / "n.h5", rows), annotations, c=1.0)
    assert found.left_out == {"v_-a000000003": "not all numbers are finite"}


def test_result_files_of_other_ids_are_refused(tmp_path):
    _, annotations = made_set(tmp_path)
    (tmp_path / "r.json").write_text('{"results": {"v_-a000000150": [{"label": "class 1", "score": 1}]}}')
    with pytest.raises(UsageError, match="none of its ids, such as 'v_-a000000150', is in the subset"):
        p3dfeat.evaluate_activitynet([], annotations, predictions=tmp_path / "r.json")
    with pytest.raises(UsageError, match="save: not with --predictions"):
        p3dfeat.evaluate_activitynet([], annotations, predictions=tmp_path / "r.json", save="h.safetensors")


@pytest.mark.parametrize(
    ("entry", "labels"),
    [
        ({"subset": "s", "annotations": None}, ()),
        ({"subset": "s"}, ()),
        ({"subset": "s", "annotations": [{"segment": [0, 1]}, {"label": "x"}]}, ("x",)),
    ],
)
def test_annotations_without_a_label_say_nothing(tmp_path, entry, labels):
    (tmp_path / "a.json").write_text(json.dumps({"database": {"v": entry}}))
    assert Annotations.read(tmp_path / "a.json").subsets == {"s": {"v": labels}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"results": {"a": [{"label": "class 1", "score": 1' + "0" * 400 + "}]}}", "is no number"),
        ("[1]", "must be a JSON object"),
        ("{}", "no results there"),
        ('{"results": {"a": [{"label": "class 1"}]}}', "the score None is no number"),
        ('{"results": {"a": [{"label": "class 1", "score": 1, "segment": [0, 1]}]}}', "has segments"),
        ('{"results": {"a": "x"}}', "must be a list of labels and scores"),
        ("{", "not JSON"),
    ],
)
def test_result_files_that_are_none_are_refused(tmp_path, text, message):
    _, annotations = made_set(tmp_path)
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(UsageError, match=message):
        p3dfeat.evaluate_activitynet([], annotations, predictions=tmp_path / "r.json")


def test_features_and_predictions_exclude_each_other(tmp_path):
    file, annotations = made_set(tmp_path)
    for files, predictions in (([], None), (file, "r.json")):
        with pytest.raises(UsageError, match="not both"):
            p3dfeat.evaluate_activitynet(files, annotations, predictions=predictions)
