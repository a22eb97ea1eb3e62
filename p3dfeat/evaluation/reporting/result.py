"""The result of an experiment: tables, figures and the list of what was left out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

DIGITS: Final = 6  # in JSON


@dataclass(frozen=True)
class Row:
    """A line of a result table. values: numbers in the table's own units, or text."""

    name: str
    values: Mapping[str, float | str | None]

    def as_json(self) -> dict[str, Any]:
        rounded = {
            name: round(value, DIGITS) if isinstance(value, float) else value for name, value in self.values.items()
        }
        return {"name": self.name, **rounded}


@dataclass(frozen=True)
class Wrong:
    """A test video with a wrong label. margin: score of the predicted class minus that of its own."""

    id: str
    label: str
    predicted: str
    margin: float

    def as_json(self) -> dict[str, Any]:
        return {"id": self.id, "label": self.label, "predicted": self.predicted, "margin": round(self.margin, DIGITS)}


@dataclass(frozen=True)
class Confusion:
    """counts: (labels, labels), rows being the true labels and columns the predicted ones."""

    labels: tuple[str, ...]
    counts: NDArray[np.int64]


@dataclass(frozen=True)
class Line:
    """A line of a figure."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Chart:
    """A figure of lines. logarithmic: whether the x axis is."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    logarithmic: bool = False


@dataclass(frozen=True)
class Evaluation:
    """The result of an experiment.

    experiment: its command. protocol: what was done, in sentences. rows: one per split, and the mean; the last row is
    the result. paper: numbers of the paper, with the same columns. left_out: the reason for each video that was not
    used. wrong: test videos with a wrong label, the worst first.
    """

    experiment: str
    protocol: tuple[str, ...]
    rows: tuple[Row, ...]
    paper: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    wrong: tuple[Wrong, ...] = ()
    confusion: Confusion | None = None
    charts: tuple[Chart, ...] = ()
    saved: str | None = None

    @property
    def result(self) -> Mapping[str, float | str | None]:
        """The values of the last row."""
        return self.rows[-1].values

    def as_json(self) -> dict[str, Any]:
        return {
            "experiment": self.experiment,
            "rows": [row.as_json() for row in self.rows],
            "paper": [row.as_json() for row in self.paper],
            "protocol": list(self.protocol),
            "notes": list(self.notes),
            "left_out": dict(self.left_out),
            "wrong": [each.as_json() for each in self.wrong],
            "saved": self.saved,
        }
