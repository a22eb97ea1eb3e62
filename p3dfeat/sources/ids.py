"""Ids of videos.

An id is a path without its extension. The path is relative to the input folder or to the fixed part of the glob. For
an entry of a list, it is the path as written, without ".." and the root. For a single file it is the file name, and
for an address host and path, or bucket and path. Folders of pictures, and files used regardless of their extension,
keep their whole names. If two videos share an id, both keep their extension. If that is not enough, both get as many
parent folders as are necessary. If they are still equal, both get a hash of their paths. A stored video keeps its id,
and the others get longer ones.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

from p3dfeat.errors import VideoError
from p3dfeat.types import DEEPEST_ID, SEGMENT_ORIGINS, Failure, Video, is_id, is_in_store, is_remote

DEEPEST: Final = 64  # maximum number of parent folders in an id
LOOKED_UP: Final = 3  # maximum number of parent folders when looking for the id of a stored video


@dataclass(frozen=True)
class Known:
    """The stored videos.

    source_of: the source of the video that is stored under this video's id; None if it is another video.
    """

    ids: Collection[str]
    source_of: Callable[[Video], str | None]


@dataclass(frozen=True, slots=True)
class Found:
    """A file, or a video at a web address, and its id if there is no conflict."""

    path: str
    source: str
    name: str  # the id with its extension
    start_seconds: float | None = None
    end_seconds: float | None = None
    given_id: str | None = None
    by_content: bool = False  # see Video
    frames_fps: float | None = None  # of a folder of numbered pictures
    columns: tuple[tuple[str, str], ...] = ()  # see Video

    @property
    def remote(self) -> bool:
        return is_remote(self.path)

    @property
    def place(self) -> str:
        """The absolute path or the address: the same for every spelling of a path."""
        return self.path if self.remote else os.path.abspath(self.path)


def name_videos(
    found: Sequence[Found], known: Known | None = None, segment_origin: str = SEGMENT_ORIGINS[0]
) -> tuple[list[Video], list[Failure]]:
    """A Video with a unique id for each file; a Failure if ids given by the user conflict, or if an id is not valid.

    known: the stored videos; None: there are none. segment_origin: as for Video.
    """
    ids = _told_apart(found, _kept(found, known, segment_origin) if known is not None and known.ids else {})
    videos, failures = [], []
    clashing, seen = _clashes(ids), set[str]()
    counts = Counter(id for id in ids if id in clashing)
    for item, id in zip(found, ids, strict=True):
        if id in clashing and (id in seen or counts[id] == 1):
            reason = "is given twice" if id in seen else "is a folder of other videos' ids"
            failures.append(Failure(id, item.source, VideoError(f"id {id!r} {reason}; choose another"), item.path))
        elif not is_id(id):
            reason = f"its path makes no id of up to {DEEPEST_ID} names; give it one in a CSV"
            failures.append(Failure(id, item.source, VideoError(reason), item.path))
        else:
            videos.append(_video(item, id, segment_origin))
        if id in clashing:
            seen.add(id)
    return videos, failures


def _video(item: Found, id: str, segment_origin: str) -> Video:
    times = item.start_seconds, item.end_seconds, segment_origin
    by_content, columns = item.by_content, item.columns
    return Video(id, item.path, item.source, *times, by_content=by_content, frames_fps=item.frames_fps, columns=columns)


def _kept(found: Sequence[Found], known: Known, segment_origin: str) -> dict[int, str]:
    """The ids of stored videos, by index in ``found``."""
    shortest = [_shortest(item) for item in found]
    clashing, given = _clashes(shortest), {item.given_id for item in found}
    longer = (_with_extension, *(_with_parents(count) for count in range(1, LOOKED_UP + 1)))
    names = {_last(id) for id in known.ids}
    owners: dict[str, int] = {}
    for place, item in enumerate(found):
        if item.given_id is not None:
            continue
        # Without a conflict, the video gets its shortest id in any case.
        ids = [shortest[place]] if shortest[place] in clashing else []
        if _last(_with_extension(item)) in names:
            ids += [lengthened(item) for lengthened in longer]
        for id in ids:
            if id in given or not is_id(id) or (source := known.source_of(_video(item, id, segment_origin))) is None:
                continue
            if id not in owners or source == item.source:  # of two copies, the one with the stored source
                owners[id] = place
                break
    return {place: id for id, place in owners.items()}


def _told_apart(found: Sequence[Found], kept: Mapping[int, str]) -> list[str]:
    """An id for each video. If the shortest id conflicts, it is lengthened; ids in ``kept`` do not change."""
    ids = [kept.get(place) or _shortest(item) for place, item in enumerate(found)]
    for lengthened in (_with_extension, *(_with_parents(count) for count in range(1, DEEPEST))):
        clashing = _unsettled(ids, kept)
        if not clashing:
            return ids
        before = ids
        ids = [lengthened(item) if place in clashing else ids[place] for place, item in enumerate(found)]
        if ids == before and lengthened is not _with_extension:  # there are no more parents
            break
    clashing = _unsettled(ids, kept)
    return [_with_mark(item) if place in clashing else ids[place] for place, item in enumerate(found)]


def _unsettled(ids: Sequence[str], kept: Mapping[int, str]) -> set[int]:
    """Indexes of the ids that must be lengthened: they conflict, or lie below a kept id."""
    clashing, fixed = _clashes(ids), set(kept.values())
    return {
        place
        for place, id in enumerate(ids)
        if place not in kept and (id in clashing or (fixed and not fixed.isdisjoint(_parents(id))))
    }


def printable(text: str) -> str:
    """A name as text. Bytes of a file name that are not UTF-8 become \\xff, since HDF5 and JSON hold text."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def _clashes(ids: Sequence[str]) -> set[str]:
    """Ids that occur twice, and ids that are a parent of another id: a video cannot be a folder of videos."""
    counts = Counter(ids)
    parents = {parent for id in counts for parent in _parents(id)}
    return {id for id, count in counts.items() if count > 1 or id in parents}


