"""A clip's rows depend on the clip alone, to the bit: not on its neighbours in a batch, nor on its place among them.

This is what makes a run that was killed and resumed give the bytes of an uninterrupted one.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from p3dfeat.config import InputSpec
from p3dfeat.engines import (
    ENGINE_CLASSES,
    Calibration,
    CalibrationClips,
    Engine,
    OpenVINOEngine,
    TorchEngine,
    make_engine,
)
from p3dfeat.nets import P3D, Architecture
from p3dfeat.types import Batch, UInt8Array
from p3dfeat.zoo import load_model
from tests.engines.test_engines import SPEC, batch_for, random_net

# An odd number of classes, in the products of which a clip's place among three or seven shows.
CLASSES = 101


def check_rows_depend_on_their_clip_alone(engine: Engine, frames: UInt8Array) -> None:
    """Hold every clip's rows, in batches of 1 to all clips and in several orders, to those of the clip alone."""
    alone = [engine.run(Batch(frames[number : number + 1])) for number in range(len(frames))]
    rng = np.random.default_rng(0)
    for size in range(1, len(frames) + 1):
        order = rng.permutation(len(frames))
        for first in range(0, len(order), size):
            numbers = order[first : first + size]
            found = engine.run(Batch(frames[numbers]))
            for name, rows in found.items():
                assert rows.dtype == np.float32
                assert len(rows) == len(numbers)
                for row, number in zip(rows, numbers, strict=True):
                    assert np.array_equal(row, alone[number][name][0]), (name, size, first)


def layers_of(net: P3D) -> tuple[str, ...]:
    """What follows the convolutions, and the last block."""
    return ("pool5", "logits", "prob", net.architecture.stage_blocks(5)[-1])


@pytest.mark.parametrize("family", ["authors", "gluoncv"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_with_torch(family, precision):
    net = random_net(family=family, classes=CLASSES)
    engine = TorchEngine(net, SPEC, layers=layers_of(net), device="cpu", precision=precision)
    check_rows_depend_on_their_clip_alone(engine, batch_for(SPEC, 9).frames)


@pytest.mark.parametrize("family", ["authors", "gluoncv"])
def test_with_openvino(family):
    net = random_net(family=family, classes=CLASSES)
    check_rows_depend_on_their_clip_alone(OpenVINOEngine(net, SPEC, layers=layers_of(net)), batch_for(SPEC, 9).frames)


@pytest.mark.parametrize("family", ["authors", "gluoncv"])
def test_in_int8(tmp_path, family):
    net, spec = random_net(family=family, stages=(1, 1, 1, 1), classes=CLASSES), InputSpec(resize=(33, 32))
    clips = list(batch_for(spec, 9).frames)
    calibration = Calibration(
        Path(tmp_path), "a" * 64, lambda: CalibrationClips(clips[:6], clips[6:], held_out=True), lambda event: None
    )
    engine = make_engine(net, spec, layers=layers_of(net), device="cpu", precision="int8", calibration=calibration)
    check_rows_depend_on_their_clip_alone(engine, np.stack(clips))


@pytest.mark.parametrize("engine", ENGINE_CLASSES.values())
def test_with_a_large_net(engine):
    torch.manual_seed(0)
    net = P3D(Architecture(stages=(1, 1, 1, 1), classes=400, base_width=64)).eval()
    spec = InputSpec(resize=(16, 16))
    check_rows_depend_on_their_clip_alone(engine(net, spec, layers=layers_of(net)), batch_for(spec, 5).frames)


@pytest.mark.parametrize("engine", ENGINE_CLASSES)
def test_with_the_embedded_model(engine):
    model = load_model("p3d-camera")
    net, spec = model.net, model.card.input
    made = make_engine(net, spec, layers=layers_of(net), device="cpu", engine=engine)
    check_rows_depend_on_their_clip_alone(made, batch_for(spec, 5).frames)


def test_nor_on_how_memory_holds_pictures_of_one_channel():
    """Which can be said to lie in memory in two orders, for which PyTorch has two kernels."""
    model = load_model("p3d-camera")
    engine = TorchEngine(model.net, model.card.input, device="cpu")
    batch = batch_for(model.card.input, 4)
    of_planes = Batch.of_planes(np.ascontiguousarray(batch.planes))
    assert np.array_equal(engine.run(batch)["pool5"], engine.run(of_planes)["pool5"])
    assert np.array_equal(engine.run(batch)["pool5"], engine.run(Batch(batch.frames.copy(order="F")))["pool5"])


@pytest.mark.parametrize("engine", ENGINE_CLASSES)
def test_nor_on_the_batch_size_that_was_asked_for(engine):
    net, batch = random_net(classes=CLASSES), batch_for(SPEC, 7)
    layers = layers_of(net)
    expected = make_engine(net, SPEC, layers=layers, device="cpu", engine=engine).run(batch)
    for size in (1, 3, 64):
        found = make_engine(net, SPEC, layers=layers, device="cpu", engine=engine, batch_size=size).run(batch)
        assert all(np.array_equal(found[name], rows) for name, rows in expected.items())


def test_without_parts_of_one_size_the_check_would_fail():
    """The check can fail: seven clips that go through torch together differ from the same ones alone."""
    net = random_net(classes=CLASSES)
    engine = TorchEngine(net, SPEC, layers=layers_of(net), device="cpu")
    engine.start = lambda batch: engine._start(batch.planes)
    with pytest.raises(AssertionError):
        check_rows_depend_on_their_clip_alone(engine, batch_for(SPEC, 9).frames)
