"""Run an experiment and show its result."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p3dfeat.cli.output import one_line, out
from p3dfeat.cli.progress import counted_bar
from p3dfeat.options import ReportOptions

if TYPE_CHECKING:
    from rich.table import Table

    from p3dfeat.evaluation.reporting.result import Evaluation, Row

WRONG_SHOWN = 5


def evaluated(function: str, settings: ReportOptions, *subjects: Any) -> None:
    """Call a function of p3dfeat, and show the Evaluation that it returns.

    function: its name, so that a command's help does not load it.
    """
    out.status("reading features ...")
    import p3dfeat
    from p3dfeat.evaluation.reporting.report import check_report, write_report

    check_report(settings.report)
    with counted_bar("splits") as show:
        settings = replace(settings, on_event=lambda event: show(event.done, event.total))
        result: Evaluation = getattr(p3dfeat, function)(*subjects, **vars(settings))
    if settings.report is not None:
        write_report(result, Path(settings.report))
    _show(result)
    if settings.report is not None:
        out.say(f"report: {settings.report}")


def _show(result: "Evaluation") -> None:
    for sentence in result.protocol:
        out.say(sentence)
    if out.wants_json:
        out.json(result.as_json())
    else:
        out.show(_table(result.rows))
        if result.paper:
            out.show("", _table(result.paper))
    for note in result.notes:
        out.say(f"note: {note}")
    for each in result.wrong[:WRONG_SHOWN]:
        out.say(f"wrong: {each.id}: {each.label}, predicted {each.predicted} (margin {each.margin:.2f})")
    if result.saved is not None:
        out.say(f"classifier: {result.saved}; use it with p3dfeat classify --head {result.saved}")


def _table(rows: "Sequence[Row]") -> "Table":
    from rich.table import Table

    from p3dfeat.evaluation.reporting.report import table_of

    headings, cells = table_of(rows)
    table = Table(*headings, box=None, pad_edge=False)
    for line in cells:
        table.add_row(*map(one_line, line))
    return table
