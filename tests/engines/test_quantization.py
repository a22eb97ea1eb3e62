"""int8: near to fp32, calibrated once, kept whole or not at all, and never without being asked for."""

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from p3dfeat.config import InputSpec
from p3dfeat.engines import Calibration, CalibrationClips, OpenVINOEngine, TorchEngine, is_kept, make_engine
from p3dfeat.engines.openvino import quantization
from p3dfeat.engines.openvino.quantization import _new_folder, cosines, worst_cosines
from p3dfeat.engines.selection import synthetic_clip
from p3dfeat.errors import OutputError, UsageError
from p3dfeat.events import Calibrated, Calibrating
from p3dfeat.nets import P3D
from p3dfeat.types import Batch
from tests.engines.test_engines import random_net

SPEC = InputSpec(resize=(32, 40), scale=1 / 255, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
NEAR = 0.99


def small_net(**settings) -> P3D:
    return random_net(**{"stages": (1, 1, 1, 1)} | settings)


def drawn_clips(count: int, seed: int = 0) -> list[np.ndarray]:
    """Moving waves, each clip of another brightness and contrast."""
    rng, waves = np.random.default_rng(seed), synthetic_clip(SPEC)[0].astype(np.float64)
    return [
        np.clip(rng.uniform(0.4, 1) * np.roll(waves, rng.integers(40), 2) + rng.uniform(0, 60), 0, 255).astype(np.uint8)
        for _ in range(count)
    ]


class Source:
    """A Calibration on drawn clips that counts how often it is asked."""

    def __init__(self, folder: Path, weights: str = "a" * 64, seed: int = 0):
        self.asked, self.events = 0, []
        self.held_out = drawn_clips(4, seed + 100)
        self._seed = seed
        self.calibration = Calibration(folder, weights, self.clips, self.events.append)

    def clips(self) -> CalibrationClips:
        self.asked += 1
        return CalibrationClips(drawn_clips(8, self._seed), self.held_out, held_out=True)

    def engine(self, net=None, **settings):
        net = small_net() if net is None else net
        return make_engine(net, SPEC, precision="int8", calibration=self.calibration, **settings)


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    """A folder that keeps one calibration; tests that change it copy it."""
    folder = tmp_path_factory.mktemp("filled")
    Source(folder).engine()
    return folder


@pytest.fixture
def copied(filled, tmp_path) -> Path:
    shutil.copytree(filled, tmp_path / "copied")
    return tmp_path / "copied"


def entry_of(folder: Path) -> Path:
    (entry,) = folder.iterdir()
    return entry


def test_it_is_near_to_fp32_and_really_lower(filled):
    source, net = Source(filled), small_net()
    eight, full = source.engine(net), OpenVINOEngine(net, SPEC)
    frames = np.stack(source.held_out)
    found, expected = eight.run(Batch(frames))["pool5"], full.run(Batch(frames))["pool5"]
    assert (eight.name, eight.precision, full.precision) == ("openvino", "int8", "fp32")
    assert found.dtype == np.float32
    worst = cosines(found, expected).min()
    assert NEAR < worst < 1 - 1e-7
    assert eight.calibrated.cosine == pytest.approx(worst, abs=1e-6)
    assert eight.calibrated.num_clips == 4
    assert eight.calibrated.held_out


@pytest.mark.parametrize("family", ["authors", "gluoncv", "recycled"])
def test_every_layer_of_every_family_can_be_had(tmp_path, family):
    net = small_net(family=family, kinds="ABC")
    source, layers = Source(tmp_path), net.architecture.layers
    eight, full = source.engine(net, layers=layers), OpenVINOEngine(net, SPEC, layers=layers)
    assert all(cosine > NEAR for cosine in worst_cosines(full, eight, source.held_out).values())


def test_it_is_calibrated_once_and_the_second_time_without_nncf(copied, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    source = Source(copied)
    first = Source(copied, seed=1).engine()  # other clips make no difference any more
    second = source.engine()
    frames = Batch(np.stack(drawn_clips(2)))
    assert np.array_equal(first.run(frames)["pool5"], second.run(frames)["pool5"])
    assert first.calibrated == second.calibrated
    assert source.asked == 0
    assert source.events == [second.calibrated]
    assert second.calibrated.kept


def test_extracting_and_classifying_share_a_calibration(copied):
    source = Source(copied)
    prob = source.engine(layers=("prob",)).run(Batch(np.stack(drawn_clips(2))))["prob"]
    assert source.engine(layers=("pool5", "logits")).layers == ("pool5", "logits")
    assert source.asked == 0
    assert np.allclose(prob.sum(axis=1), 1, atol=1e-5)
    source.engine(layers=("pool5", "res5a"))
    assert source.asked == 1


def test_what_happens_is_told(tmp_path):
    source = Source(tmp_path)
    calibrated = source.engine().calibrated
    assert [event for event in source.events if event != Calibrating(8, finely=True)] == [Calibrating(8), calibrated]
    assert isinstance(calibrated, Calibrated)
    assert not calibrated.kept


@pytest.mark.parametrize(
    ("name", "damage"), [("model.bin", "cut"), ("model.bin", "changed"), ("model.xml", "gone"), ("record.json", "cut")]
)
def test_a_damaged_calibration_is_made_anew(copied, name, damage):
    path = entry_of(copied) / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        middle = len(content) // 2
        path.write_bytes(content[:middle] + (b"" if damage == "cut" else b"\0" + content[middle + 1 :]))
    (entry_of(copied) / "new-of-a-killed-process").mkdir()
    source = Source(copied)
    assert source.engine().calibrated.cosine > NEAR
    assert source.asked == 1
    again = Source(copied)
    again.engine()
    assert again.asked == 0
    assert sorted(path.name for path in entry_of(copied).iterdir()) == ["lock", "model.bin", "model.xml", "record.json"]


def test_other_weights_pictures_or_nets_have_a_calibration_of_their_own(copied):
    net = small_net()
    assert is_kept(net, SPEC, ("pool5",), Source(copied).calibration)
    assert not is_kept(net, SPEC, ("pool5",), Source(copied, "b" * 64).calibration)
    assert not is_kept(net, replace(SPEC, mean=(0.5,)), ("pool5",), Source(copied).calibration)
    assert not is_kept(small_net(kinds="A"), SPEC, ("pool5",), Source(copied).calibration)


def test_another_calibration_has_another_checksum(tmp_path, filled):
    other = Source(tmp_path, seed=5).engine().calibrated
    assert other.sha256 != Source(filled).engine().calibrated.sha256


def test_two_processes_calibrate_once(tmp_path):
    source = Source(tmp_path)
    entry = quantization._Entry.of(small_net(), SPEC, ("pool5",), source.calibration)
    entry.folder.mkdir(parents=True)
    waiting, found = Source(tmp_path), []
    with FileLock(entry.folder / "lock"):
        thread = threading.Thread(target=lambda: found.append(waiting.engine()))
        thread.start()
        thread.join(1)
        assert thread.is_alive()
        assert not waiting.asked
        made = quantization._calibrate(small_net(), SPEC, entry, source.calibration)
    thread.join(60)
    assert waiting.asked == 0
    assert found[0].calibrated == replace(made.about, kept=True)


def test_biases_are_corrected_only_where_the_first_attempt_is_not_near_enough(tmp_path, monkeypatch):
    wanted = []
    plain = quantization._quantize

    def noted(*arguments, corrected: bool):
        wanted.append(corrected)
        return plain(*arguments, corrected=corrected)

    monkeypatch.setattr(quantization, "_quantize", noted)
    for goal, attempts, folder in ((0.9, [False], "a"), (0.9999999, [False, True], "b")):
        monkeypatch.setattr(quantization, "GOOD_COSINE", goal)
        wanted.clear()
        source = Source(tmp_path / folder)
        source.engine()
        assert wanted == attempts
        assert [event.finely for event in source.events[:-1]] == attempts


@pytest.mark.parametrize(
    ("figures", "number"), [([0.998, 0.997], 0), ([0.997, 0.998], 1), ([np.nan, 0.998], 1), ([0.998, np.nan], 0)]
)
def test_the_nearer_attempt_is_kept(tmp_path, monkeypatch, figures, number):
    attempts, chosen, measured = [], [], iter(figures)

    def attempt(_, model, *__, **___):
        attempts.append(model)
        return model

    monkeypatch.setattr(quantization, "_quantize", attempt)
    monkeypatch.setattr(quantization, "worst_cosines", lambda *_: {"pool5": next(measured)})
    monkeypatch.setattr(quantization._Entry, "write", lambda _, model, *__, **___: chosen.append(model))
    net, source = small_net(), Source(tmp_path)
    entry = quantization._Entry.of(net, SPEC, ("pool5",), source.calibration)
    quantization._calibrate(net, SPEC, entry, source.calibration)
    assert len(attempts) == 2
    assert chosen == [attempts[number]]


def test_too_far_from_fp32_is_refused_with_the_figure_and_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(quantization, "_quantize", lambda _, model, *__, **___: model)
    monkeypatch.setattr(quantization, "worst_cosines", lambda *_: {"pool5": 0.98765, "logits": 1.0, "prob": 1.0})
    with pytest.raises(UsageError, match=r"8 bits are not enough .* 0\.98765, at least 0\.99 .* --precision fp32"):
        Source(tmp_path).engine()
    assert [path.name for path in entry_of(tmp_path).iterdir()] == ["lock"]
    monkeypatch.setattr(quantization, "worst_cosines", lambda *_: dict.fromkeys(("pool5", "logits", "prob"), np.nan))
    with pytest.raises(UsageError, match="8 bits are not enough"):
        Source(tmp_path).engine()


def test_a_single_number_that_is_not_finite_is_not_overlooked():
    class Fixed:
        layers = ("pool5",)

        def __init__(self, *rows: list[float]):
            self._rows = iter(rows)

        def run(self, _: Batch):
            return {"pool5": np.array(next(self._rows), np.float32)}

    good, bad = [[1.0, 2.0]] * 4, [[np.nan, 2.0]] * 4
    clips = [np.zeros((1, 2, 2, 3), np.uint8)] * 8
    assert np.isnan(worst_cosines(Fixed(good, good), Fixed(bad, good), clips)["pool5"])
    assert np.isnan(worst_cosines(Fixed(good, good), Fixed(good, bad), clips)["pool5"])
    assert worst_cosines(Fixed(good, good), Fixed(good, [[2.0, 1.0]] * 4), clips)["pool5"] == pytest.approx(0.8)


def test_nothing_of_nncf_is_heard_or_left_behind(tmp_path, capfd, monkeypatch):
    """In a process of its own, since it is the first import that greets."""
    code = (
        "import sys, logging\n"
        "from pathlib import Path\n"
        "from tests.engines.test_quantization import Source\n"
        "sys.modules.pop('pytest')  # in whose company NNCF sends nothing anyway\n"
        "Source(Path(sys.argv[1])).engine()\n"
        "from nncf.telemetry.wrapper import telemetry\n"
        "print(type(telemetry).__name__, logging.getLoggerClass().__name__)\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    command = [sys.executable, "-c", code, str(tmp_path / "kept")]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    said = capfd.readouterr()
    assert said.out == "MagicMock Logger\n"
    assert said.err == ""
    assert list(home.iterdir()) == []
    assert logging.getLoggerClass() is logging.Logger


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "torch"}, "precision 'int8': the torch engine has none; use --engine openvino"),
        ({"device": "cuda"}, "--device cpu"),
        ({"device": "tpu"}, "device 'tpu': unknown"),
        ({"engine": "tensorrt"}, "engine 'tensorrt': unknown"),
        ({"layers": ("pool6",)}, "layer 'pool6'"),
    ],
)
def test_what_does_not_compute_in_int8_is_refused_before_anything_is_done(tmp_path, settings, message):
    source = Source(tmp_path)
    with pytest.raises(UsageError, match=message):
        source.engine(**settings)
    assert source.asked == 0
    assert not list(tmp_path.iterdir())