def _parents(id: str) -> list[str]:
    """All parts of an id that end before a slash."""
    parts = id.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def _last(id: str) -> str:
    return id.rpartition("/")[2]


def _shortest(item: Found) -> str:
    path = PurePath(item.name)
    bare = path.stem.strip(".") == ""  # "..mp4" has no stem except dots
    whole = bare or item.by_content or item.frames_fps is not None
    return _id(item, item.name if whole else path.with_suffix("").as_posix())


def _with_extension(item: Found) -> str:
    return _id(item, item.name)


def _with_parents(count: int) -> Callable[[Found], str]:
    def lengthened(item: Found) -> str:
        if item.remote and not is_in_store(item.path):  # the id already contains all parents
            return _id(item, item.name)
        if item.remote:
            parts = tuple(part for part in item.path.split("/")[2:] if part)
        else:
            parts = Path(os.path.abspath(item.path)).parts[1:]
        kept = len(PurePath(item.name).parts) + count
        return _id(item, "/".join(parts[-kept:]))

    return lengthened


def _with_mark(item: Found) -> str:
    """The id with a hash, for names equal as text but not as bytes, or the same address with http and https."""
    return _id(item, f"{item.name}~{hashlib.sha256(os.fsencode(item.place)).hexdigest()[:8]}")


def _id(item: Found, name: str) -> str:
    if item.given_id is not None:
        return item.given_id
    if item.start_seconds is None and item.end_seconds is None:
        return printable(name)
    end = "end" if item.end_seconds is None else _decimal(item.end_seconds)
    return f"{printable(name)}@{_decimal(item.start_seconds or 0.0)}-{end}"


def _decimal(seconds: float) -> str:
    """Seconds, rounded to a microsecond, without trailing zeros."""
    return f"{seconds:.6f}".rstrip("0").rstrip(".")
