"""p3dfeat map"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from p3dfeat.cli.options import command
from p3dfeat.cli.output import out
from p3dfeat.cli.progress import counted_bar
from p3dfeat.options import MapSettings
from p3dfeat.text.counts import counted, named

if TYPE_CHECKING:
    from p3dfeat.workflows.reports.map import MapSummary

File = Annotated[Path, typer.Argument(metavar="FILE.h5", help="Feature file.")]
Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="PAGE", rich_help_panel="Output", help="Page to write: map.html.")
]


@command(MapSettings)
def map(file: File, output: Output, settings: MapSettings) -> None:
    """Draw a map of a feature file: a page on which similar videos are close to each other.

    The page works offline: point at a video to see it, click it for its nearest neighbours, search, switch labels off.

    Examples:
        p3dfeat map feats.h5 -o map.html
        p3dfeat map feats.h5 --labels folders --no-thumbnails -o map.html
    """
    from p3dfeat.workflows.reports.map import run_map

    out.status("arranging the points ...")
    with counted_bar("videos") as show:
        settings = replace(settings, on_event=lambda event: show(event.done, event.total))
        summary = run_map(file, output, settings)
    if out.wants_json:
        out.json(summary.as_json())
    _say(summary, settings)


def _say(summary: "MapSummary", settings: MapSettings) -> None:
    from p3dfeat.workflows.reports.pictures import no_picture_sentences

    if summary.perplexity and summary.perplexity != settings.perplexity:
        name = "perplexity" if settings.method == "tsne" else "neighbours"
        few = counted(summary.points, "point")
        out.say(f"note: {name} {summary.perplexity:.3g}, not {settings.perplexity}: {few} only")
    if summary.not_finite:
        out.say(f"left out: {named(summary.not_finite, 'video')}: not all numbers are finite")
    if summary.without_label:
        out.say(f"note: no label for {named(summary.without_label, 'video')}")
    if summary.unused_labels:
        out.say(f"note: labels of {named(summary.unused_labels, 'video')} that the feature file does not hold")
    for sentence in no_picture_sentences(summary.no_picture or {}):
        out.say(f"note: {sentence}")
    points = counted(summary.videos, "video")
    if settings.clips:
        points = f"{counted(summary.points, 'clip')} of {points}"
    labels = f" with {counted(summary.labels, 'label')}" if summary.labels else ""
    out.say(f"{summary.output}: {points}{labels}, {summary.size_bytes / 1e6:.2f} MB")