def test_a_gpu_is_refused_where_there_is_one(tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr("p3dfeat.engines.selection.pick_devices", lambda name: [torch.device(name)])
    with pytest.raises(UsageError, match="runs on a CPU only, not on cuda:0; use --device cpu"):
        Source(tmp_path).engine(device="cuda:0")


def test_it_is_never_taken_unasked(filled):
    engine = make_engine(small_net(), SPEC, device="cpu", calibration=Source(filled).calibration)
    assert engine.precision == "fp32"
    assert engine.calibrated is None
    assert TorchEngine(small_net(), SPEC).calibrated is None


def test_without_a_calibration_it_cannot_be_had():
    with pytest.raises(UsageError, match="precision 'int8': is not calibrated here"):
        make_engine(small_net(), SPEC, precision="int8")


def test_without_nncf_it_is_told_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    source = Source(tmp_path)
    with pytest.raises(UsageError, match=r"precision 'int8': needs NNCF to calibrate; pip install 'p3dfeat\[int8\]'"):
        source.engine()
    assert source.asked == 0  # no video is read in vain


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_done(tmp_path):
    (tmp_path / "file").touch()
    source = Source(tmp_path / "file")
    with pytest.raises(OutputError, match=r"cannot be written \(Not a directory\); P3DFEAT_CACHE may name another"):
        source.engine()
    assert source.asked == 0


def test_a_full_disk_is_told_in_one_line(tmp_path, monkeypatch):
    import openvino

    def fail(*_, **__):
        raise RuntimeError("Check 'bin_file' failed\nmore")

    monkeypatch.setattr(openvino, "save_model", fail)
    with pytest.raises(OutputError, match=r"cannot be written \(Check 'bin_file' failed\); P3DFEAT_CACHE"):
        Source(tmp_path).engine()


def test_a_folder_filled_by_someone_else_serves_without_a_lock(copied, monkeypatch):
    """As from a read-only disk."""
    monkeypatch.setattr(quantization, "FileLock", None)
    source = Source(copied)
    assert source.engine().calibrated.kept
    assert source.asked == 0


def test_the_record_says_what_it_is_of(filled):
    record = json.loads((entry_of(filled) / "record.json").read_text())
    assert record["of"]["weights_sha256"] == "a" * 64
    assert set(record["cosines"]) == {"pool5", "logits", "prob"}


def test_only_files_of_its_own_are_removed_and_no_link_is_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "model.xml").write_text("x")
    (tmp_path / "cache" / "new-killed").mkdir(parents=True)
    (tmp_path / "cache" / "new-killed" / "model.bin").write_text("x")
    (tmp_path / "cache" / "new-foreign").mkdir()
    (tmp_path / "cache" / "new-foreign" / "notes.txt").write_text("x")
    (tmp_path / "cache" / "new-link").symlink_to(tmp_path / "elsewhere")
    with _new_folder(tmp_path / "cache") as new:
        assert new.stat().st_mode & 0o777 == 0o700
        (new / "model.xml").write_text("x")
    assert sorted(os.listdir(tmp_path / "cache")) == ["new-foreign", "new-link"]
    assert (tmp_path / "elsewhere" / "model.xml").exists()
    assert (tmp_path / "cache" / "new-foreign" / "notes.txt").exists()
