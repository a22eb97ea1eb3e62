"""How a net is run: a Batch in, {layer: rows} out."""

from p3dfeat.engines.choice import ENGINES, make_engine
from p3dfeat.engines.engine import Engine
from p3dfeat.engines.openvino_engine import OpenVINOEngine
from p3dfeat.engines.several import SeveralEngines
from p3dfeat.engines.torch_engine import TorchEngine

__all__ = ["ENGINES", "Engine", "OpenVINOEngine", "SeveralEngines", "TorchEngine", "make_engine"]
