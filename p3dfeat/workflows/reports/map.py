"""A map of a feature file: one page that shows which videos are alike."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from p3dfeat.errors import UsageError
from p3dfeat.explore.map_layout import laid_out, nearest
from p3dfeat.explore.map_points import Points, points_of
from p3dfeat.labels import Labels
from p3dfeat.options import MapSettings, with_options
from p3dfeat.pages.map_page import MapData, map_page
from p3dfeat.pages.write import check_page_name, write_page
from p3dfeat.store import open_features
from p3dfeat.text.counts import counted
from p3dfeat.workflows.reports.pictures import ATTRIBUTES, Pictures, pictures_of

METHODS: Final = {"tsne": "t-SNE with perplexity", "umap": "UMAP with neighbours"}  # before the number


@dataclass(frozen=True)
class MapSummary:
    """The result of ``draw_map``.

    perplexity: the one that was used, which is smaller for few points. not_finite: ids of videos that are left out,
    because they hold numbers that are not finite. without_label: ids of videos. unused_labels: ids in the file of
    labels that are not in the feature file. no_picture: numbers of videos without pictures, by reason.
    """

    output: str
    points: int
    videos: int
    labels: int
    method: str
    perplexity: float
    size_bytes: int
    elapsed_seconds: float
    pictures: int = 0
    no_picture: Mapping[str, int] | None = None
    not_finite: tuple[str, ...] = ()
    without_label: tuple[str, ...] = ()
    unused_labels: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        names = ("output", "points", "videos", "labels", "method", "perplexity", "size_bytes", "pictures")
        lists = ("not_finite", "without_label", "unused_labels")
        return {
            "event": "summary",
            **{name: getattr(self, name) for name in names},
            "no_picture": dict(self.no_picture or {}),
            **{name: list(getattr(self, name)) for name in lists},
        }


def run_map(file: str | Path, output: str | Path, settings: MapSettings) -> MapSummary:
    """Draw a map of the videos of a feature file: a page of HTML on which similar videos are close to each other.

    The page holds everything it shows, and works offline. Points can be pointed at, chosen, searched, and switched off
    by label. The same features give the same map, to the bit, on any number of cores.

    Args:
        file (str | Path): Feature file.
        output (str | Path): Page to write, such as "map.html". An existing one is replaced.
        labels (str | Path | None): Labels that colour the points: a CSV or JSON file, "folders", or "column:NAME".
        layer (str): A stored layer. A video is the mean of its clips.
        clips (bool): Show each clip as a point, not each video.
        no_thumbnails (bool): Take no pictures from the videos.
        method (str): "tsne", or "umap", which needs umap-learn.
        perplexity (int): Number of neighbours that t-SNE keeps close. It is reduced for few points.
        neighbours (int): Number of nearest neighbours, by cosine, shown for a chosen point.
        workers (int | None): Number of decoder processes for the pictures. None: one per core, at most four.
        on_event (Callable): Called with a PictureTaken after each video whose pictures are taken.

    Returns:
        MapSummary: Counts, and the videos that are not on the map, with the reasons.

    Raises:
        UsageError: The file holds no videos, the layer is not stored, scikit-learn is missing, or an option has an
            invalid value.
        FeatureFileError: The feature file is damaged.
        OutputError: The page cannot be written.

    Example:
        >>> p3dfeat.draw_map("feats.h5", "map.html", labels="folders").points
    """
    started, path = time.monotonic(), Path(output)
    check_page_name(path)
    labels = None if settings.labels is None else Labels.of(settings.labels)
    with open_features(file) as features:
        points = points_of(features, settings.layer, clips=settings.clips, labels=labels, attributes=ATTRIBUTES)
    if not points.names:
        reason = "holds no videos" if not points.not_finite else "no video has finite values"
        raise UsageError(f"{file}: {reason}; there is nothing to map")
    layout = laid_out(points.rows, method=settings.method, perplexity=settings.perplexity)
    near = nearest(points.rows, settings.neighbours)
    pictures = None
    if not settings.no_thumbnails:
        pictures = pictures_of(points.attributes, workers=settings.workers, on_event=settings.on_event)
    data = MapData(
        title=f"Map of {Path(file).name}",
        names=points.names,
        positions=layout.positions,
        near=near,
        labels=points.labels,
        videos=points.videos,
        strips={} if pictures is None else pictures.strips,
        notes=_notes(points, settings, layout.perplexity, pictures),
    )
    size = write_page(path, map_page(data))
    return MapSummary(
        output=str(path),
        points=len(points.names),
        videos=len(points.attributes),
        labels=len({label for label in points.labels if label is not None}),
        method=settings.method,
        perplexity=layout.perplexity,
        size_bytes=size,
        elapsed_seconds=time.monotonic() - started,
        pictures=0 if pictures is None else len(pictures.strips),
        no_picture=None if pictures is None else pictures.counts(),
        not_finite=points.not_finite,
        without_label=points.without_label,
        unused_labels=points.unused_labels,
    )


draw_map = with_options(MapSettings)(run_map)
draw_map.__name__ = draw_map.__qualname__ = "draw_map"


def _notes(points: Points, settings: MapSettings, perplexity: float, pictures: Pictures | None) -> list[str]:
    """Sentences below the title: what is shown, and what is not."""
    what = counted(len(points.attributes), "video")
    if settings.clips:
        what = f"{counted(len(points.names), 'clip')} of {what}"
    how = f", {METHODS[settings.method]} {perplexity:.3g}" if perplexity else ""
    notes = [f"{what}, layer {settings.layer}{how}"]
    if points.not_finite:
        notes.append(f"{counted(len(points.not_finite), 'video')} left out: not all numbers are finite")
    if pictures is not None:
        notes += pictures.sentences()
    return notes
