"""What every engine is: it starts batches, and their rows can be waited for."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from p3dfeat.events import Calibrated
from p3dfeat.types import Batch, FloatArray, Pending


class Engine(ABC):
    """Runs a network on batches; the layers it returns are fixed when it is made."""

    name: str  # recorded, as are device and precision
    device: torch.device | str  # or several, with commas between them
    precision: str
    layers: tuple[str, ...]
    calibrated: Calibrated | None = None  # how near a precision that needs calibration is to fp32
    in_flight: int = 1  # started batches that are worth having at once; 1 where a batch is computed as it is started

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """A number of clips that keeps the device busy; smaller after memory has run out."""

    @abstractmethod
    def start(self, batch: Batch) -> Pending:
        """Begin with a batch of N clips. Its memory may be written over as soon as this returns."""

    def run(self, batch: Batch) -> dict[str, FloatArray]:
        """{layer: (N, ...) float32} of a batch of N clips."""
        return self.start(batch).result()


@dataclass(frozen=True)
class Done:
    """The rows of a batch that was computed as it was started."""

    rows: dict[str, FloatArray]

    def result(self) -> dict[str, FloatArray]:
        return self.rows


@dataclass(frozen=True)
class Joined:
    """The rows of a batch that was started in parts, one after the other."""

    parts: Sequence[Pending]

    def result(self) -> dict[str, FloatArray]:
        found = [part.result() for part in self.parts]
        return {name: np.concatenate([rows[name] for rows in found]) for name in found[0]}
