"""int8: a network's graph in 8 bits, quantized by its value ranges on calibration clips. It is kept on disk.

An entry is a folder with two OpenVINO files and a record. The record is written last. It holds the checksums of the
files and the closeness to fp32. NNCF is needed to create entries, and only OpenVINO to read them.
"""

import hashlib
import io
import json
import logging
import math
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from filelock import FileLock

from p3dfeat.closeness import cosines
from p3dfeat.config import InputSpec
from p3dfeat.engines.openvino.core import apart, load_openvino, openvino_core
from p3dfeat.engines.openvino.engine import BATCH_SIZE, GRAPH_VERSION, OpenVINOEngine, Quantized, net_graph
from p3dfeat.engines.openvino.telemetry import no_telemetry
from p3dfeat.errors import UsageError
from p3dfeat.events import Calibrated, Calibrating
from p3dfeat.nets import P3D
from p3dfeat.system.disk import Folder, writing
from p3dfeat.text.jsons import read_object
from p3dfeat.types import Batch, FloatArray, UInt8Array

# Good calibrations give 0.999 and more. At 0.99 a row is off by 14 % of its length, more than a user of int8 expects.
LEAST_COSINE: Final = 0.99
ENDS: Final = ("pool5", "logits", "prob")  # calibrated together, so that extracting and classifying share an entry
GOOD_COSINE: Final = 0.999  # if the calibration clips give less, biases are corrected, which takes minutes
METHOD: Final = "mixed preset, absolute ranges, biases corrected where needed"  # change it when the method changes
FILES: Final = ("model.xml", "model.bin")
RECORD: Final = "record.json"
OTHER_FOLDER: Final = "P3DFEAT_CACHE may name another folder"
_one_thread: Final = threading.RLock()  # only one thread at a time may redirect stdout and stderr


class _Runs(Protocol):
    """Any engine."""

    layers: tuple[str, ...]

    def run(self, batch: Batch) -> dict[str, FloatArray]: ...


@dataclass(frozen=True)
class CalibrationClips:
    """Clips (T, H, W, C) uint8 for finding the ranges, and clips for measuring the result."""

    calibration: Sequence[UInt8Array]
    measured: Sequence[UInt8Array]
    held_out: bool  # whether the measured clips differ from the calibration clips


@dataclass(frozen=True)
class Calibration:
    """The folder of calibrations, the checksum of the weights, and the clips for a new calibration.

    clips: called only if no calibration is kept. Raises UsageError if there are no clips.
    """

    folder: Path
    weights_sha256: str
    clips: Callable[[], CalibrationClips]
    on_event: Callable[[Calibrating | Calibrated], None]


def quantized(net: P3D, spec: InputSpec, layers: tuple[str, ...], calibration: Calibration) -> Quantized:
    """The graph of ``net`` in 8 bits: from disk, or, if there is none, created now and kept.

    Raises UsageError if OpenVINO, NNCF or clips are missing, or if 8 bits are not enough for this modelwork. Raises
    OutputError if the graph cannot be written.
    """
    net.architecture.check_layers(layers)
    entry = _Entry.of(net, spec, layers, calibration)
    found = entry.read()
    if found is None:
        with writing(entry.folder, OTHER_FOLDER):
            entry.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(entry.folder / "lock")
            lock.acquire()
        try:
            found = entry.read() or _calibrate(net, spec, entry, calibration)  # another process may have been faster
        finally:
            lock.release()
    calibration.on_event(found.about)
    return found


def is_kept(net: P3D, spec: InputSpec, layers: tuple[str, ...], calibration: Calibration) -> bool:
    """Whether ``quantized`` would find its graph on disk."""
    net.architecture.check_layers(layers)
    return _Entry.of(net, spec, layers, calibration).read() is not None


