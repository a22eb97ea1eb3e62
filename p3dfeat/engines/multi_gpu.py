"""Several engines as one. Batches are distributed in turn, and rows come back in the order of the batches."""

from collections.abc import Sequence
from itertools import cycle

from p3dfeat.engines.engine import Engine
from p3dfeat.types import Batch, Pending


class SeveralEngines(Engine):
    """One network on several devices, with one engine per device. The engines differ only in their device."""

    def __init__(self, engines: Sequence[Engine]):
        self.engines = tuple(engines)
        first = self.engines[0]
        self.name, self.precision, self.layers = first.name, first.precision, first.layers
        self.device = ",".join(str(engine.device) for engine in self.engines)
        self.in_flight = sum(engine.in_flight for engine in self.engines)
        self._turns = cycle(self.engines)

    @property
    def batch_size(self) -> int:
        """The smallest batch size of the engines."""
        return min(engine.batch_size for engine in self.engines)

    def start(self, batch: Batch) -> Pending:
        return next(self._turns).start(batch)
