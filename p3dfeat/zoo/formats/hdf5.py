"""Caffe's .caffemodel.h5: data/<layer>/<blob number>."""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import WeightsError


def read_caffemodel_hdf5(path: Path) -> dict[str, NDArray[np.generic]]:
    """{"layer/0": array, ...}. Raises WeightsError."""
    arrays: dict[str, NDArray[np.generic]] = {}
    left = path.stat().st_size  # bytes that datasets may still claim
    try:
        with h5py.File(path, "r") as file:
            seen: set[int] = set()
            data = _own(file, "data", seen) if "data" in file.keys() else None  # noqa: SIM118  # "in file" opens it
            if not isinstance(data, h5py.Group):
                raise WeightsError("an HDF5 file without the group data; is it a feature file?")
            for layer in data:
                group = _own(data, layer, seen)
                for number in group if isinstance(group, h5py.Group) else ():
                    dataset = _own(group, number, seen)
                    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind != "f":
                        raise WeightsError(f"layer {layer}: blob {number} holds no numbers")
                    left -= dataset.nbytes
                    if dataset.external or dataset.is_virtual or left < 0:
                        raise WeightsError(f"layer {layer}: blob {number} claims more bytes than the file has")
                    arrays[f"{layer}/{number}"] = np.asarray(dataset[()])
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise WeightsError(f"a damaged HDF5 file ({str(error).split('(')[0].strip()})") from None
    if not arrays:
        raise WeightsError("no weights in it")
    return arrays


def _own(group: h5py.Group, name: str, seen: set[int]) -> object:
    """An object in the file. Raises WeightsError for a repeated object, and for a link, which may leave the file."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise WeightsError(f"{name}: a link instead of weights")
    found = group[name]
    address = h5py.h5o.get_info(found.id).addr
    if address in seen:
        raise WeightsError(f"{name}: appears twice")
    seen.add(address)
    return found
