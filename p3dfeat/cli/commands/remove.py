"""p3dfeat remove"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from p3dfeat.cli.options import command
from p3dfeat.cli.output import out
from p3dfeat.errors import UsageError
from p3dfeat.options import RemoveSettings
from p3dfeat.text.counts import counted

File = Annotated[Path, typer.Argument(metavar="FILE.h5", help="Feature file.")]
Ids = Annotated[
    list[str] | None, typer.Argument(metavar="ID", help="Ids of videos, or - for one id per line on stdin.")
]
NotIn = Annotated[
    list[str] | None,
    typer.Option(
        metavar="INPUT",
        rich_help_panel="Input",
        help="Remove videos that are not among these inputs, named as for extract. May be repeated.",
    ),
]


@command(RemoveSettings)
def remove(file: File, settings: RemoveSettings, ids: Ids = None, not_in: NotIn = None) -> None:
    """Remove videos from a feature file. Prints the ids.

    The file is complete at every moment, as with extract. It keeps its size; h5repack makes it smaller.

    Examples:
        p3dfeat remove feats.h5 archery/clip7
        p3dfeat remove feats.h5 --not-in videos/ --dry-run
    """
    from p3dfeat.workflows.files.remove import run_remove

    named = [id for id in ids or () if id != "-"]
    if len(named) < len(ids or ()):
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("-: stdin is no pipe; write one id per line into it")
        named += [line for line in sys.stdin.read().splitlines() if line]
    if not ids and not not_in:
        raise UsageError("ids: none given; name videos, or use --not-in INPUT")
    removed = run_remove(file, named, replace(settings, not_in=not_in))
    if out.wants_json:
        out.json(removed.as_json())
    else:
        for id in removed.ids:
            out.data(id)
    verb = "would remove" if settings.dry_run else "removed"
    out.say(f"{file}: {verb} {counted(len(removed.ids), 'video')}, {removed.size_bytes / 1e6:.2f} MB of arrays")
