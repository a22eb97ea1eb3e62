"""Ids of videos.

An id is a path without its extension: below the folder or the fixed part of the glob it was found by, as written in a
list (less ".." and the root), the name alone for a file, host and path of a web address. Where two share an id, both
keep their extension; where that is not enough, both get as many of their parent folders as tell them apart; where
nothing does, a hash of what they are called.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

from p3dfeat.errors import VideoError
from p3dfeat.types import DEEPEST_ID, WEB_SCHEMES, Failure, Video, is_id

DEEPEST: Final = 64  # parent folders added to tell two files apart


@dataclass(frozen=True)
class Found:
    """A file, or a video at a web address, and the id it has if nothing clashes."""

    path: str
    source: str
    name: str  # the id with its extension
    start_seconds: float | None = None
    end_seconds: float | None = None
    given_id: str | None = None

    @property
    def remote(self) -> bool:
        return self.path.lower().startswith(WEB_SCHEMES)

    @property
    def place(self) -> str:
        """The same for every way to write it."""
        return self.path if self.remote else os.path.abspath(self.path)


def name_videos(found: Sequence[Found]) -> tuple[list[Video], list[Failure]]:
    """A Video for each file, with an id of its own; a Failure where ids given by the user clash."""
    ids = _told_apart(found)
    videos, failures = [], []
    clashing, counts, seen = _clashes(ids), Counter(ids), set[str]()
    for item, id in zip(found, ids, strict=True):
        if id in clashing and (id in seen or counts[id] == 1):
            reason = "is given twice" if id in seen else "is a folder of other videos' ids"
            failures.append(Failure(id, item.source, VideoError(f"id {id!r} {reason}; choose another")))
        elif not is_id(id):
            reason = f"its path makes no id of up to {DEEPEST_ID} names; give it one in a CSV"
            failures.append(Failure(id, item.source, VideoError(reason)))
        else:
            videos.append(Video(id, item.path, item.source, item.start_seconds, item.end_seconds))
        seen.add(id)
    return videos, failures


def _told_apart(found: Sequence[Found]) -> list[str]:
    """An id for each, longer than its shortest one where that clashes."""
    ids = [_shortest(item) for item in found]
    for lengthened in (_with_extension, *(_with_parents(count) for count in range(1, DEEPEST))):
        clashing = _clashes(ids)
        if not clashing:
            return ids
        before = ids
        ids = [lengthened(item) if id in clashing else id for item, id in zip(found, ids, strict=True)]
        if ids == before and lengthened is not _with_extension:  # there are no more parents
            break
    clashing = _clashes(ids)
    return [_with_mark(item) if id in clashing else id for item, id in zip(found, ids, strict=True)]


def printable(text: str) -> str:
    """A name as text: bytes of a file name that are no UTF-8 are shown as \\xff, since HDF5 and JSON hold text."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def _clashes(ids: Sequence[str]) -> set[str]:
    """Ids that occur twice, and ids below which others lie: a video is no folder of videos."""
    counts = Counter(ids)
    parents = {"/".join(parts[:n]) for id in counts for parts in [id.split("/")] for n in range(1, len(parts))}
    return {id for id, count in counts.items() if count > 1 or id in parents}


def _shortest(item: Found) -> str:
    path = PurePath(item.name)
    bare = path.stem.strip(".") == ""  # "..mp4" is a name whose stem is none
    return _id(item, item.name if bare else path.with_suffix("").as_posix())


def _with_extension(item: Found) -> str:
    return _id(item, item.name)


def _with_parents(count: int) -> Callable[[Found], str]:
    def lengthened(item: Found) -> str:
        if item.remote:  # all of its parents are there already
            return _id(item, item.name)
        parts = Path(os.path.abspath(item.path)).parts[1:]
        kept = len(PurePath(item.name).parts) + count
        return _id(item, "/".join(parts[-kept:]))

    return lengthened


def _with_mark(item: Found) -> str:
    """Where names are the same as text, and not as bytes; or the same address, by http and by https."""
    return _id(item, f"{item.name}~{hashlib.sha256(os.fsencode(item.place)).hexdigest()[:8]}")


def _id(item: Found, name: str) -> str:
    if item.given_id is not None:
        return item.given_id
    if item.start_seconds is None and item.end_seconds is None:
        return printable(name)
    end = "end" if item.end_seconds is None else _decimal(item.end_seconds)
    return f"{printable(name)}@{_decimal(item.start_seconds or 0.0)}-{end}"


def _decimal(seconds: float) -> str:
    """To a microsecond, without trailing zeros."""
    return f"{seconds:.6f}".rstrip("0").rstrip(".")
