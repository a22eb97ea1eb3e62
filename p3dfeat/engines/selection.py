"""The choice of the engine: the one asked for, or the fastest one here that gives the results of plain torch."""

from pathlib import Path
from typing import Final, get_args

import numpy as np
import torch

from p3dfeat.closeness import relative_l2
from p3dfeat.config import InputSpec
from p3dfeat.engines.batch_size_cache import KeptSizes
from p3dfeat.engines.devices import pick_devices
from p3dfeat.engines.engine import Engine
from p3dfeat.engines.multi_gpu import SeveralEngines
from p3dfeat.engines.normalize import normalize
from p3dfeat.engines.openvino.core import openvino_installed
from p3dfeat.engines.openvino.engine import OpenVINOEngine
from p3dfeat.engines.openvino.quantization import Calibration, quantized
from p3dfeat.engines.torch_engine import TorchEngine
from p3dfeat.errors import UsageError
from p3dfeat.nets import P3D
from p3dfeat.options import EngineName
from p3dfeat.system.forks import begin_computing
from p3dfeat.types import Batch, UInt8Array

ENGINES: Final = get_args(EngineName)
ENGINE_CLASSES: Final[dict[str, type[Engine]]] = {"torch": TorchEngine, "openvino": OpenVINOEngine}
TOLERANCE: Final = 1e-4  # relative L2 to plain torch in fp32; rounding alone gives 1e-6, a wrong network 1e-1
SMALL: Final = 5_000_000  # weights; OpenVINO needs 0.2 s to load and build; torch runs 20 clips in that time


def make_engine(
    net: P3D,
    spec: InputSpec,
    *,
    layers: tuple[str, ...] = ("pool5",),
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    short_run: bool = False,
    cache_folder: Path | None = None,
    weights_sha256: str = "",
    calibration: Calibration | None = None,
) -> Engine:
    """The engine of that name, created for ``net``.

    "auto" is OpenVINO if it is installed, the device is a CPU, the precision is fp32, and a synthetic clip gives the
    result of plain torch. Otherwise "auto" is torch.
    short_run: the run has few clips. A small network then uses torch, which finishes before OpenVINO has loaded. The
    best batch size is not measured.
    batch_size: number of clips wanted at once; None: a default for the device. On a CPU, the number of clips computed
    together does not depend on it, and neither do the results.
    device: one device, or several GPUs, as for ``pick_devices``. Batches are distributed over them in turn.
    cache_folder, weights_sha256: the folder and the key for measurements on these weights. If either is missing,
    nothing is kept.
    precision: "int8" must be asked for. It needs OpenVINO, a CPU and a calibration.
    Raises UsageError if the engine, device, precision or layer is not available, and in a process that was forked from
    a process that computes.
    """
    begin_computing()
    _check_known(engine)
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"batch size {batch_size}: must be at least 1")
    if not layers:
        raise UsageError("layers: none given; pool5 is the usual one")
    if precision == "int8":
        check_runs_int8(engine, device)
        if calibration is None:
            raise UsageError("precision 'int8': is not calibrated here; extract, classify and bench can do it")
        graph = quantized(net, spec, layers, calibration)
        return OpenVINOEngine(net, spec, layers=layers, quantized=graph, batch_size=batch_size)
    devices = pick_devices(device)
    on_cpu_in_full = all(found.type == "cpu" for found in devices) and precision in ("auto", "fp32")
    if engine == "openvino":
        if not on_cpu_in_full:
            raise UsageError(
                "engine 'openvino': computes in fp32 or int8 on the CPU; use --engine torch for other ways"
            )
        return OpenVINOEngine(net, spec, layers=layers, batch_size=batch_size)
    if engine not in ("auto", "torch"):
        raise UsageError(f"engine {engine!r}: known by name, but nothing makes it")
    small = short_run and net.architecture.num_weights < SMALL
    if engine == "auto" and on_cpu_in_full and not small and openvino_installed():
        fused = _trusted(net, spec, layers, batch_size)
        if fused is not None:
            return fused
    kept = KeptSizes(cache_folder, weights_sha256) if cache_folder and weights_sha256 and not short_run else None
    engines = [
        TorchEngine(net, spec, layers=layers, device=str(found), precision=precision, batch_size=batch_size, kept=kept)
        for found in devices
    ]
    return engines[0] if len(engines) == 1 else SeveralEngines(engines)


def _check_known(engine: str) -> None:
    if engine not in ENGINES:
        raise UsageError(f"engine {engine!r}: unknown; known are {', '.join(ENGINES)}")


def check_runs_int8(engine: str, device: str) -> None:
    """Raise UsageError for an engine or a device that does not support int8. "auto" passes."""
    _check_known(engine)
    if engine not in ("auto", "openvino"):
        raise UsageError(f"precision 'int8': the {engine} engine has none; use --engine openvino")
    if device != "auto" and any(found.type != "cpu" for found in pick_devices(device)):
        raise UsageError(f"precision 'int8': runs on a CPU only, not on {device}; use --device cpu")


def _trusted(net: P3D, spec: InputSpec, layers: tuple[str, ...], batch_size: int | None) -> OpenVINOEngine | None:
    """The OpenVINO engine, if it can be created here and gives the results of plain torch."""
    try:
        fused = OpenVINOEngine(net, spec, layers=layers, batch_size=batch_size)
        return fused if worst_error(fused, net, spec) <= TOLERANCE else None
    except (UsageError, RuntimeError):  # an installation that does not load, or an unsupported processor
        return None


def worst_error(engine: Engine, net: P3D, spec: InputSpec) -> float:
    """The largest relative L2 error of an engine's layers on a synthetic clip, compared with plain torch in fp32."""
    frames, was_training = synthetic_clip(spec), net.training
    with torch.inference_mode():
        expected = net.eval()(normalize(torch.from_numpy(frames), spec).contiguous(), layers=engine.layers)
    net.train(was_training)
    found = engine.run(Batch(frames))
    return float(np.max([relative_l2(found[name], value.numpy()) for name, value in expected.items()]))


def synthetic_clip(spec: InputSpec) -> UInt8Array:
    """(1, T, H, W, C) uint8: waves that move to the right, in integer arithmetic."""
    height, width = spec.size
    t, y, x, c = np.ogrid[: spec.length, :height, :width, : spec.num_channels]
    wave = ((x - 2 * t) * 7 + c * 40) % 256 + ((y * 5 + (x - 2 * t) * 3) // 4) % 128 + (y * (x - 2 * t) // 32) % 128
    return np.asarray(wave // 2 % 256, np.uint8)[None]
