"""Both families give the numbers of the software they come from."""

import json

import numpy as np
import pytest
import torch

from tests.reference_weights import GOLDEN, caffe_net, gluoncv_net

TOLERANCE = 1e-4  # float32 rounding alone gives 6e-6; the smallest real mistake in the arithmetic gives 5e-2
CASES = json.loads(str(np.load(GOLDEN / "caffe_small_expected.npz")["meta"]))["cases"]


def relative_l2(found: torch.Tensor, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found.numpy() - expected) / np.linalg.norm(expected))


def caffe_input(case: str) -> torch.Tensor:
    x = torch.from_numpy(np.load(GOLDEN / "caffe_small_input.npz")["data"]).float()
    slices = {"main": x, "h58w61": x[:1, :, :, :58, :61], "l12": x[1:, :, :12]}
    return (slices | {"l9h60": x[:1, :, :9, :60], "l1": x[:1, :, :1]})[case]


@pytest.mark.parametrize("case", CASES)
def test_the_authors_family_equals_caffe(case):
    expected = np.load(GOLDEN / "caffe_small_expected.npz")
    with torch.no_grad():
        found = caffe_net()(caffe_input(case), layers=("pool5", "logits", "prob"))
    for layer, value in found.items():
        assert relative_l2(value, expected[f"{case}_{layer}"]) < TOLERANCE


def test_inner_layers_of_the_authors_family_equal_caffe():
    expected = np.load(GOLDEN / "caffe_small_expected.npz")
    with torch.no_grad():
        found = caffe_net()(caffe_input("main"), layers=("pool1", "res3b1", "res4b1", "res5a"))
    for layer, value in found.items():
        blob = expected[f"main_{layer}"]
        assert value.shape[1:] == blob.shape[1:]
        assert relative_l2(value[: len(blob)], blob) < TOLERANCE


def test_the_gluoncv_family_equals_mxnet():
    expected = np.load(GOLDEN / "gluoncv_small_expected.npz")
    x = torch.from_numpy(np.random.default_rng(7).normal(0, 1, (2, 3, 16, 64, 64)).astype(np.float32))
    with torch.no_grad():
        found = gluoncv_net()(x, layers=("pool5", "logits"))
    for layer, value in found.items():
        assert relative_l2(value, expected[layer]) < TOLERANCE


@pytest.mark.parametrize("other", ["gluoncv"])
def test_the_wrong_familys_arithmetic_is_far_off(other):
    """The check above can fail: the same weights in the other family's arithmetic do not pass it."""
    net = caffe_net()
    architecture = type(net.architecture)((2, 2, 2, 1), classes=10, base_width=4, family=other)
    wrong = type(net)(architecture)
    wrong.load_state_dict(net.state_dict())
    with torch.no_grad():
        found = wrong.eval()(caffe_input("main"), layers=("pool5",))["pool5"]
    assert relative_l2(found, np.load(GOLDEN / "caffe_small_expected.npz")["main_pool5"]) > 0.05
