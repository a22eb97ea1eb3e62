"""All layouts, by their name on the command line."""

from typing import Final

from p3dfeat.exports.layouts.layout import Layout, Request, Summary
from p3dfeat.exports.layouts.localization import ActionFormer, ActionFormerHdf5, ActivityNetC3d, OpenTad
from p3dfeat.exports.layouts.others import Bmn, Hcrn, MomentDetr, MsTcn, Rtfm
from p3dfeat.exports.layouts.plain import FlatHdf5, JsonLines, Npy, Npz, Parquet, Pt, Table

ALL: Final[tuple[type[Layout], ...]] = (
    *(OpenTad, ActionFormer, ActionFormerHdf5, ActivityNetC3d, Bmn, MsTcn, Rtfm, MomentDetr, Hcrn),
    *(Npy, Npz, Pt, FlatHdf5, Parquet, JsonLines, Table),
)
LAYOUTS: Final[dict[str, type[Layout]]] = {layout.NAME: layout for layout in ALL}

__all__ = ["ALL", "LAYOUTS", "Layout", "Request", "Summary"]
