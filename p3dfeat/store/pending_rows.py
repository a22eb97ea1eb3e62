"""The rows of one video before they are in the journal."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p3dfeat.store.layout import COLUMNS, POOLED, VIDEO_MARK
from p3dfeat.types import PART, Features, Video, VideoInfo


class Rows:
    """Rows in memory, and the offsets of the records with earlier rows.

    written: offsets in the run's journal.
    """

    def __init__(self) -> None:
        self.written: list[int] = []
        self.waiting_bytes = 0
        self.padded_frames = 0
        self._waiting: list[Features] = []
        self._sum: NDArray[np.float64] | None = None
        self._count = 0

    def add(self, features: Features) -> None:
        self._waiting.append(features)
        self.waiting_bytes += sum(rows.nbytes for rows in features.layers.values())
        self.padded_frames += features.padded_frames
        if POOLED in features.layers:
            rows = features.layers[POOLED]
            rows = rows.reshape(-1, rows.shape[-1])  # each crop of a clip counts
            self._count += len(rows)
            for row in rows:  # one by one: the sum must not depend on how rows are batched
                self._sum = row.astype(np.float64) if self._sum is None else self._sum + row

    def take(self) -> dict[str, NDArray[Any]]:
        """Remove and return the rows in memory: {layer: (N, ...)}, "seconds" (N, 2), "first_frames" (N,)."""
        if not self._waiting:
            return {}
        arrays: dict[str, NDArray[Any]] = {
            name: np.concatenate([features.layers[name] for features in self._waiting])
            for name in self._waiting[0].layers
        }
        arrays["seconds"] = np.concatenate([features.seconds for features in self._waiting])
        arrays["first_frames"] = np.concatenate([features.first_frames for features in self._waiting])
        self._waiting.clear()
        self.waiting_bytes = 0
        return arrays

    def pooled(self) -> dict[str, NDArray[np.float32]]:
        return {} if self._sum is None else {"pooled": (self._sum / self._count).astype(np.float32)}


def attributes_of(video: Video, info: VideoInfo, rows: Rows) -> dict[str, Any]:
    """The attributes stored of a video."""
    about = asdict(info) | {"padded_frames": rows.padded_frames, VIDEO_MARK: video.source}
    if info.damage is None:  # only damaged videos have these
        del about["damage"], about["clips_left_out"]
    if not info.first_seconds:
        del about["first_seconds"]
    if info.indexed is None:
        del about["indexed"]
    about["remarks"] = "; ".join(info.remarks)
    if not info.remarks:
        del about["remarks"]
    origin = video.segment_origin if video.is_segment else None
    part = dict(zip(PART, (video.start_seconds, video.end_seconds, origin, video.frames_fps), strict=True))
    about |= {name: value for name, value in part.items() if value is not None}
    if video.columns:
        about |= dict(video.columns) | {COLUMNS: json.dumps([name for name, _ in video.columns])}
    return about
