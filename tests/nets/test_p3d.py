"""The nets' shapes, names and limits."""

import pytest
import torch

from p3dfeat.errors import ShapeError, UsageError
from p3dfeat.nets import P3D, Architecture

SMALL = Architecture((2, 2, 2, 1), classes=5, base_width=4)


@pytest.mark.parametrize(("depth", "blocks"), [(63, (3, 4, 6, 3)), (131, (3, 4, 23, 3)), (199, (3, 8, 36, 3))])
def test_published_depths_have_the_published_blocks(depth, blocks):
    architecture = Architecture.of_depth(depth)
    assert architecture.stages == blocks
    assert architecture.depth == depth
    assert architecture.feature_width == 2048


@pytest.mark.parametrize(("depth", "millions"), [(63, 25.7), (199, 66.5)])
def test_published_nets_have_the_published_number_of_parameters(depth, millions):
    with torch.device("meta"):
        net = P3D(Architecture.of_depth(depth))
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


@pytest.mark.parametrize("architecture", [Architecture.of_depth(131), SMALL, Architecture((1, 2, 1, 3), channels=2)])
def test_the_size_of_a_weights_file_is_known_without_building_the_net(architecture):
    with torch.device("meta"):
        state = P3D(architecture).state_dict()
    stored = sum(value.numel() for name, value in state.items() if not name.endswith("num_batches_tracked"))
    assert architecture.num_weights == stored


def test_p3d_199_names_and_kinds_its_blocks_as_the_authors_do():
    kinds = Architecture.of_depth(199).block_kinds()
    expected = {"res2a": "A", "res2b": "B", "res2c": "C", "res3a": "A", "res3b7": "B", "res4a": "C", "res4b35": "B"}
    assert {name: kinds[name] for name in expected} == expected
    assert Architecture.of_depth(199).layers[-6:] == ("res5a", "res5b", "res5c", "pool5", "logits", "prob")


@pytest.mark.parametrize("kinds", ["A", "B", "C", "ABC", "BCA", "AB", "CCA"])
@pytest.mark.parametrize("family", ["authors", "gluoncv", "recycled"])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_any_kind_family_and_number_of_channels_runs(kinds, family, channels):
    net = P3D(Architecture((1, 2, 1, 1), kinds=kinds, family=family, channels=channels, classes=7, base_width=4)).eval()
    found = net(torch.randn(2, channels, 16, 32, 40), layers=("pool5", "logits", "prob"))
    assert found["pool5"].shape == (2, 128)
    assert found["logits"].shape == (2, 7)
    assert torch.allclose(found["prob"].sum(1), torch.ones(2))


def test_every_layer_comes_from_one_pass_in_the_order_asked():
    net = P3D(SMALL).eval()
    x, calls = torch.randn(1, 3, 16, 32, 32), []
    net.conv1.register_forward_hook(lambda *_: calls.append(1))
    layers = tuple(reversed(SMALL.layers))
    found = net(x, layers=layers)
    assert tuple(found) == layers
    assert calls == [1]
    assert found["pool1"].shape == (1, 4, 8, 8, 8)
    assert found["res4b1"].shape == (1, 64, 2, 2, 2)
    assert found["res5a"].shape == (1, 128, 1, 1)
    for name in layers:  # later layers have not written over earlier ones
        assert torch.equal(found[name], net(x, layers=(name,))[name])


def test_a_pass_ends_at_the_deepest_layer_asked_for():
    net = P3D(SMALL).eval()
    reached = []
    net.get_submodule("res3a").register_forward_hook(lambda *_: reached.append("res3a"))
    net(torch.randn(1, 3, 16, 32, 32), layers=("pool1", "res2b"))
    assert reached == []


@pytest.mark.parametrize("length", range(1, 17))
def test_the_authors_pools_take_any_length_to_16(length):
    assert P3D(SMALL).eval()(torch.randn(1, 3, length, 17, 23))["logits"].shape == (1, 5)


@pytest.mark.parametrize(
    ("family", "shape", "message"),
    [
        ("authors", (17, 32, 32), "17 frames.*1 to 16"),
        ("gluoncv", (15, 32, 32), "15 frames.*16 to 31"),
        ("gluoncv", (32, 32, 32), "32 frames.*16 to 31"),
        ("authors", (16, 2, 32), "2x32.*at least 3x3"),
    ],
)
def test_an_input_the_pools_cannot_take_is_refused_in_words(family, shape, message):
    net = P3D(Architecture((1, 1, 1, 1), family=family, classes=3, base_width=4))
    with pytest.raises(ShapeError, match=message):
        net(torch.randn(1, 3, *shape))


@pytest.mark.parametrize("family", ["authors", "gluoncv"])
def test_the_limits_stated_are_the_limits_met(family):
    """check_input and the pools agree, at every size near the border."""
    net = P3D(Architecture((1, 1, 1, 1), family=family, classes=3, base_width=2)).eval()
    for length in (1, 2, 15, 16, 17, 31, 32):
        for size in (1, 2, 3, 4):
            x = torch.randn(1, 3, length, size, size + 1)
            try:
                net.architecture.check_input(length, size, size + 1)
            except ShapeError:
                with pytest.raises((RuntimeError, AssertionError)):
                    _unchecked(net, x)
            else:
                assert _unchecked(net, x).shape == (1, 3)


def _unchecked(net: P3D, x: torch.Tensor) -> torch.Tensor:
    *_, (name, _), (_, _) = activations = list(net._activations(x))
    assert name == "logits"
    return activations[-2][1]


@pytest.mark.parametrize("shape", [(3, 16, 32, 32), (1, 2, 16, 32, 32)])
def test_a_tensor_of_the_wrong_shape_is_refused(shape):
    with pytest.raises(ShapeError, match=r"takes \(N, 3, T, H, W\)"):
        P3D(SMALL)(torch.randn(*shape))


def test_an_unknown_layer_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match=r"'fc7': not in this network; it has pool1, res2a"):
        P3D(SMALL)(torch.randn(1, 3, 16, 32, 32), layers=("fc7",))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stages": (1, 2, 3)}, "stages"),
        ({"stages": (1, 0, 3, 1)}, "stages"),
        ({"kinds": "ABD"}, "kinds"),
        ({"kinds": ""}, "kinds"),
        ({"family": "caffe"}, "family 'caffe'"),
        ({"channels": 0}, "channels"),
        ({"base_width": 0}, "base_width"),
    ],
)
def test_an_impossible_architecture_is_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        Architecture(**settings)


def test_an_unpublished_depth_is_refused():
    with pytest.raises(UsageError, match="known are 63, 131, 199"):
        Architecture.of_depth(50)


def test_block_letters_go_on_after_z():
    assert Architecture((30, 1, 1, 1)).stage_blocks(2)[25:28] == ("res2z", "res2aa", "res2ab")
