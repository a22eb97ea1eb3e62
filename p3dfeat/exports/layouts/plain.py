"""Layouts of no particular reader: arrays by video, and tables of all clips."""

from collections.abc import Mapping
from typing import Final

from p3dfeat.exports.layouts.layout import Layout, Summary

TIMES: Final = (
    "videos.csv has rows, fps, duration_seconds and num_frames of each video; export.json the stride, the centre of "
    "the first clip (offset_frames), and the window, in frames.\n"
)


class Npy(Layout):
    """One array per video, (T, C), or (T, C, ...) for layers with time, height and width."""

    NAME = "npy"
    READER = "NumPy"
    SUFFIX = ".npy"
    NEEDS_TIMES = False
    ANY_SHAPE = True

    def notes(self, summary: Summary) -> Mapping[str, str]:
        return {"README.txt": f"numpy.load(file) is (T, C) float32. {TIMES}"}


class Npz(Layout):
    """One npz per video: ``feats`` (T, C), ``seconds`` (T, 2), ``first_frames`` (T,). ActionFormer reads ``feats``."""

    NAME = "npz"
    READER = "NumPy; ActionFormer for EPIC-Kitchens"
    SUFFIX = ".npz"
    ANY_SHAPE = True
    KEY: Final = "feats"

    def notes(self, summary: Summary) -> Mapping[str, str]:
        return {"README.txt": f'numpy.load(file)["feats"] is (T, C) float32, ["seconds"] (T, 2). {TIMES}'}


class Pt(Layout):
    """One PyTorch file per video that holds a tensor (T, C)."""

    NAME = "pt"
    READER = "PyTorch"
    SUFFIX = ".pt"
    NEEDS_TIMES = False
    ANY_SHAPE = True

    def notes(self, summary: Summary) -> Mapping[str, str]:
        return {"README.txt": f"torch.load(file) is a tensor (T, C) float32. {TIMES}"}


class FlatHdf5(Layout):
    """One HDF5 file: ``file[prefix + id]`` (T, C). G-TAD, VSGN, and captioning for MSVD and MSR-VTT read it."""

    NAME = "flat-h5"
    READER = "h5py; G-TAD, VSGN, captioning"
    SUFFIX = ".h5"
    NEEDS_TIMES = False
    ONE_FILE = True
    ANY_SHAPE = True


class Parquet(Layout):
    """A table with a row per clip: id, clip, start, end, label, vector."""

    NAME = "parquet"
    READER = "pandas, DuckDB, Spark"
    SUFFIX = ".parquet"
    ONE_FILE = True


class JsonLines(Layout):
    """A JSON object per clip: id, clip, start, end, label, vector."""

    NAME = "jsonl"
    READER = "anything that reads lines"
    SUFFIX = ".jsonl"
    ONE_FILE = True


class Table(Layout):
    """One npz for scikit-learn: ``X`` (videos, C), the mean over clips, ``ids`` and, with labels, ``y``."""

    NAME = "table"
    READER = "scikit-learn"
    SUFFIX = ".npz"
    NEEDS_TIMES = False
    ONE_FILE = True
