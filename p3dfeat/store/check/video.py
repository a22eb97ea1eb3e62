"""Check one video of an untrusted feature file: every array, every value."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.nets import Architecture
from p3dfeat.store.layout import (
    CLIP_ARRAYS,
    COLUMNS,
    MOST_UNPACKED,
    PIECE_BYTES,
    POOLED,
    VIDEO_MARK,
    array_names,
    column_names,
)
from p3dfeat.store.members import foreign_filters, is_hard
from p3dfeat.text.counts import counted
from p3dfeat.types import MOST_FPS, PART, VIDEO_ATTRIBUTES

SUM_OF_PROBABILITIES: Final = 1e-3  # maximum distance from 1; float32 gives 1e-6, even with bf16 weights

OPTIONAL: Final = ("first_frames",)  # array that older versions did not write

NUMBERS: Final = {  # numeric attributes of a video: their minimum
    "duration_seconds": 0.0,
    "frame_rate": 0.0,
    "num_frames": 1,
    "width": 1,
    "height": 1,
    "rotation": 0,
    "size_bytes": 0,
    "padded_frames": 0,
}
TEXTS: Final = {  # text attributes: their patterns
    VIDEO_MARK: ".+",
    "fingerprint": "[0-9a-f]{16}",
    "modified": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00",
    "codec": ".+",
    "pixel_format": ".+",
    "sample_aspect_ratio": r"\d+:\d+",
}
TOLD: Final = (  # attributes in the result: they identify the file, and give the expected number of clips
    *(VIDEO_MARK, "fingerprint", "size_bytes", "modified", *PART),
    *("num_frames", "duration_seconds", "damage", "clips_left_out"),
)

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Expected:
    """The settings of a file's videos, from its root; None if missing or invalid."""

    layers: tuple[str, ...] | None = None
    sampling: Sampling | None = None
    preprocessing: InputSpec | None = None
    architecture: Architecture | None = None
    row_shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)  # of a layer, as in the first video

    def row_shape(self, name: str) -> tuple[int, ...] | None:
        """Shape for one clip: from the network for layers after its convolutions, otherwise from earlier videos."""
        known: dict[str, tuple[int, ...]] = {"seconds": (2,), "first_frames": ()}
        if self.architecture is not None:
            crops = len(self.preprocessing.crops) if self.preprocessing is not None else 1
            axis = (crops,) if crops > 1 else ()
            known[POOLED] = (*axis, self.architecture.feature_width)
            known["logits"] = known["prob"] = (*axis, self.architecture.classes)
        return known.get(name, self.row_shapes.get(name))


