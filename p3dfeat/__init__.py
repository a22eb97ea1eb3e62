"""Pseudo-3D ResNet (P3D) features of videos.

    import p3dfeat

    p3dfeat.extract("videos/", "feats.h5")
    with p3dfeat.open_features("feats.h5") as features:
        for id, video in features.items():
            print(id, video["pool5"].shape, video.pooled.shape)
    for result in p3dfeat.classify("clip.mp4"):
        print(result.predictions[0].label)
    model = p3dfeat.load_model("p3d-camera")
    model.net(x, layers=("pool5", "logits"))  # x: preprocessed clips (N, C, T, H, W)

Importing it is fast: torch, av and h5py are loaded at the first use of a function. Its names are in __init__.pyi.
"""

from p3dfeat._lazy import lazy
from p3dfeat._version import __version__ as __version__

__getattr__, __all__ = lazy(__name__)


def __dir__() -> list[str]:
    return __all__
