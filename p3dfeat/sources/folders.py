"""Folders and patterns: what lies below them, through links too, but neither round in circles nor through mazes."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Final

from p3dfeat.errors import VideoError
from p3dfeat.sources.ids import printable
from p3dfeat.types import Failure

# Of one folder, by different ways: where links lead to folders of links, the ways double from one to the next.
MOST_VISITS: Final = 32


@dataclass(frozen=True)
class Folder:
    """One that was come by. name: below where it began, "" or with a slash at its end."""

    path: str
    name: str
    entries: list["os.DirEntry[str]"]


def folders(start: str) -> Iterator[Folder | Failure]:
    """``start`` and all folders below it, however deep; a Failure for one that cannot be read."""
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
        yield Folder(path, name, entries)
        within = above | {itself}
        waiting += [(e.path, f"{name}{e.name}/", within) for e in reversed(entries) if os.path.isdir(e.path)]


def matches(pattern: str) -> tuple[str, list[str], list[Failure]]:
    """The fixed part of a pattern, the files that match, in order, and folders that could not be looked into."""
    parts = PurePath(pattern).parts
    fixed = str(Path(*_until_magic(parts)))
    failures: list[Failure] = []
    if "**" not in parts:
        found: Iterable[str] = glob.glob(pattern)
    else:  # by ourselves: glob goes round in circles, forty times
        found = [fixed] if fixed != "." else [""]
        for before, part in pairwise(("", *parts[len(list(_until_magic(parts))) :])):
            if part == before == "**":  # the same once more
                continue
            if part == "**":
                found = list(dict.fromkeys(below for place in found for below in _all_below(place, failures)))
            else:
                found = [match for place in found for match in glob.glob(os.path.join(glob.escape(place), part))]
        if parts[-1] == "**":
            found = [match for place in found for match in glob.glob(os.path.join(glob.escape(place), "*"))]
    return fixed, sorted(path for path in found if os.path.isfile(path)), failures


def _all_below(place: str, failures: list[Failure]) -> Iterator[str]:
    """What ** stands for: this folder and those below it, but for hidden ones."""
    for folder in folders(place or "."):
        if isinstance(folder, Failure):
            failures.append(folder)
        elif not any(part.startswith(".") for part in folder.name.split("/")):
            yield os.path.join(place, folder.name.rstrip("/")) if folder.name else place


def _until_magic(parts: Iterable[str]) -> Iterator[str]:
    for part in parts:
        if glob.has_magic(part):
            return
        yield part


def failure(text: str, reason: str) -> Failure:
    """An input, or what lies below one, that cannot be used."""
    return Failure(printable(text), printable(text), VideoError(reason))