class VideoCheck:
    """Checks the group of one video. tell: called with each problem, one line; beat: called between pieces.

    note: called with the name of each attribute or array that p3dfeat did not write.
    """

    def __init__(self, group: h5py.Group, expected: Expected, tell: Tell, note: Tell, beat: Callable[[], None]):
        self._group, self._expected, self._tell, self._note, self._beat = group, expected, tell, note, beat
        self._clips: int | None = None

    def run(self) -> dict[str, Any]:
        """Report all problems; return the number of clips, and some of the attributes."""
        attributes = self._attributes()
        arrays = self._arrays()
        if "seconds" in arrays:
            self._clips = len(arrays["seconds"])
            self._seconds(arrays["seconds"])
        if "first_frames" in arrays:
            self._first_frames(arrays["first_frames"], attributes.get("num_frames"))
        mean: NDArray[np.float64] | None = None
        for name, dataset in arrays.items():
            if name not in (*CLIP_ARRAYS, "pooled"):
                total = self._layer(name, dataset)
                mean = total / prod(dataset.shape[:-1]) if name == POOLED and total is not None else mean
        if "pooled" in arrays and mean is not None:
            self._pooled(arrays["pooled"], mean)
        self._plausible(attributes)
        return {"clips": self._clips or 0, **{name: attributes[name] for name in TOLD if name in attributes}}

    def _attributes(self) -> dict[str, Any]:
        """The attributes of p3dfeat that can be read."""
        found: dict[str, Any] = {}
        with telling(self._tell, f"attribute {COLUMNS}"):
            columns = column_names(self._group.attrs)
        for name in sorted(self._group.attrs):
            with telling(self._tell, f"attribute {name}"):
                value = self._group.attrs[name]
                if name in VIDEO_ATTRIBUTES:
                    found[name] = value.item() if isinstance(value, np.generic) else value
                elif name not in columns:
                    self._note(f"attribute {name}")
        for name in (*NUMBERS, *TEXTS):
            if name not in found:
                self._tell(f"attribute {name} is missing")
        return found

    def _plausible(self, attributes: Mapping[str, Any]) -> None:
        for name, least in NUMBERS.items():
            value = attributes.get(name, least)
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < math.inf:
                self._tell(f"attribute {name} is {shown(value)}, which is not valid")
        for name, pattern in TEXTS.items():
            value = attributes.get(name)
            if value is not None and not (isinstance(value, str) and re.fullmatch(pattern, value, re.DOTALL)):
                self._tell(f"attribute {name} is {shown(value)}, which is not valid")
        rate = attributes.get("frames_fps")
        if rate is not None and not (isinstance(rate, float) and 0 < rate <= MOST_FPS):
            self._tell(f"attribute frames_fps is {shown(rate)}, which is not valid")
        start, end = (attributes.get(f"segment_{which}_seconds") for which in ("start", "end"))
        for value in (start, end):
            if value is not None and not (isinstance(value, float) and 0 <= value < math.inf):
                self._tell(f"a segment's time is {shown(value)}, which is not valid")
                return
        if end is not None and not (start or 0.0) < end:
            self._tell(f"its segment ends at {end:g} s, before it begins")

    def _arrays(self) -> dict[str, h5py.Dataset]:
        """The expected datasets, by name, if their type is right and their data are present; reports the others."""
        layers, found = self._expected.layers, {}
        names = list(self._group)
        wanted = set(names if layers is None else array_names(layers))
        for name in names:
            with telling(self._tell, name):
                if not is_hard(self._group, name):
                    self._tell(f"{name}: a link to another place; feature files have no links")
                elif not isinstance(item := self._group[name], h5py.Dataset):
                    self._tell(f"{name}: not an array; a video holds nothing else")
                elif name not in wanted:
                    self._note(f"array {name}")
                elif self._is_readable(name, item):
                    found[name] = item
        for name in sorted(wanted.difference(names, OPTIONAL)):
            self._tell(f"{name} is missing")
        return found

    def _is_readable(self, name: str, item: h5py.Dataset) -> bool:
        """Whether an array has the right type, and all bytes of its shape are in this file."""
        wanted = np.dtype(CLIP_ARRAYS.get(name, np.float32))
        if item.dtype != wanted:
            self._tell(f"{name}: holds {item.dtype}, not {wanted}")
        elif item.is_virtual or item.external is not None:
            self._tell(f"{name}: its numbers lie in other files; a feature file holds all its numbers")
        elif foreign_filters(item):
            self._tell(f"{name}: compressed with filter {foreign_filters(item)[0]}, which is not HDF5's own")
        elif not item.shape or 0 in item.shape:
            self._tell(f"{name}: is empty")
        elif item.chunks is not None and item.nbytes > MOST_UNPACKED * item.id.get_storage_size():
            self._tell(f"{name}: its shape {item.shape} says {counted(item.nbytes, 'byte')}, which are not there")
        elif item.chunks is None and item.id.get_storage_size() != item.nbytes:
            claimed = f"its shape {item.shape} says {counted(item.nbytes, 'byte')}"
            self._tell(f"{name}: {claimed}, {item.id.get_storage_size():,} are there")
        else:
            return True
        return False

    def _pieces(self, name: str, dataset: h5py.Dataset) -> Iterator[NDArray[Any]]:
        """The rows, piece by piece, until one cannot be read."""
        rows = max(1, PIECE_BYTES * len(dataset) // max(1, dataset.nbytes))
        for first in range(0, len(dataset), rows):
            self._beat()
            piece: NDArray[Any] | None = None
            with telling(self._tell, name):
                piece = dataset[first : first + rows]
            if piece is None:
                return
            yield piece

    def _layer(self, name: str, dataset: h5py.Dataset) -> NDArray[np.float64] | None:
        """Check every value of a layer; return the sum of its rows if all could be read."""
        if self._clips is not None and len(dataset) != self._clips:
            self._tell(f"{name}: {counted(len(dataset), 'row')} for {counted(self._clips, 'clip')}")
        shape = self._expected.row_shape(name)
        if shape is not None and dataset.shape[1:] != shape:
            self._tell(f"{name}: a row is {dataset.shape[1:]}, not {shape}")
        self._expected.row_shapes.setdefault(name, dataset.shape[1:])
        total, bad, odd, read = np.zeros(dataset.shape[-1:] if name == POOLED else (), np.float64), 0, 0, 0
        for rows in self._pieces(name, dataset):
            bad += int(rows.size - np.count_nonzero(np.isfinite(rows)))
            read += len(rows)
            if name == POOLED:
                total += rows.reshape(-1, rows.shape[-1]).sum(axis=0, dtype=np.float64)
            elif name == "prob":
                odd += int(np.count_nonzero(~are_probabilities(rows.reshape(-1, rows.shape[-1]))))
        if bad:
            self._tell(f"{name}: {bad} of {dataset.size} numbers are not finite")
        elif odd:
            self._tell(f"{name}: {odd} of {prod(dataset.shape[:-1])} rows are not probabilities")
        return total if read == len(dataset) and not bad else None

    def _pooled(self, dataset: h5py.Dataset, mean: NDArray[np.float64]) -> None:
        if dataset.shape != mean.shape:
            self._tell(f"pooled: is {dataset.shape}, not {mean.shape}")
            return
        with telling(self._tell, "pooled"):
            pooled, wanted = dataset[()], mean.astype(np.float32)
            # Sums in another order may round to the adjacent number.
            unlike = ~(np.abs(pooled - wanted) <= np.spacing(np.abs(wanted)))
            if unlike.any():
                self._tell(f"pooled: {np.count_nonzero(unlike)} of {unlike.size} numbers are not the mean of {POOLED}")

    def _seconds(self, dataset: h5py.Dataset) -> None:
        if dataset.shape[1:] != (2,):
            self._tell(f"seconds: a row is {dataset.shape[1:]}, not (2,)")
            return
        last = -math.inf
        for rows in self._pieces("seconds", dataset):
            if not np.isfinite(rows).all():
                self._tell("seconds: not all are finite")
                return
            starts, ends = rows[:, 0], rows[:, 1]
            if (starts >= ends).any():
                self._tell("seconds: a clip ends before it begins")
                return
            if (np.diff(starts, prepend=last) < 0).any():  # clips of short videos may begin together
                self._tell("seconds: a clip begins before the one in front of it")
                return
            last = float(starts[-1])

    def _first_frames(self, dataset: h5py.Dataset, num_frames: object) -> None:
        if dataset.ndim != 1 or (self._clips is not None and len(dataset) != self._clips):
            self._tell(f"first_frames: {dataset.shape}, for {counted(self._clips or 0, 'clip')}")
            return
        least, most = 0, num_frames if isinstance(num_frames, int) else math.inf
        for numbers in self._pieces("first_frames", dataset):
            if (np.diff(numbers, prepend=least) < 0).any() or numbers[-1] >= most:
                self._tell("first_frames: not all are frames of the video, in order")
                return
            least = int(numbers[-1])


def are_probabilities(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """(N,) whether each of the rows (N, classes) has values from 0 to 1 that sum to 1."""
    sums = rows.reshape(len(rows), -1).sum(axis=1, dtype=np.float64)
    within = ((rows >= 0) & (rows <= 1)).reshape(len(rows), -1).all(axis=1)
    return np.asarray(within & (np.abs(sums - 1) <= SUM_OF_PROBABILITIES))


class telling:  # noqa: N801  # reads as its action: with telling(tell, "pool5"): ...
    """Reports HDF5's errors for damaged data as problems; they may be of almost any type."""

    def __init__(self, tell: Tell, subject: str):
        self._tell, self._subject = tell, subject

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        if kind is None or not issubclass(kind, Exception):
            return False
        self._tell(f"{self._subject}: cannot be read ({reason(error)})")
        return True


def reason(error: BaseException | None) -> str:
    """The first line of an error, or its type if it has no text."""
    text = str(error).strip().partition("\n")[0]
    return text if text and not isinstance(error, MemoryError) else type(error).__name__


def shown(value: object) -> str:
    """A short text for any value."""
    text = json.dumps(value) if isinstance(value, str | int | float) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
