"""What a layout is: how a reader names, arranges and times the features of a video."""

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from p3dfeat.errors import UsageError
from p3dfeat.exports.source import Rows
from p3dfeat.exports.timing import Timing
from p3dfeat.types import FloatArray, SecondsArray


@dataclass(frozen=True)
class Request:
    """What is exported: the timing and crops of the feature files, and the options that layouts read.

    output: where the export will be. width: numbers per row after the transforms.
    """

    timing: Timing
    crops: tuple[str, ...]
    output: str
    prefix: str = ""
    segments: int | None = None
    width: int = 0


@dataclass
class Summary:
    """Facts about the exported videos, for the notes that are written beside them."""

    videos: int = 0
    slowest: float = np.inf  # frames per second
    fastest: float = 0.0

    def add(self, rate: float) -> None:
        self.videos += 1
        self.slowest, self.fastest = min(self.slowest, rate), max(self.fastest, rate)

    @property
    def rate(self) -> float | None:
        """The frame rate, if it is the same for all videos; otherwise None."""
        same = self.videos and self.fastest - self.slowest <= 1e-3 * self.fastest
        return round(self.fastest, 6) if same else None


class Layout(ABC):
    """One layout. A subclass says what differs: names, shapes, times, and what stands beside.

    NAME: on the command line. READER: the software that reads it. SUFFIX: of each video's file or, for ONE_FILE, of
    the output. CUTS_AT_DOT: its reader cuts names at the first dot. KEEPS_CROPS: rows are (T, crops, C). ANY_SHAPE:
    layers with time, height and width are possible. PREFIX: the usual one. NEEDS_TIMES: it uses the times of rows.
    """

    NAME: ClassVar[str]
    READER: ClassVar[str]
    SUFFIX: ClassVar[str]
    ONE_FILE: ClassVar[bool] = False
    CUTS_AT_DOT: ClassVar[bool] = False
    KEEPS_CROPS: ClassVar[bool] = False
    ANY_SHAPE: ClassVar[bool] = False
    PREFIX: ClassVar[str] = ""
    NEEDS_TIMES: ClassVar[bool] = True

    def __init__(self, request: Request):
        """Raise UsageError if the features cannot serve the reader."""
        self.request = request
        self.check()

    @property
    def timing(self) -> Timing:
        return self.request.timing

    def check(self) -> None:
        """Raise UsageError, with the options of ``extract`` that the reader needs, if the features do not suit it."""
        return

    def arranged(self, rows: Rows, values: FloatArray) -> FloatArray:
        """The array that the reader expects. Raises VideoError if the reader would take it for something else.

        values: (T, C) float32, or with KEEPS_CROPS (T, crops, C).
        """
        return values

    def notes(self, summary: Summary) -> Mapping[str, str]:
        """Texts of files to write beside the features, by name: settings for the reader, with the numbers filled in."""
        return {}

    def facts(self) -> Mapping[str, Any]:
        """What the export's own record says of the times of rows."""
        timing = self.timing
        return {
            "stride_frames": timing.stride,
            "stride_seconds": timing.sampling.every,
            "offset_frames": timing.centre if timing.stride is not None else None,
            "window_frames": timing.window,
            "fps": timing.sampling.fps,
        }


class Strided(Layout):
    """A layout whose reader computes times from one stride: row i is at (i * stride + offset) / fps."""

    def check(self) -> None:
        if self.timing.stride is None:
            raise UsageError(
                f"{self.NAME}: its reader computes times from a stride in frames, and these clips have none; extract "
                f"with --clip-stride FRAMES{self._advice()}"
            )

    def _advice(self) -> str:
        return ", such as --clip-stride 4"

    def arranged(self, rows: Rows, values: FloatArray) -> FloatArray:
        self.timing.check(rows, self.read_times(rows), self.stride / self.timing.rate(rows))
        return values

    @property
    def stride(self) -> int:
        assert self.timing.stride is not None
        return self.timing.stride

    def read_times(self, rows: Rows) -> SecondsArray:
        """(T,) seconds: the time of each row by the reader's rule."""
        return self.timing.frame_centres(len(rows)) / self.timing.rate(rows)


def rate_text(summary: Summary, *, unknown: str) -> str:
    """The frame rate, or ``unknown`` if videos differ."""
    return unknown if summary.rate is None else f"{summary.rate:g}"
