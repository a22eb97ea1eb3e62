"""A recycled net begins as the 2-D one: a repeated frame gives its pool5 and logits."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from p3dfeat.errors import UsageError, WeightsError
from p3dfeat.nets import P3D
from p3dfeat.zoo import convert, load_model, locate_resnet, recycle, save
from tests.reference_weights import GLUONCV_FILE
from tests.zoo.flat_resnet import flat_resnet, random_weights, transformers_names

TOLERANCE = 1e-5  # relative L2; fp32 in another order of operations
SMALL = (2, 2, 2, 1)


def relative_l2(found, expected) -> float:
    return float(np.linalg.norm(np.asarray(found) - np.asarray(expected)) / np.linalg.norm(np.asarray(expected)))


def net_of(converted) -> P3D:
    net = P3D(converted.card.architecture)
    net.load_state_dict(converted.state, strict=False)
    return net.eval()


def repeated(picture: torch.Tensor, length: int = 16) -> torch.Tensor:
    return picture[:, :, None].expand(-1, -1, length, -1, -1)


@pytest.mark.parametrize("kinds", ["A", "B", "C", "ABC", "CB"])
@pytest.mark.parametrize("size", [(64, 64), (71, 93)])
def test_a_repeated_frame_gives_the_flat_networks_numbers(tmp_path, kinds, size):
    weights, picture = random_weights(SMALL), torch.randn(2, 3, *size)
    save_file(weights, tmp_path / "resnet.safetensors")
    net = net_of(recycle(locate_resnet(str(tmp_path / "resnet.safetensors")), kinds=kinds))
    pool5, logits = flat_resnet(weights, picture)
    with torch.no_grad():
        found = net(repeated(picture), layers=("pool5", "logits"))
    assert relative_l2(found["pool5"], pool5) < TOLERANCE
    assert relative_l2(found["logits"], logits) < TOLERANCE


@pytest.mark.parametrize(("depth", "stages"), [(63, (3, 4, 6, 3)), (131, (3, 4, 23, 3)), (199, (3, 8, 36, 3))])
def test_resnets_of_every_published_depth_can_be_recycled(tmp_path, depth, stages):
    weights, picture = random_weights(stages, width=4), torch.randn(1, 3, 64, 64)
    save_file(weights, tmp_path / "resnet.safetensors")
    converted = recycle(locate_resnet(str(tmp_path / "resnet.safetensors")))
    assert converted.card.architecture.depth == depth
    with torch.no_grad():
        found = net_of(converted)(repeated(picture), layers=("pool5",))["pool5"]
    assert relative_l2(found, flat_resnet(weights, picture)[0]) < TOLERANCE


def test_what_moves_is_seen_once_t_is_trained(tmp_path):
    """T begins as the identity, but it is there: another T gives another answer for frames that differ."""
    save_file(random_weights(SMALL), tmp_path / "resnet.safetensors")
    net = net_of(recycle(locate_resnet(str(tmp_path / "resnet.safetensors"))))
    clip = torch.randn(1, 3, 16, 64, 64)
    with torch.no_grad():
        before = net(clip)["logits"]
        assert torch.allclose(before, net(clip.flip(2))["logits"], rtol=1e-3)  # which way time runs is not seen yet
        for module in (net.res2a.conv_temporal, net.res3a.conv_temporal):
            module.weight[:, :, 0] += 0.5 * torch.eye(len(module.weight))[:, :, None, None]
        assert relative_l2(net(clip)["logits"], net(clip.flip(2))["logits"]) > 1e-3


def test_transformers_resnets_are_recycled_with_their_labels_and_preprocessing(tmp_path):
    weights, picture = random_weights(SMALL), torch.randn(1, 3, 64, 64)
    save_file(transformers_names(weights), tmp_path / "model.safetensors")
    labels = {str(number): f"thing {number}" for number in range(10)}
    (tmp_path / "config.json").write_text(json.dumps({"id2label": labels, "downsample_in_bottleneck": False}))
    preprocessing = {"size": {"shortest_edge": 160}, "crop_pct": 0.8, "resample": 3, "image_mean": [0.5, 0.5, 0.5]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    converted = recycle(locate_resnet(str(tmp_path)))
    spec = converted.card.input
    assert (spec.short_side, spec.crop, spec.interpolation, spec.mean) == (200, (160, 160), "bicubic", (0.5, 0.5, 0.5))
    assert converted.card.labels == tuple(labels.values())
    with torch.no_grad():
        found = net_of(converted)(repeated(picture))["logits"]
    assert relative_l2(found, flat_resnet(weights, picture)[1]) < TOLERANCE


def test_timms_config_says_how_pictures_are_made(tmp_path):
    save_file(random_weights(SMALL, classes=1000), tmp_path / "model.safetensors")
    timm = {"input_size": [3, 288, 288], "crop_pct": 0.95, "interpolation": "bicubic", "mean": [0.1, 0.2, 0.3]}
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet50", "pretrained_cfg": timm}))
    card = recycle(locate_resnet(str(tmp_path))).card
    assert (card.input.short_side, card.input.crop, card.input.mean) == (303, (288, 288), (0.1, 0.2, 0.3))
    assert card.label_set == "imagenet1k"
    assert card.labels[0] == "tench"


def test_a_recycled_net_is_saved_and_loaded_with_its_arithmetic(tmp_path):
    weights, picture = random_weights(SMALL), torch.randn(1, 3, 64, 64)
    save_file(weights, tmp_path / "resnet.safetensors")
    save(recycle(locate_resnet(str(tmp_path / "resnet.safetensors"))), tmp_path / "p3d.safetensors")
    model = load_model(tmp_path / "p3d.safetensors")
    assert model.card.architecture.family == "recycled"
    with torch.no_grad():
        found = model.net(repeated(picture))["logits"]
    assert relative_l2(found, flat_resnet(weights, picture)[1]) < TOLERANCE


def test_a_flat_resnet_is_no_model_as_it_is(tmp_path):
    save_file(random_weights(SMALL), tmp_path / "resnet.safetensors")
    with pytest.raises(WeightsError, match="a 2-D ResNet; p3dfeat weights inflate makes a P3D of it"):
        convert(tmp_path / "resnet.safetensors")


@pytest.mark.parametrize(
    ("change", "config", "message"),
    [
        (lambda w: w.pop("layer2.0.bn2.bias"), {}, "tensor res3a.bn_spatial.bias is missing"),
        (lambda w: w.update({"layer1.0.se.weight": torch.zeros(1)}), {}, "layer1.0.se.weight belongs to no layer"),
        (lambda w: w.pop("layer1.0.conv3.weight"), {}, "other blocks than bottlenecks"),
        (
            lambda w: w.update({"layer1.0.conv2.weight": torch.zeros(8, 1, 3, 3)}),
            {},
            r"res2a.conv_spatial.weight is \(8, 1, 3, 3\)",
        ),
        (lambda w: None, {"architecture": "resnetaa50"}, "its config says resnetaa50"),
        (lambda w: None, {"downsample_in_bottleneck": True}, "strides in its first 1x1"),
        (lambda w: None, {"pretrained_cfg": {"crop_pct": 0}}, "preprocessing in its config makes no sense"),
        (lambda w: None, {"pretrained_cfg": {"mean": "x"}}, "mean"),
        (lambda w: None, {"pretrained_cfg": 3}, "config"),
        (lambda w: None, {"pretrained_cfg": {"input_size": {"a": 1}}}, "makes no sense"),
        (lambda w: None, {"pretrained_cfg": {"input_size": [3, 224, 224.5]}}, "must be a whole number"),
        (lambda w: None, {"architecture": "seresnet50"}, "its config says seresnet50"),
        (lambda w: None, {"hidden_act": "gelu"}, "activates by gelu"),
        (lambda w: None, {"label_names": ["\x1b[31m"] * 10}, "holds characters that are no text"),
        (lambda w: None, {"pretrained_cfg": {"license": "\x07"}}, "licence: .* holds characters that are no text"),
    ],
)
def test_what_cannot_be_recycled_is_named(tmp_path, change, config, message):
    weights = random_weights(SMALL)
    change(weights)
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=message):
        recycle(locate_resnet(str(tmp_path)))


@pytest.mark.parametrize("text", ["nothing.safetensors", "no/such/folder", "."])
def test_a_resnet_that_is_not_there_is_named(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match=r"no such file|without model.safetensors"):
        locate_resnet(text)


def test_a_p3d_is_not_recycled_again():
    with pytest.raises(WeightsError, match="no 2-D ResNet"):
        recycle(locate_resnet(str(GLUONCV_FILE)))


@pytest.mark.parametrize("kinds", ["", "Z"])
def test_kinds_that_are_none_are_the_callers_mistake(tmp_path, kinds):
    save_file(random_weights(SMALL), tmp_path / "resnet.safetensors")
    with pytest.raises(UsageError, match="must be a cycle of the letters"):
        recycle(locate_resnet(str(tmp_path / "resnet.safetensors")), kinds=kinds)
