"""The HDF5 layout, crash-safe writing, and reading: the only place that imports h5py."""

from p3dfeat.store.check_process import Foreign, Looked, Problem, Root, check_file
from p3dfeat.store.layout import NESTED, Settings, differences
from p3dfeat.store.ledger import Ledger
from p3dfeat.store.lock import Lock, unfinished
from p3dfeat.store.read import FeatureFile, VideoFeatures, open_features
from p3dfeat.store.write import FeatureWriter, stored_ids

__all__ = [
    "NESTED",
    "FeatureFile",
    "FeatureWriter",
    "Foreign",
    "Ledger",
    "Lock",
    "Looked",
    "Problem",
    "Root",
    "Settings",
    "VideoFeatures",
    "check_file",
    "differences",
    "open_features",
    "stored_ids",
    "unfinished",
]
