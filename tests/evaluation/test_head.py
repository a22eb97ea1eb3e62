"""A classifier of one's own labels, from a labelled folder to the labels of a new video."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

import p3dfeat as package
from p3dfeat.errors import UsageError
from p3dfeat.evaluation.learning.head import Head, softmax_temperature
from tests.evaluation.made import file_of, planted
from tests.videos import panning_frames, write_video

HEAD = Head(
    *(np.eye(3, 2, dtype=np.float32), np.zeros(2, np.float32), ("left", "right"), "pool5", "l2", "svm", 0.5, "m", "0"),
    {"resize": [24, 32]},
)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Pans to the left and to the right, two speeds of each."""
    folder = tmp_path_factory.mktemp("pans")
    for number in range(6):
        for name, sign in (("left", -1), ("right", 1)):
            (folder / name).mkdir(exist_ok=True)
            frames = panning_frames(24, pixels_a_frame=sign * (2 + number % 2), seed=number)
            write_video(folder / name / f"v{number}.mp4", frames)
    return folder


@pytest.fixture(scope="module")
def trained(videos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("head")
    package.extract(videos, folder / "f.h5", model="p3d-camera", clips=2)
    found = package.evaluate_folder(folder / "f.h5", folds=3, save=folder / "mine.safetensors")
    assert found.saved == str(folder / "mine.safetensors")
    return folder


def test_new_videos_get_ones_own_labels(trained, tmp_path, p3dfeat_command):
    for name, pixels in (("left", -3), ("right", 3)):
        video = write_video(tmp_path / "new.mp4", panning_frames(40, pixels_a_frame=pixels, seed=99))
        (found,) = package.classify(video, head=trained / "mine.safetensors", timeline=True)
        assert found.predictions[0].label == name
        assert sum(each.probability for each in found.predictions) == pytest.approx(1.0, abs=1e-5)
        assert {span.label for span in found.timeline} == {name}
        code, printed, _ = p3dfeat_command("classify", video, "--head", trained / "mine.safetensors", "--json")
        assert (code, json.loads(printed)["predictions"][0]["label"]) == (0, name)


def test_probabilities_are_those_of_the_stored_descriptors(trained, videos):
    head = Head.loaded(trained / "mine.safetensors")
    with package.open_features(trained / "f.h5") as features:
        row = features["left/v0"].pooled[None]
    row = row / np.linalg.norm(row)
    (found,) = package.classify(videos / "left" / "v0.mp4", head=trained / "mine.safetensors", clips=2)
    wanted = head.probabilities(row)[0]
    assert {each.label: each.probability for each in found.predictions} == pytest.approx(
        dict(zip(head.labels, wanted, strict=True)), abs=1e-5
    )


def test_crops_are_those_of_the_training(videos, tmp_path):
    package.extract(videos, tmp_path / "f.h5", model="p3d-camera", clips=2, mirror=True)
    package.evaluate_folder(tmp_path / "f.h5", folds=3, save=tmp_path / "h.safetensors")
    head = Head.loaded(tmp_path / "h.safetensors")
    assert list(head.preprocessing["crops"]) == ["centre", "centre-mirrored"]
    with package.open_features(tmp_path / "f.h5") as features:
        row = features["right/v1"].pooled[None]
    (found,) = package.classify(videos / "right" / "v1.mp4", head=tmp_path / "h.safetensors", clips=2)
    wanted = dict(zip(head.labels, head.probabilities(row / np.linalg.norm(row))[0], strict=True))
    assert {each.label: each.probability for each in found.predictions} == pytest.approx(wanted, abs=1e-4)


def test_frames_are_those_of_the_training(videos, tmp_path):
    package.extract(videos, tmp_path / "f.h5", model="p3d-camera", clips=2, frame_interval=2, fps=20)
    package.evaluate_folder(tmp_path / "f.h5", layer="pooled", folds=3, save=tmp_path / "h.safetensors")
    head = Head.loaded(tmp_path / "h.safetensors")
    assert (head.step, head.fps, head.layer) == (2, 20.0, "pool5")
    with package.open_features(tmp_path / "f.h5") as features:
        row = features["right/v1"].pooled[None]
    (found,) = package.classify(videos / "right" / "v1.mp4", head=tmp_path / "h.safetensors", clips=2)
    wanted = dict(zip(head.labels, head.probabilities(row / np.linalg.norm(row))[0], strict=True))
    assert {each.label: each.probability for each in found.predictions} == pytest.approx(wanted, abs=1e-4)


def test_a_classifier_of_another_model_is_refused(trained, videos, tmp_path):
    other = replace(Head.loaded(trained / "mine.safetensors"), weights_sha256="0" * 64)
    other.written(tmp_path / "o.safetensors")
    with pytest.raises(UsageError, match="trained on features of p3d-camera, whose weights are not those of"):
        package.classify(videos / "left" / "v0.mp4", head=tmp_path / "o.safetensors")


def test_a_classifier_of_other_clips_is_refused(trained, videos, tmp_path):
    mine = Head.loaded(trained / "mine.safetensors")
    other = replace(mine, preprocessing={**mine.preprocessing, "resize": [1, 2]})
    other.written(tmp_path / "o.safetensors")
    with pytest.raises(UsageError, match=r"trained on clips with another resize: \[1, 2\], not \["):
        package.classify(videos / "left" / "v0.mp4", head=tmp_path / "o.safetensors")


def test_a_file_comes_back_as_it_was(tmp_path):
    HEAD.written(tmp_path / "h.safetensors")
    found = Head.loaded(tmp_path / "h.safetensors")
    for name in ("weights", "bias"):
        np.testing.assert_array_equal(getattr(found, name), getattr(HEAD, name))
    same = {name: getattr(HEAD, name) for name in ("weights", "bias")}
    assert replace(found, **same) == replace(HEAD, **same)
    written = (tmp_path / "h.safetensors").read_bytes()
    HEAD.written(tmp_path / "h.safetensors")
    assert (tmp_path / "h.safetensors").read_bytes() == written


def broken(folder, kind):
    """Files that are no classifier, or a damaged one."""
    path = folder / "h.safetensors"
    arrays = {"weights": HEAD.weights, "bias": HEAD.bias}
    HEAD.written(path)
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:100])
    elif kind == "other":
        save_file(arrays, path)
    elif kind == "labels":
        replace(HEAD, labels=("a", "b", "c")).written(path)
    elif kind == "infinite":
        replace(HEAD, weights=np.full((3, 2), np.inf, np.float32)).written(path)
    elif kind == "text":
        path.write_text("hello")
    elif kind in ("missing", "folder"):
        path.unlink()
        if kind == "folder":
            path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("cut", "damaged, or not a classifier"),
        ("other", "not a classifier; p3dfeat eval ... --save writes one"),
        ("labels", "its numbers do not fit together"),
        ("infinite", "its numbers do not fit together"),
        ("text", "damaged, or not a classifier"),
        ("missing", "no such file"),
        ("folder", "a folder"),
    ],
)
def test_files_that_are_no_classifier_are_refused(tmp_path, kind, message):
    with pytest.raises(UsageError, match=message):
        Head.loaded(broken(tmp_path, kind))


