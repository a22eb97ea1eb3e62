"""Finding the files that inputs name."""

import glob
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Final, TextIO

from p3dfeat.errors import UsageError, VideoError
from p3dfeat.sources.addresses import found_at, is_address, shown
from p3dfeat.sources.folders import failure, folders, matches
from p3dfeat.sources.ids import Found, name_videos, printable
from p3dfeat.sources.lists import listed, paths_of, segments_of
from p3dfeat.types import Failure, Video

EXTENSIONS: Final = frozenset(
    {
        *(".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif", ".h264", ".h265", ".ivf"),
        *(".m1v", ".m2ts", ".m2v", ".m4v", ".mj2", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg"),
        *(".mpg", ".mts", ".mxf", ".nut", ".obu", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".ts", ".vob"),
        *(".webm", ".wmv", ".y4m"),
    }
)


def as_texts(inputs: str | Path | Sequence[str | Path]) -> list[str]:
    """One input or several, as the command line would name them."""
    return [str(inputs)] if isinstance(inputs, str | Path) else [str(item) for item in inputs]


def find_videos(inputs: Sequence[str], *, stdin: TextIO | None = None) -> tuple[list[Video], list[Failure]]:
    """The videos ``inputs`` name, each once, and what could not be used, in the order given (folders sorted).

    stdin: what "-" reads; sys.stdin unless given. Raises UsageError for a CSV without the columns it needs.
    """
    found: dict[tuple[object, ...], Found] = {}
    failures: list[Failure] = []
    for text in inputs:
        for item in _expand(text, stdin or sys.stdin):
            if isinstance(item, Failure):
                failures.append(item)
            else:  # the first time it is named counts; a link to a file is another name for another id
                key = (item.place, item.start_seconds, item.end_seconds, item.given_id)
                found.setdefault(key, item)
    videos, nameless = name_videos(list(found.values()))
    return videos, failures + nameless


def _expand(text: str, stdin: TextIO | None) -> Iterator[Found | Failure]:
    if text == "-":
        if stdin is None:
            raise UsageError("-: stdin is closed")
        content = stdin.buffer.read() if hasattr(stdin, "buffer") else os.fsencode(stdin.read())
        yield from listed(paths_of(content), base=Path())
    elif text.startswith("@"):
        yield from _read(Path(text[1:]), lambda content, file: listed(paths_of(content), base=file.parent))
    elif is_address(text):
        try:
            yield found_at(text)
        except VideoError as error:
            raise UsageError(f"{shown(text)}: {error}") from None
    elif os.path.isdir(text):
        yield from _in_folder(text)
    elif text.lower().endswith(".csv") and (os.path.isfile(text) or not glob.has_magic(text)):
        yield from _read(Path(text), segments_of)
    elif os.path.isfile(text):
        yield Found(text, printable(text), PurePath(text).name)
    elif glob.has_magic(text):
        yield from _matching(text)
    else:
        yield failure(text, "no such file or folder")


def _read(file: Path, parse: Callable[[bytes, Path], Iterator[Found | Failure]]) -> Iterator[Found | Failure]:
    try:
        content = file.read_bytes()
    except OSError as error:
        yield failure(str(file), f"cannot be read as a list ({error.strerror})")
    else:
        yield from parse(content, file)


def _in_folder(start: str) -> Iterator[Found | Failure]:
    items = sorted(_below(start), key=lambda item: PurePath(item.source).parts)
    yield from items
    if not items:
        yield failure(start, "no videos in this folder, by their extensions")


def _below(start: str) -> Iterator[Found | Failure]:
    for folder in folders(start):
        if isinstance(folder, Failure):
            yield folder
            continue
        for entry in folder.entries:
            if not _is_named_video(entry.name) or os.path.isdir(entry.path):
                continue
            if not os.path.isfile(entry.path):
                yield failure(entry.path, "not a file: a broken link, a pipe or a device")
            else:
                yield Found(entry.path, printable(entry.path), folder.name + entry.name)


def _is_named_video(name: str) -> bool:
    """By its extension; a name of dots before it is a name, as in "...mp4"."""
    stem, _, extension = name.rpartition(".")
    return stem != "" and f".{extension.lower()}" in EXTENSIONS


def _matching(pattern: str) -> Iterator[Found | Failure]:
    fixed, paths, failures = matches(pattern)
    yield from failures
    for path in paths:
        yield Found(path, printable(path), Path(path).relative_to(fixed).as_posix())
    if not paths:
        yield failure(pattern, "no file matches this pattern")