@dataclass(frozen=True)
class _Entry:
    """One network's calibration on disk."""

    folder: Path
    about: dict[str, Any]  # everything that the quantised graph depends on, except the clips
    asked: tuple[str, ...]  # output layers of the graph
    layers: tuple[str, ...]  # layers that it is calibrated for

    @classmethod
    def of(cls, net: P3D, spec: InputSpec, layers: tuple[str, ...], calibration: Calibration) -> "_Entry":
        calibrated = tuple(name for name in net.architecture.layers if name in ENDS or name in layers)
        about = {
            "weights_sha256": calibration.weights_sha256,
            "architecture": asdict(net.architecture),
            "preprocessing": asdict(spec),
            "layers": calibrated,
            "openvino": load_openvino().__version__,
            "graph": GRAPH_VERSION,
            "method": METHOD,  # not NNCF's version: an entry must be found without NNCF, too
        }
        key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]
        return cls(calibration.folder / key, about, layers, calibrated)

    def read(self) -> Quantized | None:
        """The kept graph; None if it is missing, incomplete or changed."""
        try:
            record = read_object(self.folder / RECORD)
            if any(_sha256(self.folder / name) != record["sha256"][name] for name in FILES):
                return None
            return self._opened(self.folder, record, kept=True)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError):  # RuntimeError is OpenVINO's
            return None

    def write(self, model: Any, measure: Callable[[Any], dict[str, float]], **counts: int | bool) -> Quantized:
        """Write a graph, and keep it if it is good enough. measure: gives {layer: cosine} of the graph on disk.

        Raises UsageError if the worst cosine is below LEAST_COSINE.
        """
        openvino = load_openvino()
        with writing(self.folder, OTHER_FOLDER), _new_folder(self.folder) as new:
            try:
                openvino.save_model(model, new / FILES[0], compress_to_fp16=False)
            except RuntimeError as error:  # OpenVINO's error for a full disk
                raise OSError(str(error).splitlines()[0]) from None
            record = {
                "cosines": measure(openvino_core().read_model(new / FILES[0])),
                **counts,
                "sha256": {name: _sha256(new / name) for name in FILES},
                "of": self.about,
            }
            found = self._opened(new, record, kept=False)
            if not found.about.cosine >= LEAST_COSINE:
                raise UsageError(
                    f"precision 'int8': 8 bits are not enough for this model: its worst cosine to fp32 is "
                    f"{found.about.cosine:.5f}, at least {LEAST_COSINE} is wanted; use --precision fp32"
                )
            (new / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
            for name in (*FILES, RECORD):
                os.replace(new / name, self.folder / name)
        return found

    def _opened(self, folder: Path, record: dict[str, Any], *, kept: bool) -> Quantized:
        openvino = load_openvino()
        whole = openvino_core().read_model(folder / FILES[0])
        results = [whole.output(name).get_node() for name in self.asked]
        model = openvino.Model(results, whole.get_parameters(), "p3d")
        about = Calibrated(
            cosine=min(float(record["cosines"][name]) for name in self.asked),
            num_clips=int(record["num_clips"]),
            held_out=bool(record["held_out"]),
            sha256=str(record["sha256"][FILES[1]]),
            kept=kept,
        )
        return Quantized(model, about)


@contextmanager
def _new_folder(above: Path) -> Iterator[Path]:
    """A temporary private folder for the files of an entry. The caller holds the lock."""
    with Folder.opened(above) as folder:
        for unfinished in folder.names():  # left by a killed process
            if unfinished.startswith("new-"):
                _discard(folder, unfinished)
        name = f"new-{secrets.token_hex(4)}"
        folder.make_folder(name)
        try:
            yield above / name
        finally:
            _discard(folder, name)


def _discard(above: Folder, name: str) -> None:
    """Remove an entry's files in the folder ``name``, and the folder if it holds nothing else."""
    with suppress(OSError), above.inner(name) as folder:  # p3dfeat did not create it if it is not a folder
        for file in (*FILES, RECORD):
            folder.unlink(file)
    above.remove_folder(name)


def _calibrate(net: P3D, spec: InputSpec, entry: _Entry, calibration: Calibration) -> Quantized:
    nncf = _nncf()
    clips = calibration.clips()
    calibration.on_event(Calibrating(len(clips.calibration)))
    batches = list(_batches(clips.calibration))
    full = OpenVINOEngine(net, spec, layers=entry.layers)

    def cosines_to_full(model: Any, measured: Sequence[UInt8Array]) -> dict[str, float]:
        unmeasured = Calibrated(math.nan, 0, False, "", False)
        eight = OpenVINOEngine(net, spec, layers=entry.layers, quantized=Quantized(model, unmeasured))
        return worst_cosines(full, eight, measured)

    def tried(*, corrected: bool) -> tuple[float, Any]:
        model = _quantize(nncf, net_graph(net, spec, entry.layers), batches, corrected=corrected)
        return min(cosines_to_full(model, clips.calibration).values()), model

    cosine, model = tried(corrected=False)
    if not cosine >= GOOD_COSINE:
        calibration.on_event(Calibrating(len(clips.calibration), finely=True))
        finer, corrected = tried(corrected=True)
        if finer > cosine or math.isnan(cosine):
            model = corrected
    return entry.write(
        model,
        lambda kept: cosines_to_full(kept, clips.measured),
        num_clips=len(clips.measured),
        held_out=clips.held_out,
    )


def worst_cosines(a: _Runs, b: _Runs, clips: Sequence[UInt8Array]) -> dict[str, float]:
    """{layer: the lowest cosine between the two engines' rows} over clips (T, H, W, C)."""
    worst = dict.fromkeys(a.layers, np.inf)
    for frames in _batches(clips):
        first, second = a.run(Batch(frames)), b.run(Batch(frames))
        for name in worst:
            # numpy's minimum keeps a NaN; Python's min may lose it.
            worst[name] = float(np.minimum(worst[name], cosines(first[name], second[name]).min()))
    return worst


def _quantize(nncf: Any, model: Any, batches: Sequence[UInt8Array], *, corrected: bool) -> Any:
    """A graph in 8 bits. corrected: each bias compensates the mean error of its convolution; takes minutes.

    The worst cosine of pool5 on p3d-camera, the only trained model available, is 0.996, or 0.997 if corrected. NNCF's
    defaults gave 0.985: they average ranges over batches, which cuts off values of rare clips, and their fast bias
    correction increased the error. Smooth quantization, made for transformers, has no effect here and takes time.
    """
    advanced = nncf.AdvancedQuantizationParameters(
        activations_range_estimator_params=nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX,
        disable_bias_correction=not corrected,
        smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(convolution=-1, matmul=-1),
    )
    with _silence():
        return apart(  # NNCF creates its own Cores
            lambda: nncf.quantize(
                model,
                nncf.Dataset(batches, lambda batch: [Batch(batch).planes]),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(batches),
                fast_bias_correction=False,
                advanced_parameters=advanced,
            )
        )


def _nncf() -> Any:
    """The nncf module, without its output on stdout and its logger class. Raises UsageError if it is not installed."""
    logger_class = logging.getLoggerClass()
    try:
        with no_telemetry(), _silence():
            import nncf
    except ImportError:
        raise UsageError("precision 'int8': needs NNCF to calibrate; pip install 'p3dfeat[int8]'") from None
    finally:
        logging.setLoggerClass(logger_class)
    return nncf


@contextmanager
def _silence() -> Iterator[None]:
    """Suppress progress bars and log lines. NNCF's log always goes to the stdout that it found at its import."""
    with _one_thread, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield


def _batches(clips: Sequence[UInt8Array]) -> Iterator[UInt8Array]:
    for first in range(0, len(clips), BATCH_SIZE):
        yield np.stack(clips[first : first + BATCH_SIZE])


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
