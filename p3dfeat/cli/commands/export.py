"""p3dfeat export"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from p3dfeat.cli.options import command
from p3dfeat.cli.output import out
from p3dfeat.cli.progress import counted_bar
from p3dfeat.options import ExportSettings
from p3dfeat.text.counts import counted, named

if TYPE_CHECKING:
    from p3dfeat.exports.run import ExportSummary

LISTED = 5  # names in a message

Files = Annotated[list[Path], typer.Argument(metavar="FILE.h5", help="Feature files with the same settings.")]
Output = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="OUT", rich_help_panel="Output", help="Folder or file, as LAYOUT needs."),
]


@command(ExportSettings)
def export(files: Files, output: Output, settings: ExportSettings) -> None:
    """Write features in the layout that other software reads.

    Layouts: opentad, actionformer (one file if OUT holds .hdf5), activitynet-c3d, bmn, ms-tcn, rtfm, moment-detr, hcrn;
    and npy, npz, pt, flat-h5, parquet, jsonl, table. Run it again after an interruption: it does what is missing.

    Examples:
        p3dfeat export feats.h5 --to npy -o features/
        p3dfeat export dense.h5 --to opentad -o features/
        p3dfeat export dense.h5 --to actionformer --prefix v_ --pca 500 -o anet.hdf5
    """
    from p3dfeat.exports.run import run_export

    with counted_bar("videos") as show:
        settings = replace(settings, on_event=lambda event: show(event.done, event.total))
        summary = run_export([str(file) for file in files], output, settings)
    if out.wants_json:
        out.json(summary.as_json())
    _say(summary)
    if summary.refused:
        raise typer.Exit(3)


def _say(summary: "ExportSummary") -> None:
    for id, reason in summary.refused:
        out.say(f"left out: {id}: {reason}")
    for name, path in list(summary.renamed.items())[:LISTED]:
        out.say(f"note: {name} is no file name everywhere; its file is {path}")
    if summary.without_label:
        out.say(f"note: {named(summary.without_label, 'video')} without a label")
    if summary.missing:
        out.say(f"note: no features of {named(summary.missing, 'video')}; missing_files.txt lists all")
    if not summary.written and summary.skipped and not summary.refused:
        out.say(f"{summary.output}: nothing to do: {counted(summary.skipped, 'video')} there already")
        return
    megabytes = summary.size_bytes / 1e6
    rate = f" ({megabytes / summary.elapsed_seconds:.0f} MB/s)" if summary.elapsed_seconds > 0 else ""
    out.say(
        f"{summary.output}: {counted(summary.written, 'video')} written, {summary.skipped} there already, "
        f"{len(summary.refused)} left out; {counted(summary.rows, 'row')}, {megabytes:.2f} MB{rate}"
    )
    if summary.beside:
        out.say(f"beside them: {', '.join(summary.beside)}")
