"""Batches on a CUDA GPU: what is queued in which order, when kernels are captured, and, with a GPU, the numbers.

Without a GPU its streams are stood in for by ones that do what they are told at once and write it down.
"""

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from p3dfeat.config import InputSpec
from p3dfeat.engines import SeveralEngines, TorchEngine, cuda, make_engine
from p3dfeat.engines.cuda import Captured, CudaRunner, Graphed
from p3dfeat.engines.devices import num_gpus
from p3dfeat.engines.selection import worst_error
from p3dfeat.engines.torch_engine import checked_precision, fp32_products_in, lowered
from p3dfeat.errors import UsageError
from p3dfeat.types import Batch
from tests.engines.test_engines import SPEC, batch_for, random_net
from tests.engines.test_independence import check_rows_depend_on_their_clip_alone

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


class Graphs:
    """Captures as CUDA does: a replay reads the fixed input and writes the fixed rows."""

    def __init__(self, failure=None):
        self.captured, self.replayed, self.settled, self.failure = [], 0, 0, failure

    def capture(self, function, x):
        self.captured.append(len(x))
        if self.failure is not None:
            raise self.failure
        static = torch.zeros_like(x)
        rows = function(static)

        def replay():
            self.replayed += 1
            for name, value in function(static).items():
                rows[name].copy_(value)

        return Captured(static, rows, replay)

    def settle(self):
        self.settled += 1


def doubled(x):
    return {"pool5": x * 2.0}


def batches(*sizes):
    return [torch.full((size, 3), float(number + 1)) for number, size in enumerate(sizes)]


def test_a_shape_that_comes_twice_in_a_row_is_captured_and_others_run_as_they_are():
    graphs = Graphs()
    net = Graphed(doubled, graphs.capture, graphs.settle)
    found = [net(x) for x in batches(4, 4, 4, 3, 4, 3)]
    assert (graphs.captured, graphs.replayed) == ([4], 3)  # the last whole batch too, after one of another size
    for x, rows in zip(batches(4, 4, 4, 3, 4, 3), found, strict=True):  # not written over by later replays
        assert torch.equal(rows["pool5"], 2 * x)


def test_a_size_that_becomes_usual_replaces_the_graph_once_the_device_is_idle():
    graphs = Graphs()
    net = Graphed(doubled, graphs.capture, graphs.settle)
    for x in batches(4, 4, 2, 2, 2):
        assert torch.equal(net(x)["pool5"], 2 * x)
    assert (graphs.captured, graphs.settled) == ([4, 2], 2)


@pytest.mark.parametrize(
    "failure", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("not permitted when stream is capturing\n1")]
)
def test_where_capturing_fails_the_shape_runs_as_it_is_and_it_is_not_tried_again(failure):
    graphs = Graphs(failure)
    net = Graphed(doubled, graphs.capture, graphs.settle)
    for x in batches(4, 4, 4, 4):
        assert torch.equal(net(x)["pool5"], 2 * x)
    assert graphs.captured == [4]
    assert net.failure == str(failure).splitlines()[0]
    graphs.failure = None
    for x in batches(2, 2):
        net(x)
    assert graphs.captured == [4, 2]  # a smaller one may fit


def test_after_forgetting_it_captures_anew():
    graphs = Graphs()
    net = Graphed(doubled, graphs.capture, graphs.settle)
    for x in batches(4, 4):
        net(x)
    net.forget()
    for x in batches(4, 4, 4):
        net(x)
    assert graphs.captured == [4, 4]


