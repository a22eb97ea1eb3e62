"""Caffe's .caffemodel.h5: data/<layer>/<blob number>."""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import WeightsError


def read_caffemodel_hdf5(path: Path) -> dict[str, NDArray[np.generic]]:
    """{"layer/0": array, ...}. Raises WeightsError."""
    arrays: dict[str, NDArray[np.generic]] = {}
    size = path.stat().st_size
    try:
        with h5py.File(path, "r") as file:
            data = file.get("data")
            if not isinstance(data, h5py.Group):
                raise WeightsError("an HDF5 file without the group data; is it a feature file?")
            for layer, group in data.items():
                for number, dataset in group.items() if isinstance(group, h5py.Group) else ():
                    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind != "f":
                        raise WeightsError(f"layer {layer}: blob {number} holds no numbers")
                    if dataset.nbytes > size:
                        raise WeightsError(f"layer {layer}: blob {number} claims more bytes than the file has")
                    arrays[f"{layer}/{number}"] = np.asarray(dataset[()])
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise WeightsError(f"a damaged HDF5 file ({str(error).split('(')[0].strip()})") from None
    if not arrays:
        raise WeightsError("no weights in it")
    return arrays
