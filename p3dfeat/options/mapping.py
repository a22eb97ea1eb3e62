"""The settings of ``map``."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from p3dfeat.options.declaring import option
from p3dfeat.options.shared import WorkerOptions

MapMethod = Literal["tsne", "umap"]


def _ignore(event: Any) -> None:
    """The default callback: it ignores events."""


@dataclass(frozen=True, kw_only=True)
class MapSettings(WorkerOptions):
    """Settings of ``map``."""

    GROUP: ClassVar[str] = "Map"

    labels: str | Path | None = option(
        None,
        metavar="FILE",
        parse=lambda text: text or None,
        help="Colour points by labels: a CSV or JSON file of ids and labels, folders, or column:NAME for a column of "
        "the input CSV.",
    )
    layer: str = option("pool5", metavar="NAME", help="Stored layer to map. A video is the mean of its clips.")
    clips: bool = option(False, help="Show each clip as a point, not each video.")
    no_thumbnails: bool = option(False, help="Take no pictures from the videos. The page is then under 3 MB.")
    method: MapMethod = option("tsne", metavar="NAME", help="Projection to two dimensions. umap needs umap-learn.")
    perplexity: int = option(
        30, minimum=1, metavar="N", help="Number of neighbours that t-SNE keeps close; for umap, its n_neighbors."
    )
    neighbours: int = option(8, minimum=1, metavar="N", help="Number of nearest neighbours shown for a chosen point.")
    on_event: Callable[[Any], None] = _ignore
