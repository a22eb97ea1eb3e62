"""p3dfeat info"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from p3dfeat.cli.options import command, flag
from p3dfeat.cli.output import one_line, out

if TYPE_CHECKING:
    from p3dfeat.store import FeatureFile, VideoFeatures

SHOWN = 20  # videos listed unless all are asked for

File = Annotated[Path, typer.Argument(metavar="FILE.h5", help="Feature file.")]
All = Annotated[bool, flag("--all", "-a", help=f"List all videos, not only the first {SHOWN}.")]


@command(quiet=False)
def info(file: File, all_videos: All = False) -> None:
    """Show what a feature file holds and how it was made.

    Examples:
        p3dfeat info feats.h5
        p3dfeat info feats.h5 --json | jq -r .id
    """
    from p3dfeat.store import open_features

    with open_features(file) as features:
        if out.wants_json:
            _print_json(features)
        else:
            _print_tables(features, None if all_videos else SHOWN)


def _print_json(features: "FeatureFile") -> None:
    for id, video in features.items():
        arrays = {name: list(video.shape(name)) for name in video}
        _print_record({"event": "video", "id": id, "arrays": arrays}, video.attributes)
    totals = {"videos": len(features), "size_bytes": features.path.stat().st_size}
    _print_record({"event": "summary", **totals}, features.settings)


def _print_record(ours: dict[str, Any], from_file: Mapping[str, Any]) -> None:
    """Ours come first, and win over what a file calls the same."""
    out.json({**ours, **from_file, **ours})


def _print_tables(features: "FeatureFile", shown: int | None) -> None:
    from rich.table import Table

    from p3dfeat.store import Ledger

    made = Table(box=None, show_header=False, pad_edge=False)
    size = f"{features.path.stat().st_size / 1e6:.2f} MB"
    made.add_row("file", f"{one_line(str(features.path))}, {size}, {len(features)} videos")
    for name, value in features.settings.items():
        if name not in ("format", "format_version") and value != "":
            made.add_row(one_line(name.replace("_", " ")), one_line(_brief(value)))
    ledger = Ledger(features.path)
    if len(ledger):
        made.add_row("failed", f"{len(ledger)} videos, reasons in {one_line(str(ledger.path))}")
    videos = Table("id", "duration", "frames", "size", "arrays", "padded", "remarks", box=None, pad_edge=False)
    for number, (id, video) in enumerate(features.items()):
        if number == shown:
            break
        videos.add_row(*map(one_line, (id, *_row(video))))
    out.show(made, "", videos)
    if shown is not None and len(features) > shown:
        out.data(f"... and {len(features) - shown} more; --all lists them")


def _row(video: "VideoFeatures") -> tuple[str, ...]:
    about = video.attributes
    arrays = ", ".join(f"{name} {'x'.join(map(str, video.shape(name)))}" for name in video)
    seconds = about.get("duration_seconds", "?")  # a file from elsewhere may lack anything, or hold anything
    return (
        f"{seconds:.2f} s" if isinstance(seconds, float) else f"{seconds}",
        str(about.get("num_frames", "?")),
        f"{about.get('width', '?')}x{about.get('height', '?')}",
        arrays,
        str(about.get("padded_frames") or ""),
        str(about.get("damage") or about.get("remarks", "")),
    )


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_brief(part)}" for name, part in value.items() if part is not None)
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