def test_rows_of_another_width_are_refused():
    with pytest.raises(UsageError, match="made for 3 numbers per video, not for 4"):
        HEAD.probabilities(np.zeros((1, 4), np.float32))


@pytest.mark.parametrize("sharpness", [0.2, 1.0, 5.0])
def test_the_temperature_makes_probabilities_honest(sharpness):
    rng = np.random.default_rng(0)
    true = rng.standard_normal((4000, 4))
    chances = np.exp(true) / np.exp(true).sum(axis=1, keepdims=True)
    classes = np.array([rng.choice(4, p=p) for p in chances])
    found = softmax_temperature(true * sharpness, classes[:, None] == np.arange(4))
    assert found == pytest.approx(sharpness, rel=0.1)


def test_probabilities_of_noisy_classes_are_as_often_right(tmp_path):
    kinds = np.arange(400) % 4
    ids = [f"c{kind}/v{n}" for n, kind in enumerate(kinds)]
    rows = planted(kinds, noise=2.5)
    file = file_of(tmp_path / "f.h5", dict(zip(ids[:200], rows[:200], strict=True)))
    package.evaluate_folder(file, save=tmp_path / "h.safetensors")
    head = Head.loaded(tmp_path / "h.safetensors")
    found = head.probabilities(rows[200:] / np.linalg.norm(rows[200:], axis=1, keepdims=True))
    right = found.argmax(axis=1) == kinds[200:]
    assert 0.4 < right.mean() < 0.99
    assert found.max(axis=1).mean() == pytest.approx(right.mean(), abs=0.1)


def test_the_metadata_is_one_json_text(tmp_path):
    from safetensors import safe_open

    HEAD.written(tmp_path / "h.safetensors")
    with safe_open(tmp_path / "h.safetensors", framework="numpy") as file:
        about = file.metadata()
    assert json.loads(about["p3dfeat classifier 1"])["labels"] == ["left", "right"]
