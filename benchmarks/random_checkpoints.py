"""Full-size P3D checkpoints with reproducible random weights, as Caffe and GluonCV would have written them.

The stored results in tests/golden were computed from these by BVLC Caffe and by MXNet, so every draw below is part of
the reference: its generator, its order and its scale.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p3dfeat.nets import Architecture

Array = NDArray[np.float32]

CAFFE_SEED: Final = 11
CAFFE_INPUT_SEED: Final = 101
GLUONCV_SEED: Final = 1
GLUONCV_INPUT_SEED: Final = 7

# Variances that keep activations near one through 50 blocks: of a stage's first block, and of what follows.
FIRST_BLOCK_VARIANCE: Final = {2: 1.75, 3: 1.1, 4: 2.0, 5: 6.0}


def _blocks(architecture: Architecture) -> Iterator[tuple[str, int, int, int, bool]]:
    """(block, stage, input width, middle width, whether its stage's first) in network order."""
    width = architecture.base_width
    for stage in (2, 3, 4, 5):
        middle = architecture.base_width << (stage - 2)
        for number, block in enumerate(architecture.stage_blocks(stage)):
            yield block, stage, width, middle, number == 0
            width = 4 * middle


def caffe_layers(architecture: Architecture, *, classifier: str) -> Iterator[tuple[str, list[Array]]]:
    """(layer name, blobs) in the order of the authors' prototxt."""

    def convolution(name: str, *shape: int) -> tuple[str, list[Array]]:
        weight = _generator(name).standard_normal(shape) * np.sqrt(2.0 / int(np.prod(shape[1:])))
        mean = weight.reshape(shape[0], -1).mean(1).reshape((-1,) + (1,) * (len(shape) - 1))
        return name, [(weight - mean).astype("<f4")]

    def batch_norm(name: str, width: int) -> tuple[str, list[Array]]:
        generator, variance, shape = _generator(name), _variance(name), (1, width)
        low, high = (0.2, 0.4) if name.endswith("_branch2c") else (0.5, 1.5)
        slope = generator.uniform(low, high, shape)
        bias = generator.standard_normal(shape) * 0.1
        mean = generator.standard_normal(shape) * 0.1 * np.sqrt(variance)
        return name, [b.astype("<f4") for b in (slope, bias, mean, generator.uniform(0.5, 1.5, shape) * variance)]

    yield convolution("conv1", architecture.base_width, architecture.channels, 1, 7, 7)
    yield batch_norm("bn_conv1", architecture.base_width)
    for block, stage, width, middle, first in _blocks(architecture):
        name, point = block.removeprefix("res"), (1, 1) if stage == 5 else (1, 1, 1)
        branches = [("1", (4 * middle, width, *point))] if first else []
        branches += [("2a", (middle, width, *point)), ("2b", (middle, middle, *(1, 3, 3)[stage == 5 :]))]
        branches += [] if stage == 5 else [("2b_t", (middle, middle, 3, 1, 1))]
        branches += [("2c", (4 * middle, middle, *point))]
        for branch, shape in branches:
            yield convolution(f"res{name}_branch{branch}", *shape)
            yield batch_norm(f"bn{name}_branch{branch}", shape[0])
    generator = _generator(classifier)
    weight = generator.standard_normal((architecture.classes, architecture.feature_width)) * 0.05
    yield classifier, [weight.astype("<f4"), (generator.standard_normal(architecture.classes) * 0.1).astype("<f4")]


def _generator(name: str) -> np.random.Generator:
    return np.random.default_rng([CAFFE_SEED, zlib.crc32(name.encode())])


def _variance(name: str) -> float:
    if name == "bn_conv1":
        return 3650.0
    found = re.match(r"bn(\d)([a-z])(\d*)_branch(?:1|2a)$", name)
    if found is None:
        return 0.75
    number = int(found[3]) if found[3] else ord(found[2]) - ord("a")
    return FIRST_BLOCK_VARIANCE[int(found[1])] if number == 0 else 0.9 + 0.08 * number


def caffe_input(clips: int, channels: int, length: int, height: int, width: int) -> Array:
    """(N, C, T, H, W): coarse patterns that last four frames, under noise, in the range of pixels less their mean."""
    found = []
    for clip in range(clips):
        generator = np.random.default_rng([CAFFE_INPUT_SEED, clip])
        coarse = generator.standard_normal((channels, -(-length // 4), -(-height // 8), -(-width // 8)))
        coarse = coarse.repeat(4, 1).repeat(8, 2).repeat(8, 3)[:, :length, :height, :width]
        noise = generator.standard_normal((channels, length, height, width))
        contrast, shift = ((30, -5), (50, 10))[clip % 2]
        found.append(np.clip(contrast * coarse + 15 * noise + shift, -120, 150))
    return np.stack(found).astype(np.float32)


def write_caffemodel(path: Path, architecture: Architecture, *, classifier: str = "fc_kinetics") -> None:
    """NetParameter {layer 100 {name 1, blobs 7 {data 5, shape 7 {dim 1}}}}."""
    with open(path, "wb") as file:
        for name, blobs in caffe_layers(architecture, classifier=classifier):
            body = _field(1, name.encode())
            for blob in blobs:
                shape = _field(1, b"".join(map(_varint, blob.shape)))
                body += _field(7, _field(5, blob.tobytes()) + _field(7, shape))
            file.write(_field(100, body))


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    return bytes([value & 127 | 128]) + _varint(value >> 7) if value > 127 else bytes([value])


def gluoncv_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """{parameter: shape} under the names that GluonCV saves."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (architecture.base_width, architecture.channels, 1, 7, 7)}

    def batch_norm(prefix: str, width: int) -> None:
        shapes.update({f"{prefix}.{field}": (width,) for field in ("gamma", "beta", "running_mean", "running_var")})

    batch_norm("bn1", architecture.base_width)
    for block, stage, width, middle, first in _blocks(architecture):
        prefix = f"layer{stage - 1}.{architecture.stage_blocks(stage).index(block)}"
        point = (1, 1) if stage == 5 else (1, 1, 1)
        parts = [("conv1", "bn1", (middle, width, *point))]
        parts += [("conv2", "bn2", (middle, middle, *(1, 3, 3)[stage == 5 :]))]
        parts += [] if stage == 5 else [("conv_temporal", "bn_temporal", (middle, middle, 3, 1, 1))]
        parts += [("conv3", "bn3", (4 * middle, middle, *point))]
        parts += [("downsample.0", "downsample.1", (4 * middle, width, *point))] if first else []
        for convolution, normalization, shape in parts:
            shapes[f"{prefix}.{convolution}.weight"] = shape
            batch_norm(f"{prefix}.{normalization}", shape[0])
    shapes["fc.weight"] = (architecture.classes, architecture.feature_width)
    shapes["fc.bias"] = (architecture.classes,)
    return shapes


def gluoncv_weights(architecture: Architecture) -> dict[str, Array]:
    """Random arrays, drawn from one generator in the order of their names."""
    generator, shapes, arrays = np.random.default_rng(GLUONCV_SEED), gluoncv_shapes(architecture), {}
    for name, shape in sorted(shapes.items()):
        if name.endswith("gamma"):
            array = generator.uniform(0.5, 1.5, shape)
            if re.search(r"layer\d\.\d+\.bn3\.gamma", name):
                array = generator.uniform(0.2, 0.4, shape)
        elif name.endswith("running_var"):
            array = generator.uniform(0.5, 1.5, shape)
        elif name.endswith(("beta", "running_mean", "bias")):
            array = generator.normal(0, 0.1, shape)
        else:
            array = generator.normal(0, 0.05 if name.startswith("fc") else np.sqrt(2 / np.prod(shape[1:])), shape)
        arrays[name] = array.astype("<f4")
    return arrays


def gluoncv_input() -> Array:
    return np.random.default_rng(GLUONCV_INPUT_SEED).normal(0, 1, (2, 3, 16, 224, 224)).astype(np.float32)


def write_params(path: Path, arrays: dict[str, Array]) -> None:
    """MXNet's list of arrays, then of names; see p3dfeat/zoo/formats/mxnet.py."""
    with open(path, "wb") as file:
        file.write(struct.pack("<QQQ", 0x112, 0, len(arrays)))
        for array in arrays.values():
            file.write(struct.pack(f"<IiI{array.ndim}qiii", 0xF993FAC9, 0, array.ndim, *array.shape, 1, 0, 0))
            file.write(array.tobytes())
        file.write(struct.pack("<Q", len(arrays)))
        for name in arrays:
            file.write(struct.pack("<Q", len(name)) + name.encode())
