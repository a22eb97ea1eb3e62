"""What the user names -> videos with stable, unique ids.

An input is a file, a folder (searched to its depths), a glob, ``@list.txt``, ``-`` for paths on stdin, or a CSV of
segments. A video's id is its path without extension: below the folder or the fixed part of the glob it was found by,
as written in a list, the name alone for a file. Where two share an id, both keep their extension; where that is not
enough, both get as many of their parent folders as tell them apart. So an id never passes from one file to another.
"""

import csv
import glob
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final, TextIO

from p3dfeat.errors import UsageError, VideoError
from p3dfeat.types import Failure, Video

EXTENSIONS: Final = frozenset(
    {
        *(".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif", ".h264", ".h265", ".ivf"),
        *(".m1v", ".m2ts", ".m2v", ".m4v", ".mj2", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg"),
        *(".mpg", ".mts", ".mxf", ".nut", ".obu", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".ts", ".vob"),
        *(".webm", ".wmv", ".y4m"),
    }
)


@dataclass(frozen=True)
class _Found:
    """A file and the id it would have if nothing clashed."""

    path: str
    source: str
    name: str  # the id with its extension
    start_seconds: float | None = None
    end_seconds: float | None = None
    given_id: str | None = None


def as_texts(inputs: str | Path | Sequence[str | Path]) -> list[str]:
    """One input or several, as the command line would name them."""
    return [str(inputs)] if isinstance(inputs, str | Path) else [str(item) for item in inputs]


def find_videos(inputs: Sequence[str], *, stdin: TextIO | None = None) -> tuple[list[Video], list[Failure]]:
    """The videos ``inputs`` name, each once, and what could not be used, in the order given (folders sorted).

    Raises UsageError for a list or CSV that cannot be understood.
    """
    found: list[_Found] = []
    failures: list[Failure] = []
    for text in inputs:
        for item in _expand(text, stdin or sys.stdin):
            if isinstance(item, Failure):
                failures.append(item)
            else:
                found.append(item)
    return _with_ids(_once(found)), failures


def _expand(text: str, stdin: TextIO) -> Iterator[_Found | Failure]:
    if text == "-":
        yield from _listed(_lines(stdin.read()), base=Path())
    elif text.startswith("@"):
        list_file = Path(text[1:])
        yield from _listed(_lines(_read_text(list_file)), base=list_file.parent)
    elif os.path.isdir(text):
        yield from _in_folder(Path(text))
    elif os.path.isfile(text) or (text.lower().endswith(".csv") and not glob.has_magic(text)):
        if text.lower().endswith(".csv"):
            yield from _segments(Path(text))
        else:
            yield _Found(text, text, PurePath(text).name)
    elif glob.has_magic(text):
        yield from _matching(text)
    else:
        yield Failure(text, text, VideoError("no such file or folder"))


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read as a list ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a text file of paths in UTF-8") from None


def _lines(text: str) -> list[str]:
    """Paths, a line each, or separated by NUL as ``find -print0`` writes them."""
    lines = text.split("\0") if "\0" in text else text.splitlines()
    return [line for line in lines if line.strip()]


def _in_folder(folder: Path) -> Iterator[_Found | Failure]:
    paths = []
    for parent, folders, names in os.walk(folder):
        folders.sort()
        paths += [Path(parent, name) for name in sorted(names) if Path(name).suffix.lower() in EXTENSIONS]
    for path in sorted(paths, key=lambda path: path.relative_to(folder).parts):
        yield _Found(str(path), str(path), path.relative_to(folder).as_posix())
    if not paths:
        yield Failure(str(folder), str(folder), VideoError("no videos in this folder, by their extensions"))


def _matching(pattern: str) -> Iterator[_Found | Failure]:
    fixed = Path(*_until_magic(PurePath(pattern).parts))
    matches = sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))
    for match in matches:
        yield _Found(match, match, Path(match).relative_to(fixed).as_posix())
    if not matches:
        yield Failure(pattern, pattern, VideoError("no file matches this pattern"))


def _until_magic(parts: Iterable[str]) -> Iterator[str]:
    for part in parts:
        if glob.has_magic(part):
            return
        yield part


def _listed(lines: Iterable[str], *, base: Path) -> Iterator[_Found | Failure]:
    for line in lines:
        path = _beside(line, base)
        if path is None:
            yield Failure(line, line, VideoError("no such file"))
        else:
            yield _Found(path, line, _listed_name(line))