class FakeGPU:
    """Stands in for torch.cuda: runs at once on the CPU, and keeps a log."""

    def __init__(self, monkeypatch):
        self.log, self.current, self.made = [], "default", 0
        fake = SimpleNamespace(
            device=lambda device: nullcontext(),
            stream=self.stream,
            synchronize=lambda device: self.log.append("synchronize"),
            empty_cache=lambda: self.log.append("empty cache"),
            Event=object,
            CUDAGraph=lambda: SimpleNamespace(replay=lambda: self.log.append("replay")),
            graph=self.graph,
        )
        monkeypatch.setattr(cuda, "torch", _Torch(fake))
        monkeypatch.setattr(cuda, "_new_stream", self.new_stream)
        monkeypatch.setattr(cuda, "_new_event", lambda: "event")
        monkeypatch.setattr(cuda, "_pinned", lambda shape, dtype: torch.full(shape, 7, dtype=dtype))
        monkeypatch.setattr(torch.Tensor, "record_stream", lambda t, stream: self.log.append(f"keep for {stream.name}"))

    def new_stream(self):
        name = ("upload", "compute", "download")[self.made % 3]
        self.made += 1
        log = self.log

        class Event:
            def synchronize(self):
                log.append("waited for on the host")

        def wait_stream(other):
            log.append(f"{name} waits for {other.name}")

        def record_event(event):
            assert event == "event"
            log.append(f"event on {name}")
            return Event()

        return SimpleNamespace(name=name, wait_stream=wait_stream, record_event=record_event)

    @contextmanager
    def stream(self, stream):
        before, self.current = self.current, stream.name
        self.log.append(f"on {stream.name}")
        yield
        self.current = before

    @contextmanager
    def graph(self, graph, stream, capture_error_mode):
        assert (self.current, stream.name, capture_error_mode) == ("compute", "compute", "thread_local")
        self.log.append("capture")
        yield


class _Torch:
    """torch, with another torch.cuda."""

    def __init__(self, fake):
        self.cuda = fake

    def __getattr__(self, name):
        return getattr(torch, name)


@pytest.fixture
def gpu(monkeypatch):
    return FakeGPU(monkeypatch)


def test_a_batch_goes_up_is_computed_and_comes_down_each_step_after_the_one_before(gpu):
    ran_on = []

    def function(x):
        ran_on.append(gpu.current)
        return {"pool5": x.float().sum((1, 2, 3, 4))[:, None]}

    runner = CudaRunner(function, torch.device("cpu"))
    assert gpu.log == ["synchronize"]  # the weights are there before another stream reads them
    gpu.log.clear()
    frames = np.ones((2, 3, 4, 4, 1), np.uint8)
    pending = runner.start(frames)
    frames[:] = 0  # the caller's memory is free again
    assert ran_on == ["compute"]
    assert gpu.log == [
        "on upload",
        "compute waits for upload",
        "keep for compute",
        "on compute",
        "download waits for compute",
        "on download",
        "keep for download",
        "event on download",
    ]
    assert pending.result()["pool5"].tolist() == [[48.0], [48.0]]
    assert gpu.log[-1] == "waited for on the host"


def test_a_graph_is_captured_on_the_stream_that_computes_and_given_back_for_room(gpu):
    runner = CudaRunner(lambda x: {"pool5": x.float()}, torch.device("cpu"))
    frames = np.zeros((2, 3, 4, 4, 1), np.uint8)
    for _ in range(3):
        runner.start(frames)
    assert (gpu.log.count("capture"), gpu.log.count("replay")) == (1, 2)
    assert gpu.log.index("synchronize", 1) < gpu.log.index("capture")
    gpu.log.clear()
    runner.make_room()
    assert gpu.log == ["synchronize", "empty cache"]
    runner.start(frames)
    assert "replay" not in gpu.log


def test_the_engine_on_a_gpu_queues_batches_and_gives_what_the_cpu_gives(gpu, monkeypatch):
    """All of TorchEngine but the device itself."""
    net, batch = random_net(), batch_for(SPEC, 5)
    engine = TorchEngine(net, SPEC, layers=("res2a", "pool5"), device="cpu")
    expected, graphs = engine.run(batch), Graphs()
    engine._cuda = CudaRunner(engine._on_cuda, engine.device)
    engine._cuda._net = Graphed(engine._on_cuda, graphs.capture, graphs.settle)  # whose replays compute
    first, second = engine.start(Batch(batch.frames[:3])), engine.start(Batch(batch.frames[3:]))
    for name, rows in expected.items():
        found = np.concatenate([first.result()[name], second.result()[name]])
        assert found.flags.c_contiguous
        assert np.allclose(found, rows, rtol=1e-4, atol=1e-5)
    assert (graphs.captured, graphs.replayed) == ([4], 1)  # both were filled up to the size that is usual


