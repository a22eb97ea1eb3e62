"""The latest results, in docs/reliability.md."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

REPORT: Final = Path(__file__).parents[1] / "docs" / "reliability.md"


def table(heading: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in lines)


def put_between_marks(name: str, text: str, report: Path = REPORT) -> None:
    """Write ``text`` where the report has ``<!-- name: begin -->`` and ``<!-- name: end -->``."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = report.read_text(encoding="utf-8").partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{report}: has no {begin} ... {end}")
    report.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