def _beside(text: str, base: Path) -> str | None:
    """A listed path as a file: below the list's own folder, else from here."""
    for candidate in (base / text, Path(text)):
        if os.path.isfile(candidate):
            return str(candidate)
    return None


def _listed_name(text: str) -> str:
    """A listed path as an id: as written, less what leads out of the folder; of an absolute path the name alone."""
    path = PurePath(os.path.normpath(text))
    if path.is_absolute():
        return path.name
    return PurePath(*[part for part in path.parts if part != ".."]).as_posix()


def _segments(path: Path) -> Iterator[_Found | Failure]:
    """Rows of ``path,start_seconds,end_seconds[,id]`` below a header with these names."""
    rows = csv.DictReader(_read_text(path).splitlines())
    columns = [name.strip() for name in rows.fieldnames or []]
    needed = ("path", "start_seconds", "end_seconds")
    missing = [name for name in needed if name not in columns]
    if missing:
        header = ",".join(needed)
        raise UsageError(f"{path}: no column {missing[0]}; the first line must be {header} or {header},id")
    rows.fieldnames = columns
    for row in rows:
        text = (row["path"] or "").strip()
        given = (row.get("id") or "").strip() or None
        start, end = (_seconds(row[name], path, rows.line_num, name) for name in needed[1:])
        if given is not None and not all(part not in ("", ".", "..") for part in given.split("/")):
            raise UsageError(f"{path}, line {rows.line_num}: id {given!r}; must be names joined by single slashes")
        if (start or 0.0) < 0 or (end is not None and end <= (start or 0.0)):
            raise UsageError(f"{path}, line {rows.line_num}: segment {row['start_seconds']} to {row['end_seconds']} s")
        file = _beside(text, path.parent)
        if file is None:
            yield Failure(given or text, text, VideoError("no such file"))
        else:
            yield _Found(file, text, _listed_name(text), start, end, given)


def _seconds(text: str | None, path: Path, line: int, name: str) -> float | None:
    """A time, or None for an empty cell: from the beginning, to the end."""
    if not (text or "").strip():
        return None
    try:
        seconds = float(text or "")
    except ValueError:
        seconds = float("nan")
    if not abs(seconds) < float("inf"):
        raise UsageError(f"{path}, line {line}: {name} is {text!r}, not a number of seconds")
    return seconds


def _once(found: Iterable[_Found]) -> list[_Found]:
    """Each file and segment once, the first time it is named."""
    unique: dict[tuple[object, ...], _Found] = {}
    for item in found:
        key = (os.path.realpath(item.path), item.start_seconds, item.end_seconds, item.given_id)
        unique.setdefault(key, item)
    return list(unique.values())


def _with_ids(found: list[_Found]) -> list[Video]:
    ids = [_first_id(item) for item in found]
    for lengthen in (_id_with_extension, *(_id_with_parents(n) for n in range(1, 64))):
        clashing = _clashes(ids)
        if not clashing:
            break
        ids = [lengthen(item) if id in clashing else id for item, id in zip(found, ids, strict=True)]
    clashing = _clashes(ids)
    for item, id in zip(found, ids, strict=True):
        if id in clashing:
            raise UsageError(
                f"{item.source}: id {id!r} is given twice, or lies inside another video's; ids must differ"
            )
    return [
        Video(id, item.path, item.source, item.start_seconds, item.end_seconds)
        for item, id in zip(found, ids, strict=True)
    ]


def _clashes(ids: Sequence[str]) -> set[str]:
    """Ids that occur twice, and ids below which others lie: a video is no folder of videos."""
    counts = Counter(ids)
    parents = {"/".join(parts[:n]) for id in counts for parts in [id.split("/")] for n in range(1, len(parts))}
    return {id for id, count in counts.items() if count > 1 or id in parents}


def _first_id(item: _Found) -> str:
    return item.given_id or _segment_id(item, PurePath(item.name).with_suffix("").as_posix())


def _id_with_extension(item: _Found) -> str:
    return item.given_id or _segment_id(item, item.name)


def _id_with_parents(count: int) -> Callable[[_Found], str]:
    def lengthen(item: _Found) -> str:
        parts = Path(os.path.abspath(item.path)).parts[1:]
        kept = len(PurePath(item.name).parts) + count
        return item.given_id or _segment_id(item, "/".join(parts[-kept:]))

    return lengthen


def _segment_id(item: _Found, id: str) -> str:
    if item.start_seconds is None and item.end_seconds is None:
        return id
    end = "end" if item.end_seconds is None else f"{item.end_seconds:g}"
    return f"{id}@{item.start_seconds or 0:g}-{end}"
