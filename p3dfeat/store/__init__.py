"""The HDF5 layout, crash-safe writing, and reading. Only this package imports h5py."""

from p3dfeat.store.arrays import ArrayFile, new_array_file
from p3dfeat.store.check.process import Foreign, Looked, Problem, Root, check_file
from p3dfeat.store.copying import is_compressed, stored_settings, stored_video
from p3dfeat.store.identity import compared, is_unchanged, other_part, source_if_same
from p3dfeat.store.layout import NESTED, Settings, check_is_hdf5, differences
from p3dfeat.store.reading.file import FeatureFile, open_features
from p3dfeat.store.reading.scan import Scanned
from p3dfeat.store.reading.video import VideoFeatures
from p3dfeat.store.remove import remove_videos
from p3dfeat.store.resuming import stored_videos
from p3dfeat.store.side_files.ledger import Ledger
from p3dfeat.store.side_files.lock import Lock, unfinished
from p3dfeat.store.write import FeatureWriter

__all__ = [
    "NESTED",
    "ArrayFile",
    "FeatureFile",
    "FeatureWriter",
    "Foreign",
    "Ledger",
    "Lock",
    "Looked",
    "Problem",
    "Root",
    "Scanned",
    "Settings",
    "VideoFeatures",
    "check_file",
    "check_is_hdf5",
    "compared",
    "differences",
    "is_compressed",
    "is_unchanged",
    "new_array_file",
    "open_features",
    "other_part",
    "remove_videos",
    "source_if_same",
    "stored_settings",
    "stored_video",
    "stored_videos",
    "unfinished",
]
