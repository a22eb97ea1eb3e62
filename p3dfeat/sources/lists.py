"""Lists of paths and CSV files of segments."""

import csv
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import Final

from p3dfeat.errors import UsageError, VideoError
from p3dfeat.sources.addresses import found_at, is_address, shown
from p3dfeat.sources.ids import Found, printable
from p3dfeat.types import Failure, is_id

COLUMNS: Final = ("path", "start_seconds", "end_seconds")


def paths_of(content: bytes) -> list[str]:
    """The paths in a list: a line each, or separated by NUL as ``find -print0`` writes them."""
    text = os.fsdecode(content.removeprefix(b"\xef\xbb\xbf"))
    lines = text.split("\0") if "\0" in text else [line.rstrip("\r") for line in text.split("\n")]
    return [line for line in lines if line.strip()]


def listed(paths: Iterable[str], *, base: Path) -> Iterator[Found | Failure]:
    """The files of a list that lies in folder ``base``."""
    for path in paths:
        if is_address(path):
            try:
                yield found_at(path)
            except VideoError as error:
                yield Failure(shown(path), shown(path), error)
            continue
        file = _beside(path, base)
        if file is None:
            reason = "a folder; lists name files" if (base / path).is_dir() or Path(path).is_dir() else "no such file"
            yield Failure(printable(path), printable(path), VideoError(reason))
        else:
            yield Found(file, printable(path), _as_written(path))


def segments_of(content: bytes, file: Path) -> Iterator[Found | Failure]:
    """Rows of ``path,start_seconds,end_seconds[,id]``; empty times mean the beginning and the end.

    Raises UsageError where the header does not name these columns.
    """
    text = os.fsdecode(content.removeprefix(b"\xef\xbb\xbf"))
    rows = csv.DictReader(io.StringIO(text, newline=""))
    columns = [name.strip() for name in rows.fieldnames or []]
    for name in COLUMNS:
        if name not in columns:
            header = ",".join(COLUMNS)
            raise UsageError(f"{file}: no column {name}; the first line must be {header} or {header},id")
    rows.fieldnames = columns
    for row in _without_errors(rows, file):
        try:
            cells = {name: row.get(name) or "" for name in (*COLUMNS, "id")}
            yield _segment({name: cell.strip() for name, cell in cells.items()}, file.parent, as_is=cells["path"])
        except VideoError as error:
            place = f"{file}, line {rows.line_num}"
            yield Failure(place, place, error)


def _without_errors(rows: "csv.DictReader[str]", file: Path) -> Iterator[dict[str, str | None]]:
    try:
        yield from rows
    except csv.Error as error:
        raise UsageError(f"{file}, line {rows.line_num}: {error}") from None


def _segment(row: dict[str, str], base: Path, *, as_is: str) -> Found:
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
    written = as_is if _beside(as_is, base) else row["path"]
    path = _beside(written, base)
    if path is None:
        raise VideoError(f"no such file: {printable(written)}")
    return Found(path, printable(written), _as_written(written), start, end, given)


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


def _beside(path: str, base: Path) -> str | None:
    """A listed path as a file: below the list's own folder, else from here."""
    for candidate in (base / path, Path(path)):
        if os.path.isfile(candidate):
            return str(candidate)
    return None


def _as_written(path: str) -> str:
    """A listed path as an id, less its root and what leads out of a folder."""
    parts = PurePath(os.path.normpath(path)).parts
    return "/".join(part for part in parts if part not in ("..", os.sep) and not part.endswith(os.sep))
