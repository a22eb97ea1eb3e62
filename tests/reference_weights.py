"""The golden weights, as state dicts of our nets."""

import struct
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from p3dfeat.nets import P3D, Architecture

GOLDEN = Path(__file__).parent / "golden"
BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
CAFFE_PARTS = {"2a": "reduce", "2b": "spatial", "2b_t": "temporal", "2c": "expand"}
GLUONCV_PARTS = {
    "conv1": "conv_reduce",
    "bn1": "bn_reduce",
    "conv2": "conv_spatial",
    "bn2": "bn_spatial",
    "conv_temporal": "conv_temporal",
    "bn_temporal": "bn_temporal",
    "conv3": "conv_expand",
    "bn3": "bn_expand",
}


def caffe_net() -> P3D:
    net = P3D(Architecture((2, 2, 2, 1), classes=10, base_width=4))
    weights: dict[str, np.ndarray] = {}
    with h5py.File(GOLDEN / "caffe_small.caffemodel.h5") as file:
        for layer, group in file["data"].items():
            blobs = [group[number][()] for number in sorted(group, key=int)]
            if layer.startswith("fc"):
                weights["fc.weight"], weights["fc.bias"] = blobs
            elif len(blobs) == 4:
                prefix = _caffe_name(layer)
                weights |= {f"{prefix}.{field}": blob for field, blob in zip(BATCH_NORM, blobs, strict=True)}
            elif blobs:
                weights[f"{_caffe_name(layer)}.weight"] = blobs[0]
    return _filled(net, weights)


def _caffe_name(layer: str) -> str:
    if layer in ("conv1", "bn_conv1"):
        return "conv1" if layer == "conv1" else "bn1"
    block, branch = layer.split("_branch")
    batch_norm = block.startswith("bn")
    block = "res" + block.removeprefix("bn").removeprefix("res")
    if branch == "1":
        return f"{block}.shortcut.{int(batch_norm)}"
    return f"{block}.{'bn' if batch_norm else 'conv'}_{CAFFE_PARTS[branch]}"


def gluoncv_net() -> P3D:
    net = P3D(Architecture((2, 2, 2, 1), classes=10, base_width=8, family="gluoncv"))
    weights: dict[str, np.ndarray] = {}
    for name, array in _mxnet_arrays(GOLDEN / "gluoncv_small.params").items():
        *path, field = name.split(".")
        field = {"gamma": "weight", "beta": "bias"}.get(field, field)
        if path[0].startswith("layer"):
            block = net.architecture.stage_blocks(int(path[0].removeprefix("layer")) + 1)[int(path[1])]
            part = f"shortcut.{path[3]}" if path[2] == "downsample" else GLUONCV_PARTS[path[2]]
            path = [block, part]
        weights[".".join([*path, field])] = array
    return _filled(net, weights)


def _mxnet_arrays(path: Path) -> dict[str, np.ndarray]:
    data, at = path.read_bytes(), 24
    arrays, names = [], []
    for _ in range(struct.unpack_from("<Q", data, 16)[0]):
        (dimensions,) = struct.unpack_from("<I", data, at + 8)
        shape = struct.unpack_from(f"<{dimensions}q", data, at + 12)
        at += 12 + 8 * dimensions + 12
        size = int(np.prod(shape))
        arrays.append(np.frombuffer(data, "<f4", size, at).reshape(shape))
        at += 4 * size
    (count,) = struct.unpack_from("<Q", data, at)
    at += 8
    for _ in range(count):
        (length,) = struct.unpack_from("<Q", data, at)
        names.append(data[at + 8 : at + 8 + length].decode())
        at += 8 + length
    return dict(zip(names, arrays, strict=True))


def _filled(net: P3D, weights: dict[str, np.ndarray]) -> P3D:
    own = net.state_dict()
    state: dict[str, Tensor] = {
        name: value
        if name.endswith("num_batches_tracked")
        else torch.from_numpy(weights.pop(name).copy()).view_as(value)
        for name, value in own.items()
    }
    assert not weights, f"left over: {sorted(weights)}"
    net.load_state_dict(state)
    return net.eval()
