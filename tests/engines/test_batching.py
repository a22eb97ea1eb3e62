"""Batches that do not fit go in parts; the best size is looked for once."""

import json

import numpy as np
import pytest
import torch

from p3dfeat.engines import TorchEngine, make_engine
from p3dfeat.engines.batch_size_cache import FILE, KeptSizes
from p3dfeat.engines.batching import (
    Fitting,
    best_batch_size,
    filled_up,
    is_out_of_memory,
    seconds_a_batch,
    work_through,
)
from p3dfeat.engines.engine import Done
from p3dfeat.errors import UsageError
from p3dfeat.types import Batch
from tests.engines.test_engines import SPEC, batch_for, random_net

OUT_OF_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    MemoryError(),
)


class Small:
    """Starts batches of at most ``most`` clips; rows are each clip's first pixel."""

    def __init__(self, most, error=OUT_OF_MEMORY[0]):
        self.most, self.error, self.sizes = most, error, []

    def __call__(self, frames):
        self.sizes.append(len(frames))
        if len(frames) > self.most:
            raise self.error
        return Done({"pool5": frames[:, 0, 0, 0, :1].astype(np.float32)})


def clips(count):
    return np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1, 1)


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_a_batch_that_does_not_fit_goes_in_parts_and_the_next_ones_at_once(error):
    start = Small(3, error)
    fitting = Fitting(start, device="cuda:0")
    assert fitting.start(clips(11), 11).result()["pool5"][:, 0].tolist() == list(range(11))
    assert start.sizes == [11, 6, 3, 3, 3, 3]
    start.sizes.clear()
    assert fitting.start(clips(7), 11).result()["pool5"][:, 0].tolist() == list(range(7))
    assert start.sizes == [3, 3, 3]
    assert fitting.limit == 3


def test_parts_that_had_fitted_are_not_run_again():
    """Memory may get short in the middle of a batch, and when it is short already."""
    start = Small(4)
    fitting = Fitting(start, device="cuda:0")
    fitting.start(clips(8), 8)
    assert fitting.limit == 4
    start.sizes.clear()

    def shorter(frames):
        if len(start.sizes) == 1:
            start.most = 1
        return start(frames)

    fitting._start = shorter
    assert fitting.start(clips(8), 8).result()["pool5"][:, 0].tolist() == list(range(8))
    assert start.sizes == [4, 4, 2, 1, 1, 1, 1]


def test_room_is_made_each_time_and_nothing_holds_on_to_the_error():
    import gc
    import weakref

    class Activations:
        pass

    alive = []

    def start(frames):
        held = Activations()
        alive.append(weakref.ref(held))
        if len(frames) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return Done({"pool5": clips(len(frames))[:, 0, 0, 0]})

    def make_room():
        gc.collect()
        rooms.append([reference() is None for reference in alive])

    rooms = []
    Fitting(start, device="cuda:0", make_room=make_room).start(clips(8), 8)
    assert rooms == [[True], [True, True]]


def test_a_clip_that_does_not_fit_is_told_in_one_line():
    with pytest.raises(UsageError, match="device cuda:0: a single clip does not fit into its memory"):
        Fitting(Small(0), device="cuda:0").start(clips(4), 4)


