"""The golden files, and nets with their weights."""

from pathlib import Path

import torch

from p3dfeat.nets import P3D
from p3dfeat.zoo import load_model

GOLDEN = Path(__file__).parent / "golden"
CAFFE_FILES = sorted(GOLDEN.glob("caffe_small*.caffemodel*"))
GLUONCV_FILE = GOLDEN / "gluoncv_small.params"

# What GLUONCV_FILE is, but for where to fetch it.
GLUONCV_CARD = """
name = "small"
title = "A small net"
licence = "MIT"

[net]
family = "gluoncv"
stages = [2, 2, 2, 1]
kinds = "ABC"
base_width = 8
channels = 3
classes = 10

[input]
resize = [64, 64]
"""


def caffe_net() -> P3D:
    return load_model(GOLDEN / "caffe_small.caffemodel.h5").net


def gluoncv_net() -> P3D:
    return load_model(GLUONCV_FILE).net


def port_checkpoint(net: P3D) -> dict[str, torch.Tensor]:
    """The net's weights under the community port's names."""
    parts = {"conv_reduce": "conv1", "conv_spatial": "conv2", "conv_temporal": "conv3", "conv_expand": "conv4"}
    parts |= {"bn_reduce": "bn1", "bn_spatial": "bn2", "bn_temporal": "bn3", "bn_expand": "bn4"}
    flat = parts | {"conv_spatial": "conv_normal", "bn_spatial": "bn_normal"}
    found = {}
    for name, value in net.state_dict().items():
        block, _, rest = name.partition(".")
        if not block.startswith("res"):
            found[name.replace("conv1.", "conv1_custom.")] = value
            continue
        stage = int(block[3])
        number = net.architecture.stage_blocks(stage).index(block)
        part, _, field = rest.partition(".")
        mapped = "downsample" if part == "shortcut" else (flat if stage == 5 else parts)[part]
        found[f"module.layer{stage - 1}.{number}.{mapped}.{field}"] = value
    return found
