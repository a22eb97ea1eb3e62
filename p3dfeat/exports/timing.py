"""When a row of features happens: by the file's own timestamps, and by the rule of a reader."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from p3dfeat.config import Sampling
from p3dfeat.errors import FeatureFileError, UsageError, VideoError
from p3dfeat.exports.source import Rows
from p3dfeat.types import SecondsArray


@dataclass(frozen=True)
class Timing:
    """The places of clips in videos, from the sampling of a feature file. Frames are those after resampling."""

    sampling: Sampling

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Timing":
        """settings: of a feature file. Raises FeatureFileError."""
        try:
            return cls(Sampling(**settings["sampling"]))
        except (TypeError, UsageError) as error:
            raise FeatureFileError(f"its sampling cannot be understood ({error})") from None

    @property
    def stride(self) -> int | None:
        """Number of frames from one clip to the next; None if clips do not follow each other by frames."""
        return self.sampling.stride

    @property
    def centre(self) -> int:
        """The frame at the centre of the first clip: 8 for 16 consecutive frames from the first one."""
        return self.sampling.half if self.sampling.offset is None else self.sampling.offset

    @property
    def window(self) -> int:
        """Number of frames that a clip spans, including those between its frames."""
        return self.sampling.length * self.sampling.step

    def frame_centres(self, count: int) -> SecondsArray:
        """(count,) the frame at the centre of each clip, by stride and offset."""
        assert self.stride is not None
        return np.arange(count, dtype=np.float64) * self.stride + self.centre

    def rate(self, rows: Rows) -> float:
        """Frames per second in which strides are counted."""
        return self.sampling.fps or float(rows.attributes.get("frame_rate", 0.0))

    def origin(self, rows: Rows) -> float:
        """Time, by the file's timestamps, that a reader of this video counts from: its or its segment's beginning."""
        about, first = rows.attributes, float(rows.seconds[0, 0])
        if self.sampling.stride is not None:
            late = max(0, self.centre - self.sampling.half)  # frames before the first clip
            return first - late / self.rate(rows) if late else first
        start = about.get("segment_start_seconds")
        if start is not None and about.get("segment_origin") == "clock":
            return float(start)
        return float(about.get("first_seconds", 0.0)) + float(start or 0.0)

    def duration(self, rows: Rows) -> float:
        """Seconds from ``origin`` to the end of the video or segment."""
        about = rows.attributes
        if about.keys().isdisjoint(("segment_start_seconds", "segment_end_seconds")) and "first_seconds" not in about:
            return float(about["duration_seconds"])
        if not len(rows.seconds):
            last = float(about.get("segment_end_seconds", about["duration_seconds"]))
            return last - float(about.get("segment_start_seconds", 0.0))
        first = float(about.get("first_seconds", 0.0))
        end = first + float(about["duration_seconds"])
        if (stop := about.get("segment_end_seconds")) is not None:
            end = min(end, float(stop) + (0.0 if about.get("segment_origin") == "clock" else first))
        return end - self.origin(rows)

    def centres(self, rows: Rows) -> tuple[SecondsArray, np.ndarray[Any, np.dtype[np.bool_]]]:
        """(T,) centre of each row in seconds from ``origin``, and whether its clip is complete.

        A clip that repeats frames at an end of the video has its centre elsewhere than its frames.
        """
        starts, ends = rows.seconds[:, 0], rows.seconds[:, 1]
        whole = np.ones(len(rows.seconds), np.bool_)
        if rows.attributes.get("padded_frames", 0):
            lasts = ends - starts
            whole = lasts >= np.median(lasts) * 0.99 if len(lasts) > 2 else lasts >= lasts.max()
            whole &= (starts > starts[0]) | (self.centre >= self.sampling.half)
            whole[-1] = len(whole) > 1 and bool(whole[-1]) and self.sampling.tail != "pad"
        return (starts + ends) / 2 - self.origin(rows), whole

    def check(self, rows: Rows, read: SecondsArray, stride_seconds: float) -> None:
        """Raise VideoError if a reader would place a row more than half a stride from its centre.

        read: (T,) time of each row by the reader's rule.
        """
        centres, whole = self.centres(rows)
        off = np.abs(centres - read)[whole]
        if off.size and not off.max() <= 0.5 * stride_seconds + 1e-6:
            row = int(np.flatnonzero(whole)[off.argmax()])
            damaged = "clips are missing, since it is damaged; leave it out"
            uneven = "its frame rate varies; extract with --fps RATE, which makes it even"
            raise VideoError(
                f"its reader would take row {row}, at {centres[row]:.2f} s, for one at {read[row]:.2f} s: "
                + (damaged if "damage" in rows.attributes else uneven)
            )
