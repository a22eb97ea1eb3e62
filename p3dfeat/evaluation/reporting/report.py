"""The report of an experiment: its tables and figures as a page, a PDF or a picture."""

import base64
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from p3dfeat.errors import UsageError
from p3dfeat.evaluation.reporting.figures import drawing, figures, svg, write_document
from p3dfeat.evaluation.reporting.result import Evaluation, Row
from p3dfeat.pages.report_page import Figure, experiment_page
from p3dfeat.system.disk import write_whole
from p3dfeat.text.lines import one_line

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]  # headings and cells

ENDINGS: Final = (".html", ".htm", ".pdf", ".png")


def check_report(path: str | Path | None) -> None:
    """Raise UsageError for a report that cannot be written, before the work."""
    if path is not None and Path(path).suffix.lower() not in ENDINGS:
        raise UsageError(f"report {path}: must end in {', '.join(ENDINGS)}")
    if path is not None:
        with drawing():
            return


def write_report(evaluation: Evaluation, path: Path) -> None:
    """Write the report of an experiment; the ending of the name says as what. Raises UsageError, OutputError."""
    check_report(path)
    with drawing():
        _write(evaluation, path)


def _write(evaluation: Evaluation, path: Path) -> None:
    if path.suffix.lower() in (".html", ".htm"):
        drawn = [
            Figure(title, "data:image/svg+xml;base64," + base64.b64encode(svg(f)).decode())
            for title, f in figures(evaluation)
        ]
        tables = {"Results": table_of(evaluation.rows), "The paper": table_of(evaluation.paper)}
        after = {"Wrong labels, the worst first": _wrong_table(evaluation)}
        title = f"p3dfeat eval {evaluation.experiment}"
        page = experiment_page(title, (*evaluation.protocol, *evaluation.notes), tables, drawn, after)
        write_whole(path, page.encode())
    else:
        write_whole(path, write_document(evaluation, as_text(evaluation), path))


def _wrong_table(evaluation: Evaluation) -> Table:
    cells: list[tuple[str, ...]] = [
        (each.id, each.label, each.predicted, f"{each.margin:.3f}") for each in evaluation.wrong
    ]
    return ("video", "label", "predicted", "margin"), cells


def columns_of(rows: Iterable[Row]) -> list[str]:
    """Names of all values, in the order in which they come first."""
    return list(dict.fromkeys(name for row in rows for name in row.values))


def cell(value: float | str | None) -> str:
    """A value in a table: per cent with two digits, counts as they are."""
    if value is None:
        return ""
    return f"{value:.2f} %" if isinstance(value, float) else str(value)


def table_of(rows: Sequence[Row]) -> Table:
    """Headings and cells."""
    names = columns_of(rows)
    return ("", *names), [(row.name, *(cell(row.values.get(name)) for name in names)) for row in rows]


def as_text(evaluation: Evaluation) -> str:
    """The report as lines of text."""
    lines = [f"p3dfeat eval {evaluation.experiment}", ""]
    lines += [*_wrapped(evaluation.protocol), ""]
    for head, cells in (table_of(evaluation.rows), table_of(evaluation.paper)):
        lines += [*_aligned(head, cells), ""] if cells else []
    lines += _wrapped(evaluation.notes)
    head, cells = _wrong_table(evaluation)
    lines += ["", "Wrong labels, the worst first:", *_aligned(head, cells)] if cells else []
    return "\n".join(lines).rstrip() + "\n"


def _aligned(head: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    rows = [[one_line(cell) for cell in row] for row in (head, *cells)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _wrapped(sentences: Iterable[str]) -> list[str]:
    return [line for sentence in sentences for line in textwrap.wrap(sentence, 100)]
