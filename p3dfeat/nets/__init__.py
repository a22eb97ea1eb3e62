"""P3D ResNets as nn.Module: every family, every depth, kinds A, B and C. Nothing else lives here."""

from typing import TYPE_CHECKING, Final

from p3dfeat._lazy import lazy

if TYPE_CHECKING:
    from p3dfeat.nets.architecture import FAMILIES, STAGES, Architecture
    from p3dfeat.nets.p3d import P3D

_HOMES: Final = {"FAMILIES": "architecture", "P3D": "p3d", "STAGES": "architecture", "Architecture": "architecture"}
__getattr__ = lazy(__name__, _HOMES)

__all__ = ["FAMILIES", "P3D", "STAGES", "Architecture"]
