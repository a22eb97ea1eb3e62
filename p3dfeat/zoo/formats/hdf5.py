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
            data = file.get("data")
            if not isinstance(data, h5py.Group):
                raise WeightsError("an HDF5 file without the group data; is it a feature file?")
            for layer, group in data.items():
                _check_own(data, layer)
                for number, dataset in group.items() if isinstance(group, h5py.Group) else ():
                    _check_own(group, number)
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


def _check_own(group: h5py.Group, name: str) -> None:
    """Refuse links, which may lead into other files."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise WeightsError(f"{name}: a link instead of weights")
