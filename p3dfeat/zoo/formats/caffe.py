"""Caffe's .caffemodel: a protobuf NetParameter. Only names and blobs are read.

New form: layer = field 100 {name 1, type 2, blobs 7}; old form: layers = field 2 {name 4, type 5, blobs 6}.
BlobProto {num 1, channels 2, height 3, width 4, data 5, shape 7 {dim 1}, double_data 8}.
"""

from collections.abc import Iterator
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import WeightsError
from p3dfeat.text.counts import counted

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LAYER_FORMS: Final = {100: (1, 7), 2: (4, 6)}  # field of the layer: fields of its name and blobs
LEGACY_DIMENSIONS: Final = (1, 2, 3, 4)  # num, channels, height, width
MOST_DIMENSIONS: Final = 8


def read_caffemodel(data: bytes) -> dict[str, NDArray[np.generic]]:
    """{"layer/0": array, "layer/1": ...} of all layers with blobs. Raises WeightsError."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for field, kind, layer in _fields(memoryview(data)):
        if field not in LAYER_FORMS or kind != BYTES or not isinstance(layer, memoryview):
            continue
        name_field, blob_field = LAYER_FORMS[field]
        name, blobs = "", []
        for part, part_kind, value in _fields(layer):
            if isinstance(value, memoryview) and part_kind == BYTES:
                if part == name_field:
                    name = bytes(value).decode("utf-8", "replace")
                elif part == blob_field:
                    blobs.append(_blob(value, name))
        for number, blob in enumerate(blobs):
            if f"{name}/{number}" in arrays:
                raise WeightsError(f"layer {name} appears twice")
            arrays[f"{name}/{number}"] = blob
    if not arrays:
        raise WeightsError("no weights in it; is it a .caffemodel, .params, .pth or .safetensors file?")
    return arrays


def _blob(data: memoryview, layer: str) -> NDArray[np.generic]:
    legacy: dict[int, int] = {}
    shape: list[int] | None = None
    values: dict[int, list[NDArray[np.generic]]] = {5: [], 8: []}
    for field, kind, value in _fields(data):
        if field in LEGACY_DIMENSIONS and kind == VARINT and isinstance(value, int):
            legacy[field] = value
        elif field == 7 and isinstance(value, memoryview):
            shape = _dimensions(value)
        elif field in values and isinstance(value, memoryview):
            values[field].append(_numbers(value, "<f4" if field == 5 else "<f8", layer))
    parts = values[5] or values[8]
    array = parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.zeros(0, np.float32)
    dimensions = shape if shape is not None else [legacy[field] for field in LEGACY_DIMENSIONS if field in legacy]
    if len(dimensions) > MOST_DIMENSIONS or prod(dimensions) != array.size or max(dimensions, default=0) > array.size:
        size = counted(array.size, "value")
        raise WeightsError(f"layer {layer}: a blob of shape {dimensions[:MOST_DIMENSIONS]} with {size}")
    return array.reshape(dimensions)


def _dimensions(data: memoryview) -> list[int]:
    """The field dim of BlobShape, packed or not packed."""
    found: list[int] = []
    for field, _, value in _fields(data):
        if field == 1 and isinstance(value, int):
            found.append(value)
        elif field == 1:
            assert isinstance(value, memoryview)
            at = 0
            while at < len(value):
                dimension, at = _varint(value, at)
                found.append(dimension)
    return found


def _numbers(data: memoryview, dtype: str, layer: str) -> NDArray[np.generic]:
    if len(data) % np.dtype(dtype).itemsize:
        raise WeightsError(f"layer {layer}: a blob of {counted(len(data), 'byte')} is no list of numbers")
    return np.frombuffer(data, dtype)


def _fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """(field number, wire type, value) of a message: ints for varints, bytes for all else."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, kind, value
            continue
        if kind == BYTES:
            length, at = _varint(data, at)
        elif kind in (FIXED32, FIXED64):
            length = 4 if kind == FIXED32 else 8
        else:
            raise WeightsError("not a weights file of a known kind, or damaged")
        if at + length > len(data):
            raise WeightsError("cut off or damaged: it ends within a field")
        yield tag >> 3, kind, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A variable-length number and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise WeightsError("cut off or damaged: it ends within a number")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise WeightsError("not a weights file of a known kind, or damaged")
