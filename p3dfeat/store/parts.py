"""What a run writes before the feature file is made anew: a part for each video, in a folder that one run holds."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import OutputError
from p3dfeat.store.layout import VIDEO_MARK
from p3dfeat.types import Features, Video, VideoInfo

BUFFERED_BYTES: Final = 4 << 20  # of one video's rows held in memory before they go to its part
READ_AHEAD: Final = 32  # parts that the disk is asked for at once, before they are needed
POOLED: Final = "pool5"  # the layer whose mean over clips is a video's descriptor


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """One line for whatever the file system says."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error).split("(")[0].strip()
        raise OutputError(f"{path}: cannot be written ({reason})") from None


def read_ahead(parts: Sequence[Path]) -> Iterator[Path]:
    """The parts in turn, while the disk is at work on the next ones: few of many are still in memory."""
    for number, part in enumerate(parts):
        if number % READ_AHEAD == 0:
            for later in parts[number : number + 2 * READ_AHEAD][READ_AHEAD if number else 0 :]:
                _ask_for(later)
        yield part


def _ask_for(path: Path) -> None:
    if hasattr(os, "posix_fadvise"):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


class Lock:
    """A folder of parts that one run holds. The system gives it up when the process dies."""

    def __init__(self, folder: Path):
        self._folder = folder
        while not self._taken():
            continue  # the run that held it removed the folder as it ended

    def _taken(self) -> bool:
        self._folder.mkdir(exist_ok=True)
        path = self._folder / "lock"
        try:
            self._file = open(path, "a")  # noqa: SIM115  # open for as long as the run
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise OutputError(
                f"{self._folder}: held by another run; wait for its end or choose another output"
            ) from None
        except OSError:
            return True  # a file system without locks: as good as it gets
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), os.stat(path))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let go, and leave nothing behind that means nothing."""
        if not any(self._folder.glob("*.h5")):
            shutil.rmtree(self._folder, ignore_errors=True)
        self._file.close()


class Part:
    """One video on its way to the file: rows in memory, beyond 4 MB in an HDF5 file of its own."""

    def __init__(self, folder: Path, id: str, attributes: dict[str, Any]):
        name = hashlib.sha256(id.encode()).hexdigest()[:24]
        self._id, self._attributes = id, attributes
        self._path, self._final = folder / f"{name}.writing", folder / f"{name}.h5"
        self._rows: list[Features] = []
        self._waiting_bytes = 0  # in these rows
        self._file: h5py.File | None = None
        self._sum: NDArray[np.float64] | None = None
        self._count = self._padded = 0

    def add(self, features: Features) -> None:
        self._rows.append(features)
        self._waiting_bytes += sum(rows.nbytes for rows in features.layers.values())
        self._count += len(features)
        self._padded += features.padded_frames
        if POOLED in features.layers:
            total = features.layers[POOLED].sum(axis=0, dtype=np.float64)
            self._sum = total if self._sum is None else self._sum + total
        if self._waiting_bytes > BUFFERED_BYTES:
            self._flush(last=False)

    def _flush(self, *, last: bool) -> None:
        """Move the rows to the part; a video that never overflowed gets datasets of its exact size."""
        names = self._rows[0].layers if self._rows else ()
        arrays = {name: np.concatenate([part.layers[name] for part in self._rows]) for name in names}
        if self._rows:
            arrays["seconds"] = np.concatenate([part.seconds for part in self._rows])
        whole = last and self._file is None
        if self._file is None:
            self._file = h5py.File(self._path, "w")
            self._file.attrs.update(self._attributes)
        group = self._file.require_group(self._id)
        for name, rows in arrays.items():
            if whole:
                group.create_dataset(name, data=rows)
            elif name not in group:
                group.create_dataset(name, data=rows, maxshape=(None, *rows.shape[1:]), chunks=True)
            else:
                dataset = group[name]
                dataset.resize(len(dataset) + len(rows), axis=0)
                dataset[-len(rows) :] = rows
        self._rows.clear()
        self._waiting_bytes = 0

    def finish(self, video: Video, info: VideoInfo) -> Path:
        self._flush(last=True)
        assert self._file is not None
        group = self._file[self._id]
        if self._sum is not None:
            group.create_dataset("pooled", data=(self._sum / self._count).astype(np.float32))
        group.attrs.update(asdict(info))
        group.attrs["padded_frames"] = self._padded
        if video.start_seconds is not None:
            group.attrs["segment_start_seconds"] = video.start_seconds
        if video.end_seconds is not None:
            group.attrs["segment_end_seconds"] = video.end_seconds
        group.attrs[VIDEO_MARK] = video.source
        self._file.close()
        os.replace(self._path, self._final)
        return self._final

    def discard(self) -> None:
        if self._file is not None:
            self._file.close()
        self._path.unlink(missing_ok=True)
