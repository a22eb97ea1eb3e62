"""Readers of all supported weight files. No reader runs code from a file. The format is detected from the content.

A file named .safetensors is only read as safetensors: this name promises that nothing is unpickled.

Every reader returns {name: array}, with the names of the software that wrote the file, or raises WeightsError with a
line that does not name the file. Sizes given in a file are compared with the file's size before memory is allocated.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import WeightsError
from p3dfeat.zoo.formats.archive import LARGEST_BYTES, opened_member, unpacked_bytes
from p3dfeat.zoo.formats.caffe import read_caffemodel
from p3dfeat.zoo.formats.mxnet import MAGIC as MXNET_MAGIC
from p3dfeat.zoo.formats.mxnet import read_params
from p3dfeat.zoo.formats.torch import read_checkpoint, read_safetensors

Arrays = Mapping[str, NDArray[np.generic]]

HDF5_MAGIC: Final = b"\x89HDF\r\n\x1a\n"
ZIP_MAGIC: Final = b"PK\x03\x04"
PICKLE_START: Final = b"\x80"


@dataclass(frozen=True)
class WeightsFile:
    """The content of a weights file. format: "caffe", "mxnet", "torch" or "safetensors"."""

    format: str
    arrays: Arrays
    metadata: Mapping[str, str]


def read_weights(path: Path) -> WeightsFile:
    """Read a weights file of any supported format. Raises WeightsError naming the file."""
    try:
        return _read(path)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    except OSError as error:
        raise WeightsError(f"{path}: not readable ({error.strerror or error})") from None
    except (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        # Libraries may fail with any of these errors on a malicious file.
        raise WeightsError(f"{path}: a damaged file ({type(error).__name__})") from None


def _read(path: Path) -> WeightsFile:
    size = path.stat().st_size
    if size > LARGEST_BYTES:
        raise WeightsError(f"{size:,} bytes; no P3D checkpoint is that large")
    with open(path, "rb") as file:
        start = file.read(16)
    if path.name.removesuffix(".part").lower().endswith(".safetensors"):
        return WeightsFile("safetensors", *read_safetensors(path))
    if start.startswith(HDF5_MAGIC):
        from p3dfeat.zoo.formats.hdf5 import read_caffemodel_hdf5  # here, because it imports h5py for a rare format

        return WeightsFile("caffe", read_caffemodel_hdf5(path), {})
    if start.startswith(ZIP_MAGIC):
        return _read_zip(path)
    if start.startswith(MXNET_MAGIC):
        return WeightsFile("mxnet", read_params(path.read_bytes()), {})
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < size:
        return WeightsFile("safetensors", *read_safetensors(path))
    if start.startswith(PICKLE_START):
        return WeightsFile("torch", read_checkpoint(path, size), {})
    return WeightsFile("caffe", read_caffemodel(path.read_bytes()), {})


def _read_zip(path: Path) -> WeightsFile:
    """A torch checkpoint, or a published archive with one .params file."""
    with opened_member(path) as member:
        if member is not None:
            return WeightsFile("mxnet", read_params(member[2].read()), {})
    return WeightsFile("torch", read_checkpoint(path, unpacked_bytes(path)), {})
