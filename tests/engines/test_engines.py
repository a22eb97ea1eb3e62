"""Every engine gives the numbers of plain torch; auto takes the fastest of them that does."""

import numpy as np
import pytest
import torch

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.engines import ENGINE_CLASSES, ENGINES, OpenVINOEngine, make_engine
from p3dfeat.engines import selection as choice
from p3dfeat.engines.fuse_batch_norm import folded
from p3dfeat.engines.normalize import normalize
from p3dfeat.engines.selection import synthetic_clip, worst_error
from p3dfeat.errors import UsageError
from p3dfeat.nets import P3D, Architecture
from p3dfeat.types import Batch, Clip, Video
from p3dfeat.video import read_clips
from p3dfeat.zoo import load_model

TOLERANCE = 1e-5  # relative L2; fp32 in another order of operations
SPEC = InputSpec(resize=(37, 45), scale=1 / 255, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))


def random_net(**settings) -> P3D:
    """A net whose batch norms do something."""
    torch.manual_seed(0)
    net = P3D(Architecture(**{"stages": (2, 1, 1, 1), "classes": 5, "base_width": 8} | settings)).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            module.running_var.uniform_(0.5, 1.5)
            module.running_mean.normal_(0, 0.2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.2)
    return net


def batch_for(spec: InputSpec, clips: int = 3) -> Batch:
    shape = (clips, spec.length, *spec.size, spec.num_channels)
    return Batch(np.random.default_rng(0).integers(0, 255, shape, np.uint8))


@pytest.mark.parametrize("family", ["authors", "gluoncv", "recycled"])
@pytest.mark.parametrize("kinds", ["A", "B", "C"])
@pytest.mark.parametrize("engine", ENGINE_CLASSES.values())
def test_every_layer_of_every_net_is_that_of_plain_torch(engine, family, kinds):
    net = random_net(family=family, kinds=kinds)
    assert worst_error(engine(net, SPEC, layers=net.architecture.layers), net, SPEC) < TOLERANCE


@pytest.mark.parametrize("length", [1, 2, 3, 5, 13])
@pytest.mark.parametrize("engine", ENGINE_CLASSES.values())
def test_clips_of_any_length_that_the_net_takes(engine, length):
    net, spec = random_net(), InputSpec(resize=(33, 32), length=length)
    assert worst_error(engine(net, spec, layers=net.architecture.layers), net, spec) < TOLERANCE


@pytest.mark.parametrize(
    "spec",
    [
        InputSpec(channels="luma", resize=(32, 40), standardize=True),
        InputSpec(channels="luma", resize=(32, 40), standardize=True, scale=1 / 255, std=(0.3,)),
        InputSpec(channels="bgr", resize=(40, 40), crop=(32, 32), mean=(104.0, 117.0, 123.0)),
    ],
)
@pytest.mark.parametrize("engine", ENGINE_CLASSES.values())
def test_pictures_are_prepared_alike(engine, spec):
    net = random_net(channels=spec.num_channels)
    assert worst_error(engine(net, spec), net, spec) < TOLERANCE
    dark = Batch(np.zeros((1, 16, *spec.size, spec.num_channels), np.uint8))
    assert np.isfinite(engine(net, spec).run(dark)["pool5"]).all()


@pytest.mark.parametrize("engine", ENGINE_CLASSES.values())
def test_batches_of_any_size_follow_each_other(engine):
    runner, batch = engine(random_net(), SPEC, layers=("prob", "pool5")), batch_for(SPEC, 5)
    whole = runner.run(batch)
    assert list(whole) == ["prob", "pool5"]
    for size in (1, 4, 2, 3):
        part = runner.run(Batch(batch.frames[:size]))
        for name, rows in part.items():
            assert rows.dtype == np.float32
            assert np.allclose(rows, whole[name][:size], rtol=1e-4, atol=1e-5)
    assert np.array_equal(runner.run(batch)["pool5"], whole["pool5"])  # and what was given before is not written over


def test_folding_leaves_no_batch_norm_and_the_callers_net_alone():
    net = random_net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    taken = folded(net)
    assert not [m for m in taken.modules() if isinstance(m, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d)]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_auto_takes_the_fused_engine_on_a_cpu():
    net = random_net().train()
    assert make_engine(net, SPEC, device="cpu").name == "openvino"
    assert make_engine(net, SPEC, device="cpu", precision="fp32").name == "openvino"
    assert make_engine(net, SPEC, device="cpu", precision="bf16").name == "torch"
    assert make_engine(net, SPEC, device="cpu", engine="torch").name == "torch"
    assert net.training  # the caller's net is left as it was


