"""p3dfeat duplicates"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from p3dfeat.cli.options import command
from p3dfeat.cli.output import one_line, out
from p3dfeat.cli.progress import counted_bar
from p3dfeat.options import DuplicatesSettings
from p3dfeat.text.counts import counted

File = Annotated[Path, typer.Argument(metavar="FILE.h5", help="Feature file with pool5.")]


@command(DuplicatesSettings)
def duplicates(file: File, settings: DuplicatesSettings) -> None:
    """List groups of near-identical videos, such as re-encodings.

    Examples:
        p3dfeat duplicates feats.h5
        p3dfeat duplicates dense.h5 --parts --above 0.99 --json
    """
    out.status(f"comparing the videos of {file} ...")
    from p3dfeat.workflows.searching.duplicates import run_duplicates

    with counted_bar("blocks") as show:
        groups = run_duplicates(file, replace(settings, on_progress=show))
    if out.wants_json:
        for group in groups:
            out.json(group.as_json())
        return
    for number, group in enumerate(groups):
        if number:
            out.data("")
        out.data(f"group {number + 1}, cosine {group.score:.4f} or more")
        for id in group.ids:
            out.data(f"  {one_line(id)}")
    videos = sum(len(group.ids) for group in groups)
    out.say(
        f"{file}: {counted(len(groups), 'group')} of {counted(videos, 'video')}" if groups else f"{file}: no duplicates"
    )
