"""Lists of paths and CSV files of segments.

Files from Linux and from Windows are supported: UTF-8, or UTF-16 with a byte order mark; slashes or backslashes in
paths; and commas, semicolons or tabs between the columns of a CSV.
"""

import codecs
import csv
import io
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from p3dfeat.errors import UsageError, VideoError
from p3dfeat.pictures import holds_pictures
from p3dfeat.sources.addresses import found_at, is_address, shown
from p3dfeat.sources.folders import failure
from p3dfeat.sources.ids import Found, printable
from p3dfeat.text.lines import shortened
from p3dfeat.types import VIDEO_ATTRIBUTES, Failure, is_id

COLUMNS: Final = ("path", "start_seconds", "end_seconds")
OWN: Final = (*COLUMNS, "id")
LOOKS_LIKE_TIME: Final = re.compile(r"(.*_)?(start|begin|end|stop|from|to)(\W|_|$)|t[01]$", re.I)
LOOKS_LIKE_END: Final = re.compile(r"(.*_)?(end|stop|to)(\W|_|$)|t1$", re.I)
MOST_COLUMN_CHARACTERS: Final = 4096  # in the name or a value of a user's column
MOST_LIST_BYTES: Final = 512 << 20  # five million long paths; a device such as /dev/zero has no end
PIECE_BYTES: Final = 1 << 20
DELIMITERS: Final = ",;\t"  # Excel writes semicolons if the decimal separator is a comma, and tabs with UTF-16


def content_of(file: Path) -> bytes:
    """The content of a list or CSV: a file, or a pipe such as bash's ``@<(find ...)``. Raises OSError, VideoError."""
    if stat.S_ISCHR(mode := os.stat(file).st_mode) or stat.S_ISBLK(mode):
        raise VideoError("a device, not a list; name a file or a pipe")
    with open(file, "rb") as opened:
        return all_of(opened.read)


def all_of(read: Callable[[int], bytes]) -> bytes:
    """The data that ``read`` gives, piece by piece, until it gives nothing. Raises VideoError if it is too long."""
    content = io.BytesIO()
    while piece := read(PIECE_BYTES):
        content.write(piece)
        if content.tell() > MOST_LIST_BYTES:
            raise VideoError(f"longer than a list may be, {MOST_LIST_BYTES >> 20} MiB; split it into several")
    return content.getvalue()


def paths_of(content: bytes) -> Iterator[str]:
    """The paths in a list: one per line, or separated by NUL, as written by ``find -print0``."""
    content = _utf8(content)
    separator, start = b"\0" if b"\0" in content else b"\n", 0
    while start <= len(content):  # one at a time: a second copy of a long list would take much memory
        end = content.find(separator, start)
        end = len(content) if end < 0 else end
        line = os.fsdecode(content[start:end])
        if separator == b"\n":
            line = line.rstrip("\r")
        if line.strip():
            yield line
        start = end + 1


def _utf8(content: bytes) -> bytes:
    """A list or CSV in UTF-8. Invalid bytes are kept, since they may be part of a file name."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace").encode()
    return content.removeprefix(codecs.BOM_UTF8)


def listed(paths: Iterable[str], *, base: Path, frames_fps: float | None = None) -> Iterator[Found | Failure]:
    """The files of a list in the folder ``base``; with frames_fps, also folders of numbered pictures."""
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
            yield failure(path, reason, str(base / path))
        else:
            yield found


def segments_of(content: bytes, file: Path, *, frames_fps: float | None = None) -> Iterator[Found | Failure]:
    """Rows of ``path[,start_seconds][,end_seconds][,id]``. Empty times mean the beginning and the end.

    Further columns are kept with the video. Raises UsageError if the header has no column path, or a column name that
    cannot be an attribute.
    """
    rows, delimiter = _rows(_utf8(content), file)
    further = _further(rows.fieldnames or (), file)
    for row in _without_errors(rows, file):
        try:
            cells = {name: row.get(name) or "" for name in OWN}
            stripped = {name: cell.strip() for name, cell in cells.items()}
            if delimiter == ";":  # then a comma is the decimal separator
                times = {name: stripped[name].replace(",", ".") for name in COLUMNS[1:]}
                stripped |= times
            found = _segment(stripped, file.parent, as_is=cells["path"], frames_fps=frames_fps)
            yield replace(found, columns=tuple((name, _value(name, row.get(name))) for name in further))
        except VideoError as error:
            place = f"{file}, line {rows.line_num}"
            yield Failure(place, place, error)


def _rows(content: bytes, file: Path) -> tuple["csv.DictReader[str]", str]:
    """The rows below the header, and the delimiter. Raises UsageError if the header has no column path."""
    if b"\0" in content:
        raise UsageError(f"{file}: holds zero bytes; save it in UTF-8, or in UTF-16 with a byte order mark")
    for delimiter in DELIMITERS:
        encoding, errors = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
        lines = io.TextIOWrapper(io.BytesIO(content), encoding, errors, newline="")
        rows = csv.DictReader(lines, delimiter=delimiter)
        try:
            columns = [name.strip() for name in rows.fieldnames or []]
        except csv.Error as error:
            raise UsageError(f"{file}, line 1: {error}") from None
        if COLUMNS[0] in columns:
            rows.fieldnames = columns
            return rows, delimiter
    raise UsageError(
        f"{file}: no column path; the first line names the columns: path, and optionally start_seconds, end_seconds, "
        "id and others, separated by commas, semicolons or tabs"
    )


def _further(columns: Sequence[str], file: Path) -> list[str]:
    """The user's own columns. Raises UsageError if a name cannot be used."""
    further = [name for name in columns if name and name not in OWN]
    for name in further:
        if LOOKS_LIKE_TIME.match(name):
            role = COLUMNS[2] if LOOKS_LIKE_END.match(name) else COLUMNS[1]
            raise UsageError(
                f"{file}: column {shortened(name)!r}: may be the time of a segment; if so, rename it to {role} (the "
                f"values are seconds); if not, rename it, for example to user_{shortened(name)}"
            )
        if name in VIDEO_ATTRIBUTES:
            remedy = f"rename it, for example to user_{name}"
            raise UsageError(f"{file}: column {name!r}: feature files use this name; {remedy}")
        if columns.count(name) > 1 or len(name) > MOST_COLUMN_CHARACTERS or printable(name) != name:
            raise UsageError(f"{file}: column {shortened(name)!r}: appears twice, too long, or not text")
    return further


