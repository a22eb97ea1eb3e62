"""MXNet's .params: a list of arrays and a list of their names, little endian."""

import struct
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import WeightsError
from p3dfeat.text.counts import counted

MAGIC: Final = struct.pack("<QQ", 0x112, 0)
ARRAY_MAGIC: Final = 0xF993FAC9  # NDArray, version 2
TYPES: Final = {0: "<f4", 1: "<f8", 2: "<f2"}
MOST_DIMENSIONS: Final = 8


def read_params(data: bytes) -> dict[str, NDArray[np.generic]]:
    """{name: array}. The prefixes "arg:" and "aux:" of symbolic networks are removed. Raises WeightsError."""
    reader = _Reader(data)
    if reader.take("<QQ") != (0x112, 0):
        raise WeightsError("not an MXNet .params file")
    arrays = [_array(reader) for _ in range(reader.count(smallest=28))]
    names = [_name(reader) for _ in range(reader.count(smallest=8))]
    if len(names) != len(arrays) or len(set(names)) != len(names):
        raise WeightsError(f"damaged: {counted(len(arrays), 'array')} and {counted(len(set(names)), 'name')}")
    return dict(zip(names, arrays, strict=True))


def _array(reader: "_Reader") -> NDArray[np.generic]:
    magic, storage, dimensions = reader.take("<IiI")
    if magic != ARRAY_MAGIC or storage != 0 or dimensions > MOST_DIMENSIONS:
        raise WeightsError("damaged, or written by an MXNet older than 1.0")
    shape = reader.take(f"<{dimensions}q")
    *_, kind = reader.take("<iii")  # device type and number come first
    if kind not in TYPES or min(shape, default=1) < 1:
        raise WeightsError(f"damaged: an array of shape {shape} and type {kind}")
    dtype = np.dtype(TYPES[kind])
    return np.frombuffer(reader.bytes(prod(shape) * dtype.itemsize), dtype).reshape(shape)


def _name(reader: "_Reader") -> str:
    (length,) = reader.take("<Q")
    name = bytes(reader.bytes(length)).decode("utf-8", "replace")
    return name.removeprefix("arg:").removeprefix("aux:")


class _Reader:
    """Reads data from front to back. Raises WeightsError at the end of the data."""

    def __init__(self, data: bytes):
        self._data, self._at = memoryview(data), 0

    def bytes(self, length: int) -> memoryview:
        if length > len(self._data) - self._at:
            raise WeightsError("cut off or damaged: it ends within an array or name")
        self._at += length
        return self._data[self._at - length : self._at]

    def take(self, form: str) -> tuple[int, ...]:
        return struct.unpack(form, self.bytes(struct.calcsize(form)))

    def count(self, *, smallest: int) -> int:
        """Number of entries that follow. Raises WeightsError if ``smallest`` bytes per entry do not fit."""
        (count,) = self.take("<Q")
        if count * smallest > len(self._data) - self._at:
            raise WeightsError(f"damaged: {count:,} entries cannot be in what is left of the file")
        return count
