"""Plain HDF5 files of arrays by name, for other software: written in one pass, absent until they are complete."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from p3dfeat.system.disk import writing
from p3dfeat.text.paths import WRITING


class ArrayFile:
    """A file that is being written. Its arrays are contiguous, or grow by rows."""

    def __init__(self, file: h5py.File):
        self._file = file
        self._growing: dict[str, h5py.Dataset] = {}

    def add(self, name: str, values: NDArray[np.generic]) -> None:
        """Write an array; slashes in its name are groups."""
        self._file.create_dataset(name, data=values)

    def append(self, name: str, row: NDArray[np.generic]) -> None:
        """Add a row to an array (N, ...), whose first row creates it."""
        if name not in self._growing:
            shape = (0, *row.shape)
            self._growing[name] = self._file.create_dataset(
                name, shape, row.dtype, maxshape=(None, *row.shape), chunks=(1, *row.shape) if row.ndim else (1024,)
            )
        array = self._growing[name]
        array.resize(len(array) + 1, axis=0)
        array[-1] = row


@contextmanager
def new_array_file(path: Path) -> Iterator[ArrayFile]:
    """A new file, which replaces one of that name at the end of the with statement. Raises OutputError."""
    part = path.with_name(path.name + WRITING)
    with writing(path):
        try:
            with h5py.File(part, "w", libver=("earliest", "v110")) as file:
                yield ArrayFile(file)
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
