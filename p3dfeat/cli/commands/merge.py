"""p3dfeat merge"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from p3dfeat.cli.options import command
from p3dfeat.cli.output import out
from p3dfeat.cli.progress import counted_bar
from p3dfeat.options import MergeSettings
from p3dfeat.text.counts import counted, named

Files = Annotated[list[Path], typer.Argument(metavar="FILE.h5", help="Feature files with the same settings.")]
Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE.h5", rich_help_panel="Output", help="Feature file to write.")
]


@command(MergeSettings)
def merge(files: Files, output: Output, settings: MergeSettings) -> None:
    """Merge feature files into one, such as the shards of several machines.

    Run it again after an interruption, or with further files: it adds what is missing.

    Examples:
        p3dfeat extract videos/ -o shard3.h5 --shard 3/16
        p3dfeat merge shard*.h5 -o feats.h5
    """
    from p3dfeat.workflows.files.merge import run_merge

    with counted_bar("videos") as show:
        settings = replace(settings, on_event=lambda event: show(event.done, event.total))
        summary = run_merge([str(file) for file in files], output, settings)
    if out.wants_json:
        out.json(summary.as_json())
    if summary.missing:
        out.say(f"note: {named([str(number) for number in summary.missing], 'shard')} missing")
    if summary.duplicates:
        out.say(f"note: {named(summary.duplicates, 'video')} in several files, stored once")
    failed = f"; {counted(summary.failed, 'video')} in the list of failures" if summary.failed else ""
    out.say(
        f"{output}: {counted(summary.videos, 'video')} of {counted(summary.files, 'file')}, "
        f"{summary.added} added{failed}"
    )
