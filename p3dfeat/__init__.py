"""Pseudo-3D ResNet descriptors of videos.

    import p3dfeat

    p3dfeat.extract("videos/", "feats.h5")
    with p3dfeat.open_features("feats.h5") as features:
        for id, video in features.items():
            print(id, video["pool5"].shape, video.pooled.shape)
    for result in p3dfeat.classify("clip.mp4"):
        print(result.predictions[0].label)
    model = p3dfeat.load_model("p3d-camera")
    model.net(x, layers=("pool5", "logits"))  # x: preprocessed clips (N, C, T, H, W)

Importing it is cheap; torch, av and h5py are loaded when a function is first used.
"""

from typing import TYPE_CHECKING, Final

from p3dfeat._lazy import lazy
from p3dfeat._version import __version__
from p3dfeat.errors import (
    FeatureFileError,
    NotAVideoError,
    NothingReadError,
    OutputError,
    P3DFeatError,
    ShapeError,
    UsageError,
    VideoError,
    WeightsError,
)

if TYPE_CHECKING:
    from p3dfeat.config import InputSpec, Sampling
    from p3dfeat.nets import P3D, Architecture
    from p3dfeat.store import FeatureFile, VideoFeatures, open_features
    from p3dfeat.types import Classification, Failure, LeftOut, Prediction, Span
    from p3dfeat.workflows.classify import classify
    from p3dfeat.workflows.extract import ExtractSummary, extract
    from p3dfeat.workflows.verify import Finding, VerifySummary, verify
    from p3dfeat.zoo import Model, load_model

_HOMES: Final = {
    "classify": "workflows.classify",
    "extract": "workflows.extract",
    "ExtractSummary": "workflows.extract",
    "verify": "workflows.verify",
    "Finding": "workflows.verify",
    "VerifySummary": "workflows.verify",
    "open_features": "store",
    "FeatureFile": "store",
    "VideoFeatures": "store",
    "load_model": "zoo",
    "Model": "zoo",
    "Architecture": "nets",
    "P3D": "nets",
    "InputSpec": "config",
    "Sampling": "config",
    "Classification": "types",
    "Failure": "types",
    "LeftOut": "types",
    "Prediction": "types",
    "Span": "types",
}

__all__ = [
    "P3D",
    "Architecture",
    "Classification",
    "ExtractSummary",
    "Failure",
    "FeatureFile",
    "FeatureFileError",
    "Finding",
    "InputSpec",
    "LeftOut",
    "Model",
    "NotAVideoError",
    "NothingReadError",
    "OutputError",
    "P3DFeatError",
    "Prediction",
    "Sampling",
    "ShapeError",
    "Span",
    "UsageError",
    "VerifySummary",
    "VideoError",
    "VideoFeatures",
    "WeightsError",
    "__version__",
    "classify",
    "extract",
    "load_model",
    "open_features",
    "verify",
]


__getattr__ = lazy(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
