"""Lines of CSV that spreadsheets read as text and numbers, never as formulas."""

import csv
import io
import re
from collections.abc import Iterable
from numbers import Real
from typing import Final

# Spreadsheets skip blanks, and some read full-width signs as the usual ones.
FORMULA: Final = re.compile("[\\s\0-\x1f\ufeff]*[=+@＝＋－＠-]|[\t\r\n]")


def csv_cell(text: str) -> str:
    """The text of a cell, with a leading single quote if a spreadsheet would read it as a formula.

    Halves of characters (lone surrogates), which no encoding accepts, are escaped.

        >>> csv_cell("=1+1")
        "'=1+1"
    """
    text = text.encode("utf-8", "backslashreplace").decode()
    return f"'{text}" if FORMULA.match(text) else text


def csv_line(cells: Iterable[object]) -> str:
    """A line of CSV, without a line end. Numbers stay numbers, None is an empty cell, other values are text.

    >>> print(csv_line(["-x", -1.5, "a,b"]))
    '-x,-1.5,"a,b"
    """
    line = io.StringIO()
    csv.writer(line).writerow(
        [cell if cell is None or isinstance(cell, Real) else csv_cell(str(cell)) for cell in cells]
    )
    return line.getvalue().removesuffix("\r\n")