def test_products_of_fp32_are_exact_unless_tf32_was_asked_for_and_settings_of_others_come_back():
    backends = torch.backends
    before = backends.cudnn.conv.fp32_precision, backends.cuda.matmul.fp32_precision
    for kind in ("ieee", "tf32"):
        with pytest.raises(ZeroDivisionError), fp32_products_in(kind):
            assert (backends.cudnn.conv.fp32_precision, backends.cuda.matmul.fp32_precision) == (kind, "ieee")
            raise ZeroDivisionError
        assert (backends.cudnn.conv.fp32_precision, backends.cuda.matmul.fp32_precision) == before


def test_tf32_is_refused_where_it_would_be_something_else(monkeypatch):
    for device in ("cpu", "mps"):
        with pytest.raises(UsageError, match=f"'tf32': is of CUDA GPUs, not of {device}"):
            checked_precision("tf32", torch.device(device))
    monkeypatch.setattr("torch.cuda.device", lambda device: nullcontext())
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "Tesla V100")
    monkeypatch.setattr("torch.cuda.is_tf32_supported", lambda: False)
    with pytest.raises(UsageError, match="Tesla V100 does not have it"):
        checked_precision("tf32", torch.device("cuda"))
    monkeypatch.setattr("torch.cuda.is_tf32_supported", lambda: True)
    assert checked_precision("tf32", torch.device("cuda")) == "tf32"


def test_in_lower_precision_the_descriptor_is_still_computed_in_full():
    net = lowered(random_net(), torch.bfloat16)
    assert net.conv1.weight.dtype == net.res5a.conv_expand.weight.dtype == torch.bfloat16
    assert net.fc.weight.dtype == torch.float32
    pool5 = TorchEngine(random_net(), SPEC, device="cpu", precision="bf16").run(batch_for(SPEC))["pool5"]
    rounded = torch.from_numpy(pool5).bfloat16().float().numpy()
    assert (pool5 != rounded).mean() > 0.1  # rounded to bf16, none would differ; in a small net many are zero


# With a GPU from here on.

REAL = InputSpec(resize=(112, 112), scale=1 / 255, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))


@needs_gpu
@pytest.mark.parametrize("family", ["authors", "gluoncv", "recycled"])
def test_every_layer_on_a_gpu_is_that_of_plain_torch(family):
    net = random_net(family=family)
    assert worst_error(TorchEngine(net, SPEC, layers=net.architecture.layers, device="cuda"), net, SPEC) < 1e-4


@needs_gpu
@pytest.mark.parametrize(
    ("precision", "least", "most"), [("tf32", 2e-5, 1e-2), ("bf16", 1e-4, 0.05), ("fp16", 1e-5, 0.01)]
)
def test_lower_precisions_on_a_gpu_are_near_and_really_lower(precision, least, most):
    if precision == "tf32" and not torch.cuda.is_tf32_supported():
        pytest.skip("this GPU has no tf32")
    net = random_net(base_width=32)
    assert least < worst_error(TorchEngine(net, REAL, device="cuda", precision=precision), net, REAL) < most


def test_a_gpus_last_batch_is_filled_up_and_replayed_like_the_others(gpu):
    """On the CPU in a GPU's place; clips that are asked for together go together there."""
    net, shapes = random_net(), []
    engine = TorchEngine(net, SPEC, device="cpu")
    engine._together = 6

    def on_gpu(planes):
        shapes.append(len(planes))
        return engine._on_cuda(planes)

    engine._cuda = CudaRunner(on_gpu, engine.device)
    frames = batch_for(SPEC, 14).frames
    pending = [engine.start(Batch(frames[first : first + 6])) for first in (0, 6, 12)]
    assert [len(rows.result()["pool5"]) for rows in pending] == [6, 6, 2]
    assert set(shapes) == {6}
    assert gpu.log.count("capture") == 1
    assert gpu.log.count("replay") == 2


