"""Lists of paths and CSV files of segments.

Both are read as Linux and as Windows write them: in UTF-8 or, with a byte order mark, in UTF-16; with slashes or
backslashes in paths; and CSVs with commas, semicolons or tabs between columns.
"""

import codecs
import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Final

from p3dfeat.errors import UsageError, VideoError
from p3dfeat.pictures import holds_pictures
from p3dfeat.sources.addresses import found_at, is_address, shown
from p3dfeat.sources.ids import Found, printable
from p3dfeat.types import Failure, is_id

COLUMNS: Final = ("path", "start_seconds", "end_seconds")
DELIMITERS: Final = ",;\t"  # Excel writes semicolons where a comma stands before decimals, and tabs with UTF-16


def text_of(content: bytes) -> str:
    """A list or CSV as text. Bytes that are no UTF-8 are kept, since they may be part of a file name."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    return os.fsdecode(content.removeprefix(codecs.BOM_UTF8))


def paths_of(content: bytes) -> list[str]:
    """The paths in a list: a line each, or separated by NUL as ``find -print0`` writes them."""
    text = text_of(content)
    lines = text.split("\0") if "\0" in text else [line.rstrip("\r") for line in text.split("\n")]
    return [line for line in lines if line.strip()]


def listed(paths: Iterable[str], *, base: Path, frames_fps: float | None = None) -> Iterator[Found | Failure]:
    """The files of a list that lies in folder ``base``; with frames_fps folders of numbered pictures, too."""
    for path in paths:
        if is_address(path):
            try:
                yield found_at(path)
            except VideoError as error:
                yield Failure(shown(path), shown(path), error)
            continue
        found = _found(path, base, frames_fps)
        if found is None:
            is_folder = _beside(path, base, os.path.isdir) is not None
            reason = "a folder; lists name files" if is_folder else _no_such_file(path)
            yield Failure(printable(path), printable(path), VideoError(reason))
        else:
            yield found


def segments_of(content: bytes, file: Path, *, frames_fps: float | None = None) -> Iterator[Found | Failure]:
    """Rows of ``path,start_seconds,end_seconds[,id]``; empty times mean the beginning and the end.

    Raises UsageError where the header does not name these columns.
    """
    rows, delimiter = _rows(text_of(content), file)
    for row in _without_errors(rows, file):
        try:
            cells = {name: row.get(name) or "" for name in (*COLUMNS, "id")}
            stripped = {name: cell.strip() for name, cell in cells.items()}
            if delimiter == ";":  # the comma is then a decimal one
                times = {name: stripped[name].replace(",", ".") for name in COLUMNS[1:]}
                stripped |= times
            yield _segment(stripped, file.parent, as_is=cells["path"], frames_fps=frames_fps)
        except VideoError as error:
            place = f"{file}, line {rows.line_num}"
            yield Failure(place, place, error)


def _rows(text: str, file: Path) -> tuple["csv.DictReader[str]", str]:
    """The rows under the header, and what separates the columns. Raises UsageError for another header."""
    if "\0" in text:
        raise UsageError(f"{file}: holds zero bytes; save it in UTF-8, or in UTF-16 with a byte order mark")
    missing = ""
    for delimiter in DELIMITERS:
        rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        try:
            columns = [name.strip() for name in rows.fieldnames or []]
        except csv.Error as error:
            raise UsageError(f"{file}, line 1: {error}") from None
        absent = [name for name in COLUMNS if name not in columns]
        if not absent:
            rows.fieldnames = columns
            return rows, delimiter
        if not missing or COLUMNS[0] in columns:  # the most likely one
            missing = absent[0]
    header = ",".join(COLUMNS)
    raise UsageError(
        f"{file}: no column {missing}; the first line must be {header} or {header},id (or with semicolons or tabs)"
    )


def _without_errors(rows: "csv.DictReader[str]", file: Path) -> Iterator[dict[str, str | None]]:
    try:
        yield from rows
    except csv.Error as error:
        raise UsageError(f"{file}, line {rows.line_num}: {error}") from None


def _segment(row: dict[str, str], base: Path, *, as_is: str, frames_fps: float | None) -> Found:
    """as_is: the path with the blanks around it, which may be part of it."""
    if not row["path"]:
        raise VideoError("no path")
    start, end = _seconds(row, "start_seconds"), _seconds(row, "end_seconds")
    if (start or 0.0) < 0 or (end is not None and end <= (start or 0.0)):
        raise VideoError(f"segment from {row['start_seconds'] or 0} to {row['end_seconds']} s is none")
    if row["id"] and not is_id(row["id"]):
        raise VideoError(f"id {row['id']!r}; must be names joined by single slashes")
    given = printable(row["id"]) or None
    if is_address(row["path"]):
        return found_at(row["path"], start, end, given)
    found = _found(as_is, base, frames_fps) or _found(row["path"], base, frames_fps)
    if found is None:
        raise VideoError(f"{_no_such_file(row['path'])}: {printable(row['path'])}")
    return replace(found, start_seconds=start, end_seconds=end, given_id=given)


def _seconds(row: dict[str, str], name: str) -> float | None:
    """A time; None for an empty cell."""
    if not row[name]:
        return None
    try:
        seconds = float(row[name])
    except ValueError:
        seconds = float("nan")
    if not abs(seconds) < float("inf"):
        raise VideoError(f"{name} is {row[name]!r}, not a number of seconds")
    return seconds


def _found(path: str, base: Path, frames_fps: float | None) -> Found | None:
    """What a listed path leads to: a file or, with frames_fps, a folder of numbered pictures."""
    if (place := _beside(path, base)) is not None:
        frames_fps = None
    elif frames_fps is None or (place := _beside(path, base, holds_pictures)) is None:
        return None
    file, written = place
    return Found(file, printable(written), _as_written(written), frames_fps=frames_fps)


def _beside(path: str, base: Path, is_there: Callable[[str | Path], bool] = os.path.isfile) -> tuple[str, str] | None:
    """A listed path as a file, below the list's own folder or else from here; and as it should have been written."""
    for written in dict.fromkeys((path, path.replace("\\", "/"))):
        for candidate in (base / written, Path(written)):
            if is_there(candidate):
                return str(candidate), written
    return None


def _no_such_file(path: str) -> str:
    return "no such file, with backslashes or with slashes in their place" if "\\" in path else "no such file"


def _as_written(path: str) -> str:
    """A listed path as an id, less its root and what leads out of a folder."""
    parts = PurePath(os.path.normpath(path)).parts
    return "/".join(part for part in parts if part not in ("..", os.sep) and not part.endswith(os.sep))
