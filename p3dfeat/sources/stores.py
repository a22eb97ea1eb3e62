"""Videos in a folder of an object store, and those that match a pattern there."""

import glob
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from p3dfeat.remote.store import check_package, find_below, find_matching, is_folder
from p3dfeat.sources.addresses import check_in_store, found_at
from p3dfeat.sources.ids import Found, printable


@dataclass(frozen=True)
class Stored:
    """Videos of a store, and the files beside them that are not videos by their names."""

    found: Sequence[Found]
    extensions: Counter[str] = field(default_factory=Counter)  # number of files by extension
    hidden: int = 0


def in_store(address: str, is_video: Callable[[str], bool], *, any_extension: bool = False) -> Stored:
    """The video at an address in a store, those below a folder, or those that match a pattern, in order.

    is_video: whether a name is that of a video. any_extension: as for ``look_for``. Raises VideoError, UsageError.
    """
    scheme, mark, rest = address.partition("://")
    address = scheme.lower() + mark + rest
    check_in_store(address)
    check_package(address)
    if glob.has_magic(address):
        fixed = address[: _fixed_length(address)]
        matching = [each for each in find_matching(address) if not is_hidden(each.removeprefix(fixed))]
        if not matching and is_video(address.rpartition("/")[2]) and "*" not in address:
            return Stored([found_at(address)])  # a name with brackets, as yt-dlp writes them
        return Stored([_found(each, fixed) for each in matching])
    if is_video(address.rpartition("/")[2]) or not is_folder(address):
        return Stored([found_at(address)])
    folder = address.rstrip("/") + "/"
    found, extensions, hidden = [], Counter[str](), 0
    for each in find_below(folder):
        path = PurePosixPath(each.removeprefix(folder))
        if is_hidden(str(path)):
            hidden += is_video(path.name)
        elif is_video(path.name) or any_extension:
            found.append(_found(each, folder, by_content=not is_video(path.name)))
        else:
            extensions[path.suffix.lower()] += 1
    return Stored(found, extensions, hidden)


def is_hidden(path: str) -> bool:
    """Whether a name in a path begins with a dot."""
    return any(name.startswith(".") for name in path.split("/"))


def _fixed_length(pattern: str) -> int:
    """Number of characters before the first name with a special character."""
    special = min(place for place in map(pattern.find, "*?[") if place >= 0)
    return pattern.rindex("/", 0, special) + 1


def _found(address: str, start: str, *, by_content: bool = False) -> Found:
    return Found(address, printable(address), address.removeprefix(start), by_content=by_content)
