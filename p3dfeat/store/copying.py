"""What a feature file holds, as it is stored, for a copy of it in another feature file."""

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from p3dfeat.store.layout import ORDER, array_names, reading
from p3dfeat.store.reading.file import FeatureFile


def stored_settings(features: FeatureFile) -> dict[str, Any]:
    """The root attributes that p3dfeat wrote, with nested settings as JSON text."""
    with reading(features.path), h5py.File(features.path, "r") as file:
        return {name: _plain(file.attrs[name]) for name in ORDER if name in file.attrs}


def stored_video(features: FeatureFile, id: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The attributes and arrays of a video; not what other software added as arrays.

    Raises KeyError, FeatureFileError.
    """
    with reading(features.path):
        group = features.group(id)
        known = array_names(features.settings["layers"])
        attributes = {name: _plain(value) for name, value in group.attrs.items()}
        return attributes, {name: features.array(id, name) for name in group if name in known}


def is_compressed(features: FeatureFile) -> bool:
    """Whether arrays of its videos are compressed; that of the first video tells."""
    with reading(features.path):
        for id in features:
            group = features.group(id)
            return any(isinstance(item, h5py.Dataset) and item.compression is not None for item in group.values())
    return False


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return value.item() if isinstance(value, np.generic) else value
