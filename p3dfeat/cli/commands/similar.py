"""p3dfeat similar"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from p3dfeat.cli.options import command
from p3dfeat.cli.output import one_line, out
from p3dfeat.options import SimilarSettings

File = Annotated[Path, typer.Argument(metavar="FILE.h5", help="Feature file with pool5.")]
Query = Annotated[str, typer.Argument(metavar="QUERY", help="Id of a stored video, id@SECONDS, or a video file.")]


@command(SimilarSettings)
def similar(file: File, query: Query, settings: SimilarSettings) -> None:
    """Find the videos that are most similar to a query.

    The score is the cosine between descriptors: 1 for the same direction. The result is exact.

    Examples:
        p3dfeat similar feats.h5 archery/clip7
        p3dfeat similar feats.h5 new.mp4 --top 3 --json
        p3dfeat similar feats.h5 archery/clip7@12.5 --moments
    """
    out.status(f"searching {file} ...")
    from p3dfeat.cli.progress import fetch_bar
    from p3dfeat.events import Fetching
    from p3dfeat.workflows.searching.similar import run_similar

    with fetch_bar() as show:
        settings = replace(settings, on_event=lambda event: show(event) if isinstance(event, Fetching) else None)
        matches = run_similar(file, query, settings)
    if out.wants_json:
        for match in matches:
            out.json(match.as_json())
        return
    from rich.table import Table

    table = Table("score", *(("from", "to") if settings.moments else ()), "id", box=None, pad_edge=False)
    for match in matches:
        times = (f"{match.start_seconds:.2f} s", f"{match.end_seconds:.2f} s") if settings.moments else ()
        table.add_row(f"{match.score:.4f}", *times, one_line(match.id))
    out.show(table)
