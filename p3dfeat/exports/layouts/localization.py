"""Temporal action localization: OpenTAD, ActionFormer and its kin, ActivityNet's C3D file."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Final

from p3dfeat.errors import UsageError
from p3dfeat.exports.layouts.layout import Strided, Summary, rate_text

C3D_STRIDE: Final = 8
C3D_WINDOW: Final = 16
C3D_WIDTH: Final = 500


class OpenTad(Strided):
    """One (T, C) array per video. Row i is at (i * stride + offset_frames) / fps.

    Source: OpenTAD 3dd7b03, opentad/datasets/transforms/loading.py and opentad/models/utils/post_processing/utils.py.
    """

    NAME = "opentad"
    READER = "OpenTAD"
    SUFFIX = ".npy"

    def notes(self, summary: Summary) -> Mapping[str, str]:
        return {
            "opentad.py": f"""\
# Settings for OpenTAD. The time of row i is (i * feature_stride + offset_frames) / fps.
data_path = {self.request.output!r}
block_list = data_path + "/missing_files.txt"
dataset_settings = dict(
    data_path=data_path,
    block_list=block_list,
    feature_stride={self.stride},
    sample_stride=1,
    offset_frames={self.timing.centre},
    fps={rate_text(summary, unknown="-1")},  # -1: from "frame" and "duration" of the annotations; see database.json
)
load_feats = dict(type="LoadFeats", feat_format="npy", prefix={self.request.prefix!r})
in_channels = {self.request.width}
"""
        }


class ActionFormer(Strided):
    """One (T, C) array per video. Row i is at (i * feat_stride + num_frames / 2) / fps.

    Source: ActionFormer 61ea7eb, FAQ.md; TriDet and TemporalMaxer compute it in the same way.
    """

    NAME = "actionformer"
    READER = "ActionFormer, TriDet, TemporalMaxer"
    SUFFIX = ".npy"

    def notes(self, summary: Summary) -> Mapping[str, str]:
        stands_in_one = self.ONE_FILE
        extension = "" if stands_in_one else f"\n  file_ext: {self.SUFFIX}"
        rate = rate_text(summary, unknown="null  # videos differ: the annotations must have the fps of each")
        return {
            "actionformer.yaml": f"""\
# Settings for ActionFormer. The time of row i is (i * feat_stride + num_frames / 2) / fps.
dataset:
  feat_folder: {self.request.output}
  file_prefix: {self.request.prefix or "null"}{extension}
  input_dim: {self.request.width}
  feat_stride: {self.stride}
  num_frames: {2 * self.timing.centre}
  default_fps: {rate}
"""
        }


class ActionFormerHdf5(ActionFormer):
    """The same, in one HDF5 file: ``file[prefix + id]``. Its name must hold ``.hdf5``.

    Source: ActionFormer 61ea7eb, libs/datasets/anet.py, which looks for ".hdf5" in the name.
    """

    NAME = "actionformer-hdf5"
    READER = "ActionFormer for ActivityNet"
    SUFFIX = ".hdf5"
    ONE_FILE = True

    def check(self) -> None:
        super().check()
        if ".hdf5" not in PurePath(self.request.output).name:
            raise UsageError(f"{self.request.output}: ActionFormer takes a file for HDF5 only if its name holds .hdf5")


class ActivityNetC3d(Strided):
    """One HDF5 file, ``/v_<id>/c3d_features`` (T, 500): windows of 16 frames at stride 8, projected by PCA.

    Source: the C3D features that ActivityNet publishes.
    """

    NAME = "activitynet-c3d"
    READER = "software for ActivityNet's C3D features"
    SUFFIX = ".hdf5"
    ONE_FILE = True
    PREFIX = "v_"
    ARRAY: Final = "c3d_features"

    def check(self) -> None:
        super().check()
        timing = self.timing
        if (timing.stride, timing.window, timing.centre) != (C3D_STRIDE, C3D_WINDOW, C3D_WINDOW // 2):
            raise UsageError(
                f"{self.NAME}: its readers expect clips of {C3D_WINDOW} frames that begin at frames 0, 8, 16 ...; "
                f"extract with --clip-stride {C3D_STRIDE} --frame-interval 1"
            )

    def _advice(self) -> str:
        return f": here --clip-stride {C3D_STRIDE} --frame-interval 1"