def test_other_errors_are_not_taken_for_want_of_memory():
    start = Small(1, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        Fitting(start, device="cpu").start(clips(4), 4)
    assert start.sizes == [4]
    assert not is_out_of_memory(ValueError("out of memory"))


def test_an_engine_out_of_memory_gives_the_same_features_in_smaller_batches(monkeypatch):
    net, batch = random_net(), batch_for(SPEC, 7)
    whole = TorchEngine(net, SPEC, device="cpu")
    expected, normal = whole.run(batch)["pool5"], whole._forward

    def forward(self, frames):
        if len(frames) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return normal(frames)

    monkeypatch.setattr(TorchEngine, "_forward", forward)
    engine = TorchEngine(net, SPEC, device="cpu")
    assert engine.batch_size == 4
    assert np.allclose(engine.run(batch)["pool5"], expected, rtol=1e-4, atol=1e-5)
    assert engine.batch_size == 2
    assert np.array_equal(engine.run(Batch(batch.frames[3:4]))["pool5"], engine.run(batch)["pool5"][3:4])


@pytest.mark.parametrize(("count", "sizes"), [(1, [4]), (4, [4]), (5, [4, 4]), (9, [4, 4, 4])])
def test_parts_are_all_of_one_size_and_what_fills_the_last_one_is_thrown_away(count, sizes):
    start = Small(100)
    rows = Fitting(start, device="cpu").start(clips(count), 4).result()["pool5"]
    assert start.sizes == sizes
    assert rows[:, 0].tolist() == list(range(count))
    filled = filled_up(clips(3), 5)
    assert filled[:, 0, 0, 0, 0].tolist() == [0, 1, 2, 2, 2]
    whole = clips(5)
    assert filled_up(whole, 5) is whole  # nothing is copied where nothing is missing


@pytest.mark.parametrize(("asked", "given"), [(1, 4), (4, 4), (6, 8), (32, 32)])
def test_on_a_cpu_a_batch_size_is_a_number_of_whole_parts(asked, given):
    for engine in ("torch", "openvino"):
        assert make_engine(random_net(), SPEC, device="cpu", engine=engine, batch_size=asked).batch_size == given


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_size_that_is_none_is_refused(size):
    with pytest.raises(UsageError, match=f"batch size {size}: must be at least 1"):
        make_engine(random_net(), SPEC, batch_size=size)


def test_the_cpus_own_allocator_is_understood():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def timed(seconds_a_clip, most=10**9):
    """measure() of a device that takes so long; the sizes it was asked for are kept."""

    def measure(size):
        measure.asked.append(size)
        if size > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return size * seconds_a_clip(size)

    measure.asked = []
    return measure


def test_sizes_double_until_that_gains_less_than_a_twentieth():
    measure = timed(lambda size: {8: 10, 16: 8, 32: 7, 64: 6.9}[size])
    assert best_batch_size(measure) == 32
    assert measure.asked == [8, 16, 32, 64]


def test_sizes_double_until_memory_ends_or_there_are_no_more():
    assert best_batch_size(timed(lambda size: 1 / size, most=100)) == 64
    assert best_batch_size(timed(lambda size: 1 / size)) == 256
    assert best_batch_size(timed(lambda size: 1 / size, most=4)) == 8  # which the engine then halves by itself


def test_a_failure_that_is_not_want_of_memory_ends_the_search():
    def broken(size):
        raise RuntimeError("no kernel image is available")

    with pytest.raises(RuntimeError, match="kernel image"):
        best_batch_size(broken)


def test_work_keeps_as_many_batches_in_flight_as_are_wanted_and_waits_for_all():
    open_now, most = [], []

    class Late:
        def result(self):
            open_now.remove(self)
            return {}

    def start(frames):
        pending = Late()
        open_now.append(pending)
        most.append(len(open_now))
        return pending

    work_through(start, clips(1), 7, in_flight=3)
    assert (max(most), len(most), open_now) == (3, 7, [])
    assert seconds_a_batch(start, clips(1), in_flight=2) > 0
    assert open_now == []


def test_what_was_found_is_kept_by_weights_and_by_all_it_depends_on(tmp_path):
    kept = KeptSizes(tmp_path / "cache", "abc")
    assert kept.get("gpu", "fp32") is None
    kept.put(64, "gpu", "fp32")
    kept.put(128, "gpu", "bf16")
    again = KeptSizes(tmp_path / "cache", "abc")
    assert (again.get("gpu", "fp32"), again.get("gpu", "bf16"), again.get("gpu", "tf32")) == (64, 128, None)
    assert KeptSizes(tmp_path / "cache", "other").get("gpu", "fp32") is None
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [FILE]


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00\xff", '{"[\\"abc\\", \\"gpu\\"]": "x"}', '{"a": -1}'])
def test_a_damaged_file_counts_as_none_and_is_written_anew(tmp_path, text):
    (tmp_path / FILE).write_bytes(text.encode("latin-1"))
    kept = KeptSizes(tmp_path, "abc")
    assert kept.get("gpu") is None
    kept.put(16, "gpu")
    assert kept.get("gpu") == 16
    assert json.loads((tmp_path / FILE).read_text())['["abc", "gpu"]'] == 16


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path):
    (tmp_path / "file").write_text("in the way")
    kept = KeptSizes(tmp_path / "file", "abc")
    kept.put(16, "gpu")
    assert kept.get("gpu") is None


def test_a_gpu_engine_looks_for_its_size_once_and_a_later_run_not_at_all(monkeypatch, tmp_path):
    """On the CPU in a GPU's place: what is under test is when the search runs and what becomes of its answer."""
    measured = []

    def measure(self, size):
        measured.append(size)
        return size * (1.0 if size < 64 else 2.0) / min(size, 32)

    monkeypatch.setattr(TorchEngine, "_seconds_a_batch", measure)

    def engine():
        found = TorchEngine(random_net(), SPEC, device="cpu", precision="fp32")
        found._kept, found._together = KeptSizes(tmp_path, "abc"), None
        return found

    first = engine()
    assert measured == []  # not before it is asked for
    assert (first.batch_size, first.batch_size, measured) == (32, 32, [8, 16, 32, 64])
    assert engine().batch_size == 32
    assert measured == [8, 16, 32, 64]


def test_on_a_cpu_the_size_is_known_and_nothing_is_tried(monkeypatch, tmp_path):
    monkeypatch.setattr(TorchEngine, "_seconds_a_batch", lambda *_: pytest.fail("was tried"))
    settings = {"device": "cpu", "cache_folder": tmp_path, "weights_sha256": "abc"}
    assert make_engine(random_net(), SPEC, engine="torch", **settings).batch_size == 4
    assert make_engine(random_net(), SPEC, engine="openvino", **settings).batch_size == 4
    assert list(tmp_path.iterdir()) == []


def test_the_search_runs_real_batches():
    engine = TorchEngine(random_net(), SPEC, device="cpu")
    assert engine._seconds_a_batch(1) < engine._seconds_a_batch(16)
    assert engine.run(Batch(batch_for(SPEC, 2).frames))["pool5"].shape == (2, 256)
