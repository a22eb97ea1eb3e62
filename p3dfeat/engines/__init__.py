"""Engines, which run a network: a Batch in, {layer: rows} out."""

from p3dfeat.engines.engine import Engine
from p3dfeat.engines.multi_gpu import SeveralEngines
from p3dfeat.engines.openvino.engine import OpenVINOEngine
from p3dfeat.engines.openvino.quantization import Calibration, CalibrationClips, is_kept
from p3dfeat.engines.selection import ENGINE_CLASSES, ENGINES, check_runs_int8, make_engine
from p3dfeat.engines.torch_engine import TorchEngine

__all__ = [
    "ENGINES",
    "ENGINE_CLASSES",
    "Calibration",
    "CalibrationClips",
    "Engine",
    "OpenVINOEngine",
    "SeveralEngines",
    "TorchEngine",
    "check_runs_int8",
    "is_kept",
    "make_engine",
]