def test_a_short_run_of_a_small_net_does_not_wait_for_openvino():
    small, large = random_net(), random_net(base_width=64, stages=(1, 1, 1, 1))
    assert make_engine(small, SPEC, device="cpu", short_run=True).name == "torch"
    assert make_engine(large, SPEC, device="cpu", short_run=True).name == "openvino"
    assert make_engine(small, SPEC, device="cpu", short_run=True, engine="openvino").name == "openvino"


def test_auto_does_not_take_an_engine_that_is_wrong_or_not_there(monkeypatch):
    net = random_net()
    monkeypatch.setattr(choice, "worst_error", lambda *_: 2e-4)
    assert make_engine(net, SPEC, device="cpu").name == "torch"
    monkeypatch.setattr(choice, "worst_error", lambda *_: float("nan"))
    assert make_engine(net, SPEC, device="cpu").name == "torch"
    monkeypatch.undo()
    monkeypatch.setattr(choice, "openvino_installed", lambda: False)
    assert make_engine(net, SPEC, device="cpu").name == "torch"


@pytest.mark.parametrize("error", [UsageError("not installed"), RuntimeError("this processor is not known")])
def test_auto_does_without_an_installation_that_does_not_work(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(choice, "OpenVINOEngine", fail)
    assert make_engine(random_net(), SPEC, device="cpu").name == "torch"
    with pytest.raises(type(error)):
        make_engine(random_net(), SPEC, device="cpu", engine="openvino")


def test_a_wrong_engine_is_seen(monkeypatch):
    """The check can fail: half of C's sum is left out."""
    net = random_net(kinds="C")
    other = random_net(kinds="C", family="gluoncv")
    other.load_state_dict(net.state_dict())
    assert worst_error(OpenVINOEngine(other, SPEC), net, SPEC) > 0.05


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "tensorrt"}, "engine 'tensorrt': unknown; known are auto, torch, openvino"),
        ({"engine": "openvino", "precision": "fp16"}, "computes in fp32 or int8 on the CPU"),
        ({"layers": ()}, "layers: none given"),
        ({"layers": ("pool6",)}, "layer 'pool6'"),
        ({"device": "tpu"}, "device 'tpu': unknown"),
    ],
)
def test_what_cannot_be_had_is_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        make_engine(random_net(), SPEC, **settings)


def test_every_engine_that_can_be_named_is_made(monkeypatch):
    assert {"auto", *ENGINE_CLASSES} == set(ENGINES)
    for name in ENGINE_CLASSES:
        assert make_engine(random_net(), SPEC, engine=name, device="cpu").name == name
    monkeypatch.setattr(choice, "ENGINES", (*ENGINES, "onnx"))  # listed, and nothing else
    for precision in ("auto", "int8"):
        with pytest.raises(UsageError, match="onnx"):
            make_engine(random_net(), SPEC, engine="onnx", precision=precision)


def test_without_openvino_it_is_told_how_to_get_it(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UsageError, match=r"engine 'openvino': not installed; pip install 'p3dfeat\[cpu\]'"):
        OpenVINOEngine(random_net(), SPEC)


def test_the_synthetic_clip_moves():
    frames = synthetic_clip(SPEC)
    assert frames.shape == (1, 16, 37, 45, 3)
    assert (frames[0, 0] != frames[0, 1]).mean() > 0.5


def test_engines_agree_with_plain_torch_on_real_clips(real_clips):
    """With the embedded model, whose weights are trained, and every layer of a net of random ones."""
    trained = load_model("p3d-camera")
    for net, spec in ((trained.net, trained.card.input), (random_net(), SPEC)):
        layers = net.architecture.layers
        engines = [engine(net, spec, layers=layers) for engine in ENGINE_CLASSES.values()]
        for path in sorted(real_clips.iterdir()):
            items = read_clips(Video(path.stem, str(path), path.name), spec, Sampling(clips=2, length=spec.length))
            batch = Batch(np.stack([item.frames for item in items if isinstance(item, Clip)]))
            with torch.inference_mode():
                plain = net.eval()(normalize(torch.from_numpy(batch.frames), spec).contiguous(), layers=layers)
            for engine in engines:
                for name, rows in engine.run(batch).items():
                    error = np.linalg.norm(rows - plain[name].numpy()) / np.linalg.norm(plain[name].numpy())
                    assert error < 1e-4, (path.name, engine.name, name)
