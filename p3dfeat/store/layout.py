"""The HDF5 layout, and the settings that must agree before two runs may share a file.

Root attributes hold the settings of the extraction. Below the root there is one group per video, named by its id, with
``<layer>`` (clips, ...) float32, or (clips, crops, ...) if clips have several crops; ``pooled``, the mean of pool5 over
clips and crops; ``seconds`` (clips, 2); ``first_frames`` (clips,), not in files of versions before 0.2; and attributes.
Other arrays and attributes that users add with h5py are not read, and are kept.
"""

import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from p3dfeat.config import InputSpec, Sampling, recorded
from p3dfeat.errors import FeatureFileError
from p3dfeat.text.jsons import parse_json, parse_object
from p3dfeat.types import VIDEO_ATTRIBUTES

FORMAT: Final = "p3dfeat-features"
FORMAT_VERSION: Final = 1
LIBVER: Final = ("earliest", "v110")  # the format that every HDF5 reads, and that hdf5_groups.py can add to
VIDEO_MARK: Final = "source"  # the attribute that makes a group a video
POOLED: Final = "pool5"  # the layer whose mean is stored as "pooled"
CLIP_ARRAYS: Final = {"seconds": np.float64, "first_frames": np.int64}  # of every video, with their types
COLUMNS: Final = "columns"  # the attribute that lists the attributes from a user's CSV

PIECE_BYTES: Final = 8 << 20  # of an array that are checked together
MOST_UNPACKED: Final = 1032  # maximum compression ratio of deflate, see RFC 1951

NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS})  # errors of flock

SUPERBLOCK_START: Final = b"\x89HDF\r\n\x1a\n\0"  # version 0: HDF5 File Format Specification 3.0, II.A
ROOT_OFFSET: Final = 64  # offset of the address of the root group's object header
# Settings that may differ between runs that add to one file: they do not change the values beyond rounding.
INCIDENTAL: Final = frozenset({"p3dfeat_version", "device", "weights_origin", "int8_cosine", "shard"})
NESTED: Final = ("preprocessing", "sampling", "layers", "architecture")
ORDER: Final = (  # in which root attributes are shown; HDF5 does not keep an order
    *(
        "format",
        "format_version",
        "model",
        "weights_sha256",
        "weights_origin",
        "architecture",
        "layers",
        "pool",
        "sampling",
    ),
    *("preprocessing", "engine", "precision", "int8_sha256", "int8_cosine", "device", "p3dfeat_version", "shard"),
)


@dataclass(frozen=True)
class Settings:
    """Everything needed to reproduce the values; the root attributes of a feature file."""

    model: str
    weights_sha256: str
    architecture: Mapping[str, Any]
    preprocessing: InputSpec
    sampling: Sampling
    layers: tuple[str, ...]
    engine: str
    precision: str
    device: str
    p3dfeat_version: str
    weights_origin: str = ""  # source of the download: a URL, or user/repo@commit
    pool: str = "none"  # "mean": layers with time, height and width are averaged over these
    int8_sha256: str | None = None  # of the quantised weights; another calibration gives other numbers
    shard: str | None = None  # "3/16": the part of the inputs that this file is for
    int8_cosine: float | None = None  # worst cosine to fp32, measured when they were calibrated

    def as_attributes(self) -> dict[str, str | int | float]:
        """Plain text and numbers; nested settings as JSON; settings that are None are left out."""
        values: dict[str, Any] = {
            **{name: getattr(self, name) for name in ("model", "weights_sha256", "weights_origin", "engine")},
            **{name: getattr(self, name) for name in ("precision", "device", "p3dfeat_version")},
            "architecture": dict(self.architecture),
            "preprocessing": recorded(self.preprocessing),
            "sampling": recorded(self.sampling),
            "layers": list(self.layers),
        }
        if self.pool != "none":
            values["pool"] = self.pool
        optional = {name: getattr(self, name) for name in ("int8_sha256", "int8_cosine", "shard")}
        values |= {name: value for name, value in optional.items() if value is not None}
        nested = {name: json.dumps(values[name]) for name in NESTED}
        return {"format": FORMAT, "format_version": FORMAT_VERSION, **values, **nested}


def read_attributes(file: h5py.File, path: Path) -> dict[str, Any]:
    """Root attributes with nested settings decoded. Raises FeatureFileError if the file is not a p3dfeat file."""
    if file.attrs.get("format") != FORMAT:
        raise FeatureFileError(f"{path}: an HDF5 file, but not one of p3dfeat's; choose another output")
    found = {name: _plain(file.attrs[name]) for name in ORDER if name in file.attrs}
    for name in ("format_version", "layers", "sampling"):
        if name not in found:
            raise FeatureFileError(f"{path}: damaged: its attribute {name} is missing")
    version = found["format_version"]
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise FeatureFileError(f"{path}: written by a newer p3dfeat (format {version}); update p3dfeat to read it")
    decoded = {name: _nested(name, value) if name in NESTED else value for name, value in found.items()}
    for name, value in decoded.items():
        kind = int if name == "format_version" else str | int | float
        if value is None or (name not in NESTED and not isinstance(value, kind)):
            raise FeatureFileError(f"{path}: damaged: its attribute {name} cannot be understood")
    return decoded


