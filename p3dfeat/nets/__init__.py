"""P3D ResNets as nn.Module: every family, every depth, kinds A, B and C."""

from p3dfeat._lazy import lazy

__getattr__, __all__ = lazy(__name__)
