"""From drawn videos through the embedded model to the experiments: what the network knows, they find."""

import itertools

import numpy as np
import pytest
import torch

import p3dfeat
from examples.sample_videos import camera_path, colour_scene, write_h264
from tests.cli.test_classify import MOVES as FILMED
from weights.recipes.p3d_camera.moves import render

MOVES = {name: move for name, move in FILMED.items() if name != "static"}
SCENES = 10
SPEEDS = (0.8, 1.1)
LAYERS = ("prob", "pool5", "res5a", "res4b1")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Each move over each scene at two speeds; all videos of a scene are one recording."""
    folder = tmp_path_factory.mktemp("drawn")
    for number in range(SCENES):
        scene = colour_scene(number)
        for move, speed in itertools.product(MOVES, SPEEDS):
            path = camera_path(**{name: speed * value for name, value in MOVES[move].items()})
            frames = render(scene, path, height=72, width=96, scene_width=2.6)[:32]
            (folder / "videos" / move).mkdir(parents=True, exist_ok=True)
            pixels = (frames * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
            write_h264(folder / "videos" / move / f"scene{number}-{speed}.mp4", pixels)
    p3dfeat.extract(folder / "videos", folder / "f.h5", model="p3d-camera", clips=2, layers=LAYERS)
    return folder / "f.h5"


GROUPS = r"re:/(scene\d+)-"


def test_camera_moves_are_told_apart_on_scenes_that_were_not_trained_on(file):
    found = p3dfeat.evaluate_folder(file, groups=GROUPS)
    assert found.result["accuracy"] >= 97


def test_shuffled_labels_give_chance(file, tmp_path):
    with p3dfeat.open_features(file) as features:
        ids = list(features)
    labels = np.random.default_rng(0).permutation([id.split("/")[0] for id in ids])
    (tmp_path / "l.csv").write_text("".join(f"{id},{label}\n" for id, label in zip(ids, labels, strict=True)))
    found = p3dfeat.evaluate_folder(file, labels=tmp_path / "l.csv", groups=GROUPS)
    assert found.result["accuracy"] < 30  # an eighth, and its deviation


def test_pairs_of_the_same_move_are_told_from_others(file, tmp_path):
    """Moves of a fold are in no other one, and so are never trained on."""
    with p3dfeat.open_features(file) as features:
        ids = list(features)
    rng = np.random.default_rng(0)
    lines = ["fold,id1,id2,same"]
    moves = list(MOVES)
    for fold in range(4):
        own = moves[fold], moves[fold + 4]  # such as pan left and zoom in
        for number in range(60):
            first = own[rng.integers(2)]
            second = first if number % 2 else own[1 - own.index(first)]
            pair = [rng.choice([id for id in ids if id.startswith(f"{move}/")]) for move in (first, second)]
            lines.append(f"{fold},{pair[0]},{pair[1]},{number % 2}")
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    found = p3dfeat.evaluate_aslan(file, tmp_path / "pairs.csv", layers=LAYERS, pair_normalise="zscore")
    assert found.result["accuracy"] >= 90
    assert found.result["AUC"] >= 95


def test_fewer_components_tell_less(file):
    found = p3dfeat.evaluate_pca(file, groups=GROUPS, dimensions=(40, 10, 3, 1), c=10.0)
    curve = [row.values["accuracy"] for row in found.rows[:-1]]
    assert all(after <= before + 3 for before, after in itertools.pairwise(curve))
    assert curve[0] >= 95
    assert curve[-1] < curve[0] - 20


def test_scenes_are_a_leave_one_out_of_the_same_features(file):
    assert p3dfeat.evaluate_scenes(file, c=10.0).result["accuracy"] >= 97