def _nested(name: str, text: Any) -> Any:
    """A nested setting: a list of names, or named values; None for anything else."""
    try:
        if name == "layers":
            names = parse_json(text)
            return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None
        return parse_object(text)
    except (TypeError, ValueError):
        return None


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Settings that make the values of this run and of the file differ, one short line each."""
    lines = []
    stored, wanted = _comparable(stored), _comparable(wanted)
    defaults = {field.name: field.default for field in fields(Settings) if field.default not in (MISSING, None)}
    for name in (wanted.keys() | (stored.keys() & defaults.keys())) - INCIDENTAL:
        before, now = stored.get(name, defaults.get(name)), wanted.get(name, defaults.get(name))
        if isinstance(before, dict) and isinstance(now, dict):
            unlike = [field for field in before.keys() | now.keys() if before.get(field) != now.get(field)]
            lines += [f"{name}.{field} is {before.get(field)} there, {now.get(field)} now" for field in unlike]
        elif before != now:
            lines.append(f"{name} is {before} there, {now} now")
    return sorted(lines)


def _comparable(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """With nested settings decoded, without irrelevant differences: order of layers, tail of evenly spaced clips."""
    found = {
        name: _nested(name, value) if name in NESTED and isinstance(value, str) else value
        for name, value in attributes.items()
    }
    for name, kind in (("sampling", Sampling), ("preprocessing", InputSpec)):
        if isinstance(found.get(name), dict):  # settings missing in a file have their default values
            found[name] = {field.name: _listed(field.default) for field in fields(kind)} | found[name]
    found["layers"] = sorted(found["layers"])
    if found["sampling"].get("clips") is not None:
        found["sampling"] = {name: value for name, value in found["sampling"].items() if name != "tail"}
    return found


def _listed(value: Any) -> Any:
    """A default as it comes from JSON."""
    return list(value) if isinstance(value, tuple) else value


CLASSES: Final = ("prob", "logits")  # layers with one number per class
# Names of an array's dimensions, by their number.
DIMENSIONS: Final = {
    3: ("clip", "channel", "position"),
    4: ("clip", "channel", "height", "width"),
    5: ("clip", "channel", "time", "height", "width"),
}


def column_names(attributes: Mapping[str, Any]) -> list[str]:
    """Names of a video's attributes that come from columns of a user's CSV; empty if the list is invalid."""
    try:
        found = parse_json(attributes.get(COLUMNS, "[]"))
    except (TypeError, ValueError):
        return []
    names = found if isinstance(found, list) else []
    return [name for name in names if isinstance(name, str) and name not in VIDEO_ATTRIBUTES]


def foreign_names(group: h5py.Group, layers: Sequence[str]) -> list[str]:
    """Arrays and attributes that a user added to a video's group."""
    columns = column_names(group.attrs)
    attributes = [name for name in group.attrs if name not in VIDEO_ATTRIBUTES and name not in columns]
    return [name for name in group if name not in array_names(layers)] + attributes


def array_names(layers: Sequence[str]) -> Set[str]:
    """Names of a video's arrays. ``first_frames`` may be missing: older versions did not write it."""
    return {*layers, *CLIP_ARRAYS, *(["pooled"] if POOLED in layers else [])}


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn HDF5's errors for damaged data into FeatureFileError with one line."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = str(error).strip("'\" ").partition("\n")[0]
        raise FeatureFileError(f"{path}: damaged ({reason}); p3dfeat verify tells what is wrong with it") from None


def check_is_hdf5(path: Path) -> None:
    """Raise FeatureFileError for an existing file that is not HDF5; reads only its beginning."""
    if path.is_file() and os.access(path, os.R_OK) and not h5py.is_hdf5(path):
        raise FeatureFileError(f"{path}: not a feature file; it is not HDF5, or is damaged; choose another output")


def locked(path: str | Path, mode: str = "r") -> h5py.File:
    """h5py.File, without HDF5's lock if the file system has no locks. Raises OSError."""
    try:
        return h5py.File(path, mode)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return h5py.File(path, mode, locking=False)


def _is_outdated(file: h5py.File, path: Path) -> bool:
    """Whether HDF5 shows an old state of a file, which another part of this process opened before data were added.

    Only files of our format are added to in place; their superblock has the address of the root group.
    """
    with open(path, "rb") as now:
        start = now.read(ROOT_OFFSET + 8)
    ours = start[: len(SUPERBLOCK_START)] == SUPERBLOCK_START and len(start) == ROOT_OFFSET + 8
    return ours and int.from_bytes(start[ROOT_OFFSET:], "little") != h5py.h5o.get_info(file.id).addr


def open_hdf5(path: Path, mode: str = "r") -> h5py.File:
    """h5py.File in its present state, with one-line errors. Raises FeatureFileError."""
    try:
        file = locked(path, mode)
        if mode == "r" and _is_outdated(file, path):
            file.close()
            return h5py.File(open(path, "rb"), mode)  # HDF5 does not share this with files that are already open
        return file
    except FileNotFoundError:
        raise FeatureFileError(f"{path}: no such file") from None
    except PermissionError:
        raise FeatureFileError(f"{path}: not readable; check its permissions") from None
    except BlockingIOError:
        raise FeatureFileError(f"{path}: open for writing in another program; close it there first") from None
    except OSError:
        reason = "it is a folder" if path.is_dir() else "it is not HDF5, or is damaged"
        raise FeatureFileError(f"{path}: not a feature file; {reason}") from None
