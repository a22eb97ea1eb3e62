"""P3D ResNets as nn.Module: both families, every depth, kinds A, B and C. Nothing else lives here."""

from p3dfeat.nets.architecture import FAMILIES, STAGES, Architecture
from p3dfeat.nets.p3d import P3D

__all__ = ["FAMILIES", "P3D", "STAGES", "Architecture"]
