"""p3dfeat info"""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from p3dfeat.cli.options import command, flag
from p3dfeat.cli.output import one_line, out
from p3dfeat.text.counts import counted
from p3dfeat.text.csvs import csv_line

if TYPE_CHECKING:
    from p3dfeat.store import FeatureFile, VideoFeatures

SHOWN = 20  # videos listed unless all are asked for

File = Annotated[Path, typer.Argument(metavar="FILE.h5", help="Feature file.")]
All = Annotated[bool, flag("--all", "-a", help=f"List all videos, not only the first {SHOWN}.")]

Csv = Annotated[bool, flag("--csv", help="Print one line per video, with all attributes, as CSV.")]

Html = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="PAGE",
        rich_help_panel="Output",
        help="Write a page with the settings, and all videos with frames where their files are still there.",
    ),
]


@command(quiet=False)
def info(file: File, all_videos: All = False, as_csv: Csv = False, html: Html = None) -> None:
    """Show what a feature file holds and how it was made.

    Examples:
        p3dfeat info feats.h5
        p3dfeat info feats.h5 --csv > videos.csv
        p3dfeat info feats.h5 --html report.html
    """
    from p3dfeat.store import open_features

    with open_features(file) as features:
        if html is not None:
            _write_page(features, html)
        elif out.wants_json:
            _print_json(features)
        elif as_csv:
            _print_csv(features)
        else:
            _print_tables(features, None if all_videos else SHOWN)


def _write_page(features: "FeatureFile", output: Path) -> None:
    from p3dfeat.cli.progress import counted_bar
    from p3dfeat.workflows.reports.features import write_report
    from p3dfeat.workflows.reports.pictures import no_picture_sentences

    with counted_bar("videos") as show:
        videos = list(features.items())
        listing = _listing(videos)
        facts = _facts(features, videos[:1])
        summary = write_report(features, output, facts, *listing, on_event=lambda event: show(event.done, event.total))
    if out.wants_json:
        out.json(summary.as_json())
    for sentence in no_picture_sentences(summary.no_picture):
        out.say(f"note: {sentence}")
    size = f"{summary.size_bytes / 1e6:.2f} MB"
    out.say(f"{summary.output}: {counted(summary.videos, 'video')}, {summary.pictures} with pictures, {size}")


def _print_json(features: "FeatureFile") -> None:
    for id, video in features.items():
        arrays = {name: list(video.shape(name)) for name in video}
        columns = {"columns": video.columns} if video.columns else {}
        _print_record({"event": "video", "id": id, "arrays": arrays} | columns, video.attributes)
    totals = {"videos": len(features), "size_bytes": features.path.stat().st_size}
    _print_record({"event": "summary", **totals}, features.settings)


def _print_record(ours: dict[str, Any], from_file: Mapping[str, Any]) -> None:
    """p3dfeat's fields come first, and override fields of the file with the same name."""
    out.json({**ours, **from_file, **ours})


def _print_csv(features: "FeatureFile") -> None:
    """One line per video, with all attributes."""
    table = features.table()
    out.data(csv_line(table))
    for row in zip(*table.values(), strict=True):
        out.data(csv_line(row))


def _print_tables(features: "FeatureFile", shown: int | None) -> None:
    from rich.table import Column, Table

    chosen = list(islice(features.items(), shown))
    made = Table(Column(), Column(overflow="fold"), box=None, show_header=False, pad_edge=False)
    for name, value in _facts(features, chosen).items():
        made.add_row(one_line(name), one_line(value))
    headings, rows = _listing(chosen)
    videos = Table(*(Column(name, overflow="fold") for name in headings), box=None, pad_edge=False)
    for row in rows:
        videos.add_row(*map(one_line, row))
    out.show(made, "", videos)
    if shown is not None and len(features) > shown:
        out.data(f"... and {len(features) - shown} more; --all lists them")


def _listing(chosen: "Sequence[tuple[str, VideoFeatures]]") -> tuple[list[str], list[tuple[str, ...]]]:
    """Headings and rows of a table of videos."""
    columns = list(dict.fromkeys(name for _, video in chosen for name in video.columns))
    segments = [_segment(video.attributes) for _, video in chosen]
    rows = [(id, *_row(video), *(video.columns.get(name, "") for name in columns)) for id, video in chosen]
    notes = [str(video.attributes.get("damage") or video.attributes.get("remarks", "")) for _, video in chosen]
    headings = ["id", "clips", "duration", "frames", "fps", "size", *map(one_line, columns)]
    if any(segments):
        headings.append("segment")
        rows = [(*row, segment) for row, segment in zip(rows, segments, strict=True)]
    if any(notes):
        headings.append("remarks")
        rows = [(*row, note) for row, note in zip(rows, notes, strict=True)]
    return headings, rows


def _facts(features: "FeatureFile", chosen: "Sequence[tuple[str, VideoFeatures]]") -> dict[str, str]:
    """What the file holds and how it was made, in words. chosen: some videos, of which the first shows the arrays."""
    from p3dfeat.store import Ledger

    size = f"{features.path.stat().st_size / 1e6:.2f} MB"
    facts = {"file": f"{features.path}, {size}, {counted(len(features), 'video')}"}
    for name, value in features.settings.items():
        if name not in ("format", "format_version") and value != "":
            facts[name.replace("_", " ")] = _brief(value)
    if chosen:
        facts["arrays"] = _arrays(chosen[0][1])
    ledger = Ledger(features.path)
    if len(ledger):
        facts["failed"] = f"{counted(len(ledger), 'video')}, reasons in {ledger.path}"
    return facts


def _arrays(video: "VideoFeatures") -> str:
    """Names and shapes of the arrays; the first dimension is that of the clips."""
    found = []
    for name in video:
        first, *others = video.shape(name)
        sizes = [str(first if name == "pooled" else "clips"), *map(str, others)]
        found.append(f"{name} ({', '.join(sizes)})")
    return ", ".join(found)


def _row(video: "VideoFeatures") -> tuple[str, ...]:
    about = video.attributes
    seconds = about.get("duration_seconds", "?")  # a file of other software may lack values, or contain anything
    rate = about.get("frame_rate", "?")
    padded = about.get("padded_frames")
    return (
        f"{video.shape('seconds')[0]}" if "seconds" in video else "?",
        f"{seconds:.2f} s" if isinstance(seconds, float) else f"{seconds}",
        f"{about.get('num_frames', '?')}{f' (+{padded} padded)' if padded else ''}",
        f"{round(rate, 2):g}" if isinstance(rate, int | float) else f"{rate}",
        f"{about.get('width', '?')}x{about.get('height', '?')}",
    )


def _segment(about: Mapping[str, Any]) -> str:
    """The part of the file that was used, such as "3 to 5.5 s"; empty for a whole file."""
    start, end = about.get("segment_start_seconds"), about.get("segment_end_seconds")
    if start is None and end is None:
        return ""
    text = f"{_rounded(start or 0)} to {'end' if end is None else f'{_rounded(end)} s'}"
    return f"{text} by its clock" if about.get("segment_origin") == "clock" else text


def _rounded(seconds: Any) -> str:
    return f"{round(seconds, 3):g}" if isinstance(seconds, int | float) else f"{seconds}"


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_brief(part)}" for name, part in value.items() if part is not None)
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
