"""The golden files, and nets with their weights."""

from pathlib import Path

from p3dfeat.nets import P3D
from p3dfeat.zoo import load_model

GOLDEN = Path(__file__).parent / "golden"
CAFFE_FILES = sorted(GOLDEN.glob("caffe_small*.caffemodel*"))
GLUONCV_FILE = GOLDEN / "gluoncv_small.params"


def caffe_net() -> P3D:
    return load_model(GOLDEN / "caffe_small.caffemodel.h5").net


def gluoncv_net() -> P3D:
    return load_model(GLUONCV_FILE).net