@needs_gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_on_a_gpu_a_clips_rows_do_not_depend_on_its_batch_to_the_bit(precision):
    net = random_net(base_width=32)
    engine = TorchEngine(net, REAL, layers=("pool5", "prob", "res5a"), device="cuda", precision=precision, batch_size=8)
    check_rows_depend_on_their_clip_alone(engine, batch_for(REAL, 13).frames)


@needs_gpu
def test_many_batches_in_flight_on_a_gpu_keep_their_own_rows():
    """Graphs, a remainder and another size between them; each batch differs, so that a mix-up shows."""
    net, rng = random_net(), np.random.default_rng(0)
    engine, alone = TorchEngine(net, REAL, device="cuda"), TorchEngine(net, REAL, device="cpu")
    frames = [rng.integers(0, 256, (size, 16, 112, 112, 3), np.uint8) for size in (4, 4, 4, 4, 3, 4, 2, 2, 2, 1)]
    room = np.empty((4, 16, 112, 112, 3), np.uint8)
    pending = []
    for each in frames:
        room[: len(each)] = each
        pending.append(engine.start(Batch(room[: len(each)])))
        room[:] = 0  # read already
    for each, found in zip(frames, pending, strict=True):
        expected = alone.run(Batch(each))["pool5"]
        assert np.linalg.norm(found.result()["pool5"] - expected) < 1e-4 * np.linalg.norm(expected)
    assert engine.capture_failure is None


@needs_gpu
def test_a_batch_that_no_gpu_holds_goes_in_parts():
    net, frames = random_net(), batch_for(SPEC, 12).frames
    engine = TorchEngine(net, SPEC, device="cuda", batch_size=4800)
    expected = TorchEngine(net, SPEC, device="cuda").run(Batch(frames))["pool5"]
    # 4800 clips take 1.5 GB as what the net is given alone; all there is from here on is 1 GB.
    torch.cuda.empty_cache()
    held = torch.cuda.memory_reserved()
    total = torch.cuda.get_device_properties(0).total_memory
    many = np.concatenate([frames] * 400)
    torch.cuda.set_per_process_memory_fraction(min(1.0, (held + (1 << 30)) / total))
    try:
        found = engine.run(Batch(many))["pool5"]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert engine.limit is not None
    assert np.allclose(found, np.concatenate([expected] * 400), rtol=1e-3, atol=1e-4)


@needs_gpu
def test_the_best_size_of_a_gpu_is_found_and_kept(tmp_path):
    net = random_net()
    settings = {"device": "cuda", "cache_folder": tmp_path, "weights_sha256": "abc"}
    size = make_engine(net, SPEC, **settings).batch_size
    assert size in (8, 16, 32, 64, 128, 256)
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text().replace(f": {size}", ": 24"))
    assert make_engine(net, SPEC, **settings).batch_size == 24


@pytest.mark.skipif(num_gpus() < 2, reason="needs two CUDA GPUs")
def test_two_gpus_give_what_one_gives():
    net, frames = random_net(), batch_for(SPEC, 9).frames
    several = make_engine(net, SPEC, device="cuda:all")
    assert isinstance(several, SeveralEngines)
    parts = [Batch(frames[i : i + 3]) for i in (0, 3, 6)]
    pending = [several.start(part) for part in parts]
    alone = TorchEngine(net, SPEC, device="cuda:0")
    for part, found in zip(parts, pending, strict=True):
        assert np.allclose(found.result()["pool5"], alone.run(part)["pool5"], rtol=1e-4, atol=1e-5)