def _value(name: str, text: str | None) -> str:
    """A cell of a user's column, as text. Raises VideoError if it is too long."""
    if len(text or "") > MOST_COLUMN_CHARACTERS:
        raise VideoError(f"column {shortened(name)!r}: longer than {MOST_COLUMN_CHARACTERS} characters")
    return printable((text or "").strip())


def _without_errors(rows: "csv.DictReader[str]", file: Path) -> Iterator[dict[str, str | None]]:
    try:
        yield from rows
    except csv.Error as error:
        raise UsageError(f"{file}, line {rows.line_num}: {error}") from None


def _segment(row: dict[str, str], base: Path, *, as_is: str, frames_fps: float | None) -> Found:
    """The file and segment of a row. as_is: the path with surrounding blanks, which may be part of it."""
    if not row["path"]:
        raise VideoError("no path")
    start, end = _seconds(row, "start_seconds"), _seconds(row, "end_seconds")
    if (start or 0.0) < 0 or (end is not None and end <= (start or 0.0)):
        written = [shortened(row[name]) for name in COLUMNS[1:]]
        raise VideoError(f"segment from {written[0] or 0} to {written[1]} s is empty")
    if row["id"] and not is_id(row["id"]):
        raise VideoError(f"id {shortened(row['id'])!r}; must be names joined by single slashes")
    given = printable(row["id"]) or None
    if is_address(row["path"]):
        return found_at(row["path"], start, end, given)
    found = _found(as_is, base, frames_fps) or _found(row["path"], base, frames_fps)
    if found is None:
        raise VideoError(f"{_no_such_file(row['path'])}: {failure(row['path'], '').source}")
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
        raise VideoError(f"{name} is {shortened(row[name])!r}, not a number of seconds")
    return seconds + 0.0  # -0 becomes 0


def _found(path: str, base: Path, frames_fps: float | None) -> Found | None:
    """The file of a listed path or, with frames_fps, the folder of numbered pictures; None if there is neither."""
    if (place := _beside(path, base)) is not None:
        frames_fps = None
    elif frames_fps is None or (place := _beside(path, base, holds_pictures)) is None:
        return None
    file, written = place
    return Found(
        _same(file, written),
        _same(printable(written), written),
        _same(_as_written(written), written),
        frames_fps=frames_fps,
    )


def _same(text: str, known: str) -> str:
    """``known`` if it is equal to ``text``: in a long list, sharing one object saves much memory."""
    return known if text == known else text


def _beside(path: str, base: Path, is_there: Callable[[str | Path], bool] = os.path.isfile) -> tuple[str, str] | None:
    """The file of a listed path, and the path with the correct slashes; None if there is no such file.

    The path is relative to the list's folder or, if it does not exist there, to the working folder.
    """
    for written in dict.fromkeys((path, path.replace("\\", "/"))):
        for folder in (base, Path()):
            if is_there(candidate := folder / written):
                return str(candidate), written
    return None


def _no_such_file(path: str) -> str:
    return "no such file, with backslashes or with slashes in their place" if "\\" in path else "no such file"


def _as_written(path: str) -> str:
    """A listed path as an id, without its root, "." and ".."."""
    return "/".join(part for part in os.path.normpath(path).split("/") if part not in ("", ".", ".."))
