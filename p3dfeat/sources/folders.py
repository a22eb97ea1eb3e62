"""The contents of folders and the matches of patterns. Links are followed, but not in cycles or in mazes of links.

Hidden files and folders, whose names begin with a dot, are left out.
"""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Final

from p3dfeat.errors import VideoError
from p3dfeat.sources.ids import printable
from p3dfeat.text.lines import shortened
from p3dfeat.text.urls import scrubbed
from p3dfeat.types import Failure

LONGEST_PATH: Final = 8000  # characters of a path that are shown: nearly twice Linux's limit
# Visits of one folder on different ways. If links lead to folders of links, each level doubles the number of ways.
MOST_VISITS: Final = 32


@dataclass(frozen=True)
class Folder:
    """A visited folder. name: its path below the start, "" or with a slash at its end.

    files: entries that are neither hidden nor folders. hidden: hidden entries, including folders.
    """

    path: str
    name: str
    files: list["os.DirEntry[str]"]
    hidden: list["os.DirEntry[str]"]


def folders(start: str, *, hidden_too: bool = False) -> Iterator[Folder | Failure]:
    """``start`` and all folders below it, at any depth. A folder that cannot be read gives a Failure."""
    visits = Counter[tuple[int, int]]()
    waiting: list[tuple[str, str, frozenset[tuple[int, int]]]] = [(start, "", frozenset())]
    while waiting:
        path, name, above = waiting.pop()
        try:
            status = os.stat(path)
            itself = status.st_dev, status.st_ino
            if itself in above:
                continue
            visits[itself] += 1
            if visits[itself] > MOST_VISITS:
                if visits[itself] == MOST_VISITS + 1:
                    yield failure(path, f"more than {MOST_VISITS} ways of links lead here; the others are left out")
                continue
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            yield failure(path, f"folder cannot be read ({error.strerror})")
            continue
        hidden = [] if hidden_too else [entry for entry in entries if entry.name.startswith(".")]
        files: list[os.DirEntry[str]] = []
        below: list[os.DirEntry[str]] = []
        for entry in entries:
            if hidden_too or not entry.name.startswith("."):
                (below if is_folder(entry) else files).append(entry)
        within = above | {itself}
        waiting += [(entry.path, f"{name}{entry.name}/", within) for entry in reversed(below)]
        yield Folder(path, name, files, hidden)


def is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether it is a folder, or a link to one."""
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def matches(pattern: str) -> tuple[str, list[str], list[Failure]]:
    """The fixed part of a pattern, its sorted matches, and failures for folders that cannot be read.

    If a part of the pattern exists literally, such as a folder "Talk [2019]", it matches only itself.
    """
    parts = PurePath(pattern).parts
    count = _num_fixed(parts)
    fixed, parts = str(Path(*parts[:count])), parts[count:]
    failures: list[Failure] = []
    found = [fixed if count else ""]
    for before, part in pairwise(("", *parts)):
        if part == before == "**":  # "**/**" is the same as "**"
            continue
        if part == "**":  # not by glob, which follows a cycle of links forty times
            found = list(dict.fromkeys(below for place in found for below in _all_below(place, failures)))
        else:
            found = [match for place in found for match in _named(place, part)]
    if parts[-1:] == ("**",):
        found = [match for place in found for match in _named(place, "*")]
    return fixed, sorted(found), failures


def _named(place: str, part: str) -> list[str]:
    if os.path.lexists(itself := os.path.join(place, part)):
        return [itself]
    if not glob.has_magic(part):
        return []
    return [os.path.join(place, name) for name in glob.glob(part, root_dir=place or None)]


def _all_below(place: str, failures: list[Failure]) -> Iterator[str]:
    """The matches of **: this folder and all folders below it."""
    for folder in folders(place or "."):
        if isinstance(folder, Failure):
            failures.append(folder)
        else:
            yield os.path.join(place, folder.name.rstrip("/")) if folder.name else place


def _num_fixed(parts: Sequence[str]) -> int:
    """Number of leading parts of a pattern that are plain names."""
    for count, part in enumerate(parts):
        if glob.has_magic(part) and not os.path.lexists(os.path.join("", *parts[: count + 1])):
            return count
    return len(parts)


def failure(text: str, reason: str, path: str = "") -> Failure:
    """The Failure of an input, or of a file below one, that cannot be used. Only a text longer than any path is cut.

    path: the file, if it is known.
    """
    shown = shortened(scrubbed(printable(text)), over=LONGEST_PATH)
    return Failure(shown, shown, VideoError(reason), path)
