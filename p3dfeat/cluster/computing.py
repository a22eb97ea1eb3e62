"""The network of a node: an actor that turns blocks of clips into rows of features."""

import threading
from typing import Any

from p3dfeat._version import __version__
from p3dfeat.config import InputSpec
from p3dfeat.engines import make_engine
from p3dfeat.types import Batch, FloatArray, UInt8Array
from p3dfeat.workflows.pipeline import averaged
from p3dfeat.zoo import Model


class Computing:
    """A model on a GPU, or on the cores of one node. Ray makes an actor of it."""

    def __init__(self, model: Model, spec: InputSpec, layers: tuple[str, ...], options: dict[str, Any], pool: str):
        """options: of ``make_engine``."""
        self._engine = make_engine(model.net, spec, layers=layers, weights_sha256=model.weights_sha256, **options)
        self._pool = pool
        self._turn = threading.Lock()

    def about(self) -> dict[str, Any]:
        """How it computes, which must be the same on all nodes."""
        engine = self._engine
        return {
            "p3dfeat": __version__,
            "engine": engine.name,
            "precision": engine.precision,
            "layers": list(engine.layers),
            "device": str(engine.device).partition(":")[0],
            "batch_size": engine.batch_size,
            "in_flight": engine.in_flight,
        }

    def compute(self, clips: UInt8Array) -> dict[str, FloatArray]:
        """{layer: (N, ...) float32} of N clips, (N, T, C, H, W) uint8. Several calls may wait for their results."""
        with self._turn:
            pending = self._engine.start(Batch.of_planes(clips))
        rows = pending.result()
        return {name: averaged(values) for name, values in rows.items()} if self._pool == "mean" else rows
