"""Names of the package and their modules; see p3dfeat/_lazy.py."""

from p3dfeat.nets.architecture import FAMILIES as FAMILIES
from p3dfeat.nets.architecture import STAGES as STAGES
from p3dfeat.nets.architecture import Architecture as Architecture
from p3dfeat.nets.p3d import P3D as P3D
from p3dfeat.nets.p3d import on_meta as on_meta
