"""The settings of ``export``."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from p3dfeat.options.declaring import Options, option

LayoutName = Literal[
    "opentad",
    "actionformer",
    "activitynet-c3d",
    "bmn",
    "ms-tcn",
    "rtfm",
    "moment-detr",
    "hcrn",
    "npy",
    "npz",
    "pt",
    "flat-h5",
    "parquet",
    "jsonl",
    "table",
]


def _ignore(event: Any) -> None:
    """The default callback: it ignores events."""


@dataclass(frozen=True, kw_only=True)
class ExportSettings(Options):
    """Settings of ``export``."""

    GROUP: ClassVar[str] = "Export"

    to: LayoutName = option("npy", metavar="LAYOUT", help="Layout of the export, named after its reader.")
    layer: str = option("pool5", metavar="NAME", help="Array to export: a stored layer, or pooled.")
    prefix: str | None = option(
        None, metavar="TEXT", help="Text in front of each name, such as v_ for ActivityNet. Default: as LAYOUT is used."
    )
    flat_names: bool = option(False, help="Write a/b as a_b. Default: ids with slashes become subfolders.")
    pca: str | None = option(
        None,
        metavar="N|FILE",
        help="Project rows on N principal components of these features, or on those of another export's pca.npz.",
    )
    l2: bool = option(False, help="Scale each row to length 1, after --pca.")
    segments: int | None = option(
        None, minimum=1, metavar="N", help="With --to rtfm: means over N equal parts of each video, usually 32."
    )
    labels: str | Path | None = option(
        None,
        metavar="FILE",
        parse=lambda text: text or None,
        help="Labels: a CSV or JSON file of ids and labels, folders, or column:NAME for a column of the input CSV.",
    )
    on_event: Callable[[Any], None] = _ignore
