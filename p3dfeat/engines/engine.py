"""The base class of all engines. An engine starts batches, and the caller can wait for their rows."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from p3dfeat.events import Calibrated
from p3dfeat.types import Batch, FloatArray, Pending


class Engine(ABC):
    """Runs a network on batches. The layers that it returns are fixed at construction."""

    name: str  # stored with the features, as are device and precision
    device: torch.device | str  # a str if there are several, separated by commas
    precision: str
    layers: tuple[str, ...]
    calibrated: Calibrated | None = None  # how close a calibrated precision is to fp32
    in_flight: int = 1  # useful number of started batches; 1 if start() itself computes the batch

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """A number of clips that keeps the device busy. It is smaller after memory has run out."""

    @abstractmethod
    def start(self, batch: Batch) -> Pending:
        """Start a batch of N clips. The caller may overwrite its memory as soon as this returns."""

    def run(self, batch: Batch) -> dict[str, FloatArray]:
        """{layer: (N, ...) float32} of a batch of N clips."""
        return self.start(batch).result()


@dataclass(frozen=True)
class Done:
    """The rows of a batch that start() has already computed."""

    rows: dict[str, FloatArray]

    def result(self) -> dict[str, FloatArray]:
        return self.rows


@dataclass(frozen=True)
class Joined:
    """The rows of a batch that was started in several parts."""

    parts: Sequence[Pending]

    def result(self) -> dict[str, FloatArray]:
        found = [part.result() for part in self.parts]
        return {name: np.concatenate([rows[name] for rows in found]) for name in found[0]}
