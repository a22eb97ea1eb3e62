"""The torch engine: devices, precisions and the same numbers as the net alone."""

import numpy as np
import pytest
import torch

from p3dfeat.config import InputSpec
from p3dfeat.engines.normalize import normalize
from p3dfeat.engines.torch_engine import TorchEngine
from p3dfeat.errors import UsageError
from p3dfeat.nets import P3D, Architecture
from p3dfeat.types import Batch

SPEC = InputSpec(resize=(32, 32), scale=1 / 255, mean=(0.45,), std=(0.25,))


@pytest.fixture(scope="module")
def net() -> P3D:
    torch.manual_seed(0)
    return P3D(Architecture((1, 1, 1, 1), classes=5, base_width=8)).eval()


@pytest.fixture(scope="module")
def batch() -> Batch:
    return Batch(np.random.default_rng(0).integers(0, 255, (3, 16, 32, 32, 3), np.uint8))


def test_it_gives_what_the_net_gives(net, batch):
    found = TorchEngine(net, SPEC, layers=("pool5", "prob", "res3a")).run(batch)
    with torch.no_grad():
        expected = net(normalize(torch.from_numpy(batch.frames), SPEC).contiguous(), layers=("pool5", "prob", "res3a"))
    for name, rows in found.items():
        assert rows.dtype == np.float32
        assert np.linalg.norm(rows - expected[name].numpy()) < 1e-5 * np.linalg.norm(rows)


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.05), ("fp16", 0.01)])
def test_lower_precision_is_near_and_really_lower(net, batch, precision, tolerance):
    full = TorchEngine(net, SPEC).run(batch)["pool5"]
    lower = TorchEngine(net, SPEC, precision=precision).run(batch)["pool5"]
    error = np.linalg.norm(lower - full) / np.linalg.norm(full)
    assert 1e-6 < error < tolerance


def test_the_floor_of_standardising_is_half_a_grey_level_whatever_the_scale():
    frames = torch.full((1, 2, 4, 4, 1), 7, dtype=torch.uint8)
    frames[0, 0, 0, 0] = 8
    plain = normalize(frames, InputSpec(channels="luma", resize=(4, 4), standardize=True))
    for scale, std in ((1 / 255, 1.0), (1.0, 50.0), (1.0, 0.01)):
        spec = InputSpec(channels="luma", resize=(4, 4), standardize=True, scale=scale, std=(std,))
        assert torch.allclose(normalize(frames, spec), plain, rtol=1e-3)
    assert float(plain.std()) < 1


def test_the_callers_net_is_left_alone(net):
    before = net.conv1.weight.stride()
    TorchEngine(net, SPEC)
    assert net.conv1.weight.stride() == before


def test_auto_is_the_cpu_in_full_precision_where_there_is_no_gpu(net):
    engine = TorchEngine(net, SPEC)
    assert engine.precision == "fp32"
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        assert engine.device.type == "cpu"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "tpu"}, "device 'tpu': unknown; known are auto, cpu"),
        ({"device": "cuda:x"}, "unknown"),
        ({"precision": "fp8"}, "precision 'fp8': unknown; known are auto, fp32"),
        ({"layers": ("pool6",)}, "layer 'pool6'"),
    ],
)
def test_what_there_is_not_is_refused(net, settings, message):
    with pytest.raises(UsageError, match=message):
        TorchEngine(net, SPEC, **settings)


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "mps"])
def test_a_device_this_machine_lacks_is_refused_with_a_way_out(net, device):
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(UsageError, match=rf"{device}.*sees no .* GPU; use --device cpu"):
        TorchEngine(net, SPEC, device=device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_cuda_agrees_with_the_cpu(net, batch):
    gpu = TorchEngine(net, SPEC, device="cuda").run(batch)["pool5"]
    assert np.allclose(gpu, TorchEngine(net, SPEC, device="cpu").run(batch)["pool5"], rtol=1e-3, atol=1e-4)


def test_a_large_net_goes_in_twos_on_a_cpu_however_large_the_batch():
    net = random_large_net()
    engine, started = TorchEngine(net, LARGE_SPEC, device="cpu"), []
    forward = engine._forward
    engine._forward = lambda planes: (started.append(len(planes)), forward(planes))[1]
    frames = np.random.default_rng(0).integers(0, 255, (5, 16, 16, 16, 3), np.uint8)
    found = engine.run(Batch(frames))["pool5"]
    assert engine.batch_size == 2
    assert started == [2, 2, 2]
    with torch.inference_mode():
        expected = net(normalize(torch.from_numpy(frames), LARGE_SPEC).contiguous(), layers=("pool5",))["pool5"]
    assert np.allclose(found, expected.numpy(), rtol=1e-3, atol=1e-4)


def random_large_net() -> P3D:
    """More weights than LARGE."""
    torch.manual_seed(0)
    return P3D(Architecture(stages=(1, 1, 1, 1), classes=3, base_width=64)).eval()


LARGE_SPEC = InputSpec(resize=(16, 16))
