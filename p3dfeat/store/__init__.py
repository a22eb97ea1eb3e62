"""The HDF5 layout, crash-safe writing, and reading: the only place that imports h5py."""

from p3dfeat.store.layout import Settings
from p3dfeat.store.ledger import Ledger
from p3dfeat.store.lock import Lock
from p3dfeat.store.read import FeatureFile, VideoFeatures, open_features
from p3dfeat.store.write import FeatureWriter, stored_ids

__all__ = ["FeatureFile", "FeatureWriter", "Ledger", "Lock", "Settings", "VideoFeatures", "open_features", "stored_ids"]
