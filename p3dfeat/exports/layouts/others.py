"""Proposals, segmentation, anomalies, moments and questions: one reader each."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from p3dfeat.config import CROPS
from p3dfeat.errors import UsageError, VideoError
from p3dfeat.exports.layouts.layout import Layout, Strided, Summary
from p3dfeat.exports.source import Rows
from p3dfeat.text.counts import counted
from p3dfeat.types import FloatArray, SecondsArray

BMN_ROWS: Final = 100
MOMENT_SECONDS: Final = 2.0
MOMENT_ROWS: Final = 75
SNIPPET: Final = 16  # frames
HCRN_CLIPS: Final = 8


class Bmn(Layout):
    """A CSV file per video: a line ``f0,f1,...``, then 100 rows over the whole video.

    Row i is the features at duration * (i + 0.5) / 100, interpolated between the centres of clips.
    Source: mmaction2 4d6c9347, LoadLocalizationFeature; OpenTAD 3dd7b03, which reads it with this rule.
    """

    NAME = "bmn"
    READER = "BMN and BSN of mmaction2 and OpenTAD"
    SUFFIX = ".csv"

    def arranged(self, rows: Rows, values: FloatArray) -> FloatArray:
        centres, _ = self.timing.centres(rows)
        wanted = self.timing.duration(rows) * (np.arange(BMN_ROWS) + 0.5) / BMN_ROWS
        return interpolated(values, centres, wanted)

    def notes(self, summary: Summary) -> Mapping[str, str]:
        return {
            "bmn.txt": f"{BMN_ROWS} rows per video. The time of row i is duration * (i + 0.5) / {BMN_ROWS}, as OpenTAD "
            f"reads it; mmaction2 reads it as duration * i / {BMN_ROWS}, half a row earlier.\n"
            f"mmaction2: data_prefix={self.request.output!r}, feat_dim={self.request.width}\n"
        }


class MsTcn(Layout):
    """One (C, T) array per video with a column per frame: that of the clip whose centre is nearest.

    Source: MS-TCN 33ed91c. With ``--fps``, columns are resampled frames: 15 per second for Breakfast and GTEA, 30 for
    50Salads.
    """

    NAME = "ms-tcn"
    READER = "MS-TCN, ASFormer and others for action segmentation"
    SUFFIX = ".npy"
    CUTS_AT_DOT = True

    def arranged(self, rows: Rows, values: FloatArray) -> FloatArray:
        return np.ascontiguousarray(values[self.nearest(rows)].T)

    def nearest(self, rows: Rows) -> np.ndarray:
        """(frames,) the row for each frame."""
        resampled = self.timing.sampling.fps is not None
        segment = not rows.attributes.keys().isdisjoint(("segment_start_seconds", "segment_end_seconds"))
        if resampled or segment or rows.first_frames is None:
            rate = self.timing.rate(rows)
            centres = self.timing.centres(rows)[0] * rate
            frames = max(1, round(self.timing.duration(rows) * rate))
        else:  # exact whatever the frame rate, even if it varies
            frames = int(rows.attributes["num_frames"])
            centres = np.minimum(rows.first_frames + self.timing.window / 2, frames)
            if self.timing.sampling.offset is not None and "damage" not in rows.attributes:
                # The first clips may begin before the video; the number of their first frame does not tell it.
                centres = self.timing.frame_centres(len(rows))
        borders = (centres[1:] + centres[:-1]) / 2
        return np.searchsorted(borders, np.arange(frames) + 0.5, side="right")

    def notes(self, summary: Summary) -> Mapping[str, str]:
        return {
            "ms-tcn.txt": "(C, T) arrays: column t is frame t, from 0. Give each frame a line in groundTruth/{id}.txt; "
            "MS-TCN cuts the longer of both without a message.\n"
            f"features_dim = {self.request.width}\n"
        }


class Rtfm(Strided):
    """One (T, 10, C) array per video: ten crops of each 16 frames; with ``segments``, means over T / segments rows.

    Source: RTFM cf938f4, dataset.py and utils.py (process_feat).
    """

    NAME = "rtfm"
    READER = "RTFM and others for video anomaly detection"
    SUFFIX = ".npy"
    KEEPS_CROPS = True

    def check(self) -> None:
        super().check()
        timing, ten = self.timing, CROPS[10]
        if self.request.crops != ten:
            raise UsageError(f"{self.NAME}: its reader needs ten crops per clip; extract with --crops 10")
        if (timing.stride, timing.window, timing.centre) != (SNIPPET, SNIPPET, SNIPPET // 2):
            raise UsageError(
                f"{self.NAME}: row i must be frames {SNIPPET} i to {SNIPPET} i + 15; extract with --clip-stride "
                f"{SNIPPET} --frame-interval 1 --crops 10"
            )
        if self.request.segments is not None and not 1 <= self.request.segments <= 1000:
            raise UsageError(f"segments {self.request.segments}: must be from 1 to 1000")

    def _advice(self) -> str:
        return f": here --clip-stride {SNIPPET} --frame-interval 1 --crops 10"

    def arranged(self, rows: Rows, values: FloatArray) -> FloatArray:
        super().arranged(rows, values)
        return values if self.request.segments is None else segment_means(values, self.request.segments)

    def notes(self, summary: Summary) -> Mapping[str, str]:
        return {
            "rtfm.txt": f"(T, 10, {self.request.width}) arrays; crops in the order {', '.join(CROPS[10])}.\n"
            "files.list names them, one per line. RTFM takes the first lines for the abnormal videos, and their number "
            "stands in its dataset.py; --labels puts them first.\n"
        }


class MomentDetr(Layout):
    """An npz per video with ``features`` (T, C): row i is the interval from 2 i to 2 i + 2 seconds; at most 75 rows.

    Source: Moment-DETR b7e553a, Lighthouse d095eaa.
    """

    NAME = "moment-detr"
    READER = "Moment-DETR, QD-DETR, Lighthouse (QVHighlights)"
    SUFFIX = ".npz"
    KEY: Final = "features"

    def check(self) -> None:
        sampling = self.timing.sampling
        if sampling.every != MOMENT_SECONDS and (sampling.stride is None or sampling.fps is None):
            raise UsageError(f"{self.NAME}: its reader needs a row every 2 seconds; extract with --every 2")

    def arranged(self, rows: Rows, values: FloatArray) -> FloatArray:
        read = MOMENT_SECONDS * (np.arange(len(rows)) + 0.5)
        centres, whole = self.timing.centres(rows)
        off = np.abs(centres - read)[whole]
        if off.size and not off.max() <= 0.5 * MOMENT_SECONDS:
            raise VideoError("its rows are not 2 seconds apart; extract with --every 2")
        if len(rows) > MOMENT_ROWS:
            raise VideoError(
                f"gives {counted(len(rows), 'row')}, {2 * len(rows)} s; the reader takes {MOMENT_ROWS}, 150 s; extract "
                "parts of it, named in a CSV with start and end"
            )
        return values

    def notes(self, summary: Summary) -> Mapping[str, str]:
        return {
            "moment-detr.txt": f"--v_feat_dirs {self.request.output} --v_feat_dim {self.request.width} "
            "--clip_length 2\nRow i is the interval from 2 i to 2 i + 2 seconds. The reader scales rows to length 1.\n"
        }


class Hcrn(Layout):
    """One HDF5 file: ``resnext_features`` (N, 8, C), and ``ids`` (N,) int; clips at the 8 inner ones of 10 points.

    Source: HCRN eb92c9b, preprocess/preprocess_features.py.
    """

    NAME = "hcrn"
    READER = "HCRN video question answering"
    SUFFIX = ".h5"
    ONE_FILE = True
    ARRAY: Final = "resnext_features"

    def check(self) -> None:
        sampling = self.timing.sampling
        if sampling.clips != HCRN_CLIPS or sampling.spacing != "inside":
            raise UsageError(f"{self.NAME}: its reader takes 8 clips inside; extract with --clips 8 --spacing inside")

    def arranged(self, rows: Rows, values: FloatArray) -> FloatArray:
        if len(values) != HCRN_CLIPS:
            raise VideoError(f"has {counted(len(values), 'clip')}, since it is damaged; the reader takes {HCRN_CLIPS}")
        return values


def question_numbers(ids: Sequence[str]) -> dict[str, int]:
    """The integer of each video: the digits that end its name, if no two are the same; otherwise its place."""
    digits = [re.search(r"(\d{1,18})$", id) for id in ids]
    numbers = [int(match[1]) for match in digits if match]
    if len(set(numbers)) < len(ids):
        numbers = list(range(len(ids)))
    return dict(zip(ids, numbers, strict=True))


def interpolated(values: FloatArray, centres: SecondsArray, wanted: SecondsArray) -> FloatArray:
    """(T, C) rows at (T,) times -> rows at ``wanted`` times, on straight lines; outside, the first or last row."""
    centres, kept = np.unique(centres, return_index=True)  # clips of a short video may have one centre
    values = values[kept]
    place = np.interp(wanted, centres, np.arange(len(centres)))
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, len(centres) - 1)
    share = (place - low)[:, None]
    return np.asarray((1 - share) * values[low] + share * values[high], np.float32)


def segment_means(values: FloatArray, segments: int) -> FloatArray:
    """(T, ...) to (segments, ...): means of equal parts; of fewer rows than segments, some rows come several times."""
    borders = np.linspace(0, len(values), segments + 1, dtype=np.int64)
    return np.stack(
        [
            values[first:end].mean(axis=0) if end > first else values[min(first, len(values) - 1)]
            for first, end in pairwise(borders)
        ]
    )
