"""Several engines as one: dealt in turn, answered in order."""

import numpy as np
import pytest

from p3dfeat.engines import SeveralEngines, TorchEngine
from p3dfeat.engines.devices import pick_devices
from p3dfeat.errors import UsageError
from p3dfeat.types import Batch
from tests.engines.test_engines import SPEC, batch_for, random_net


class Telling(TorchEngine):
    """Remembers the sizes of its batches."""

    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.sizes = []

    def start(self, batch):
        self.sizes.append(len(batch.frames))
        return super().start(batch)


def test_batches_are_dealt_in_turn_and_give_what_one_engine_gives():
    net, frames = random_net(), batch_for(SPEC, 6).frames
    one, two = (Telling(net, SPEC, layers=("pool5", "prob"), device="cpu") for _ in range(2))
    several = SeveralEngines([one, two])
    batches = [Batch(frames[:2]), Batch(frames[2:5]), Batch(frames[5:])]
    pending = [several.start(batch) for batch in batches]
    assert (one.sizes, two.sizes) == ([2, 1], [3])
    alone = TorchEngine(net, SPEC, layers=("pool5", "prob"), device="cpu")
    for batch, found in zip(batches, pending, strict=True):
        for name, expected in alone.run(batch).items():
            assert np.array_equal(found.result()[name], expected)


def test_it_is_recorded_as_its_parts_and_wants_as_many_batches_as_they():
    one, two = (TorchEngine(random_net(), SPEC, device="cpu") for _ in range(2))
    one.in_flight, two.in_flight = 2, 3
    several = SeveralEngines([one, two])
    assert (several.name, several.device, several.precision) == ("torch", "cpu,cpu", "fp32")
    assert (several.layers, several.in_flight) == (("pool5",), 5)


def test_the_one_with_least_memory_says_how_large_batches_are():
    one, two = (TorchEngine(random_net(), SPEC, device="cpu") for _ in range(2))
    several = SeveralEngines([one, two])
    assert several.batch_size == 4
    two._fitting.limit = 3
    assert several.batch_size == 3


def gpus(monkeypatch, count):
    monkeypatch.setattr("torch.cuda.is_available", lambda: count > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)


def test_gpus_are_named_in_a_list_or_all_together(monkeypatch):
    gpus(monkeypatch, 3)
    assert [str(device) for device in pick_devices("cuda:all")] == ["cuda:0", "cuda:1", "cuda:2"]
    assert [str(device) for device in pick_devices("cuda:2, cuda:0")] == ["cuda:2", "cuda:0"]
    assert [str(device) for device in pick_devices("cuda:1")] == ["cuda:1"]
    assert [str(device) for device in pick_devices("cpu")] == ["cpu"]


@pytest.mark.parametrize(
    ("names", "count", "message"),
    [
        ("cuda:all", 0, "sees no CUDA GPU"),
        ("cuda:0,cuda:1", 1, "device 'cuda:1': there are 1 GPUs"),
        ("cuda:0,cuda:0", 1, "names one twice"),
        ("cuda,cuda:0", 1, "by number"),
        ("cpu,cuda:0", 1, "by number"),
        ("cpu,cpu", 0, "by number"),
        ("cuda:0,", 1, "device '': unknown"),
    ],
)
def test_lists_that_make_no_sense_are_refused(monkeypatch, names, count, message):
    gpus(monkeypatch, count)
    with pytest.raises(UsageError, match=message):
        pick_devices(names)
