"""Feature files as the source of an export: one or several, whose settings agree, one video after another."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import FeatureFileError, UsageError
from p3dfeat.store import FeatureFile, Ledger, differences, open_features
from p3dfeat.types import FloatArray, Int64Array, SecondsArray

ATTRIBUTES: Final = (
    *("duration_seconds", "frame_rate", "num_frames", "fingerprint", "segment_start_seconds", "segment_end_seconds"),
)
TIMES: Final = ("padded_frames", "first_seconds", "segment_origin", "damage")  # attributes for times of rows
POOLED: Final = "pooled"  # the one array that has no clips


@dataclass(frozen=True)
class Rows:
    """Features of one video: (T, ...) float32; with several crops (T, crops, ...)."""

    id: str
    values: FloatArray
    seconds: SecondsArray  # (T, 2) start and end of each clip, by the file's timestamps; empty if they were not read
    first_frames: Int64Array | None  # (T,); None in files of versions before 0.2
    attributes: Mapping[str, Any]
    columns: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.values)


Wanted = Callable[[str, Mapping[str, Any]], bool]


class Source:
    """Feature files that are exported together; use in a with statement.

    Raises FeatureFileError for a file that cannot be read, UsageError if settings differ or a layer is not stored.
    """

    def __init__(self, files: Sequence[str | Path], layer: str):
        if not files:
            raise UsageError("feature files: none given")
        self._stack = ExitStack()
        self.layer = layer
        self.files: list[FeatureFile] = []
        try:
            for path in files:
                self.files.append(self._stack.enter_context(open_features(path)))
            self._check()
        except BaseException:
            self._stack.close()
            raise

    def _check(self) -> None:
        first = self.files[0]
        for file in self.files:
            file.check_stored(self.layer)
            if unlike := differences(first.settings, file.settings):
                raise UsageError(f"{file.path}: made with other settings than {first.path}: {'; '.join(unlike)}")
        seen: dict[str, Path] = {}
        for file in self.files if len(self.files) > 1 else ():
            for id in file:
                if id in seen:
                    raise UsageError(f"{file.path}: video {id!r} is also in {seen[id]}; export one of them alone")
                seen[id] = file.path

    @property
    def settings(self) -> Mapping[str, Any]:
        return self.files[0].settings

    @property
    def crops(self) -> tuple[str, ...]:
        return self.files[0].crops

    def __len__(self) -> int:
        return sum(len(file) for file in self.files)

    def ids(self) -> Iterator[str]:
        for file in self.files:
            yield from file

    def identities(self, names: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """(id, attributes) of all videos; no array is read."""
        for file in self.files:
            yield from ((video.id, video.attributes) for video in file.scan([], names))

    def videos(self, wanted: Wanted | None = None, *, times: bool = True) -> Iterator[Rows | None]:
        """All videos, in the order of ``ids``; None, without reading its arrays, for one that is not wanted.

        times: whether to read when rows happen, too.
        """
        arrays = [self.layer, "seconds", "first_frames"] if times else [self.layer]
        attributes = (*ATTRIBUTES, *TIMES) if times else ATTRIBUTES
        for file in self.files:
            for video in file.scan(arrays, attributes, columns=True, wanted=wanted):
                if not video.arrays:
                    yield None
                    continue
                values, seconds = video.arrays.get(self.layer), video.arrays.get("seconds")
                if not times:
                    seconds = np.zeros((0, 2))
                if values is None or seconds is None or (times and not len(seconds)):
                    raise FeatureFileError(f"{file.path}: {video.id} lacks {self.layer}; p3dfeat verify tells more")
                if self.layer == POOLED:
                    values = values[None]
                    seconds = np.array([[seconds[0, 0], seconds[-1, 1]]]) if times else seconds
                if values.dtype != np.float32 or (times and len(values) != len(seconds)):
                    raise FeatureFileError(f"{file.path}: {video.id} is damaged; p3dfeat verify tells more")
                yield Rows(video.id, values, seconds, video.arrays.get("first_frames"), video.attributes, video.columns)

    def failed(self) -> list[tuple[str, str]]:
        """(id, reason) of videos that could not be read when the files were made."""
        return [(entry["id"], entry["error"]) for file in self.files for entry in Ledger(file.path).entries()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def is_finite(rows: NDArray[Any]) -> bool:
    """Whether all numbers are finite. If one is not, their sum is not; it is quicker than a look at each."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(rows.sum())) or bool(np.isfinite(rows).all())
