"""Folders of numbered pictures. Many data sets store videos in this form: ``frames/img_00001.jpg`` ..."""

import os
import re
from collections.abc import Iterable
from typing import Final

EXTENSIONS: Final = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})
NUMBERED: Final = re.compile(r"(.*?)(\d+)(\.(?:bmp|jpe?g|png|webp))", re.IGNORECASE | re.DOTALL | re.ASCII)
FEWEST: Final = 2  # pictures in a video

# Common part of the names of a video's pictures: the text before the number, and the extension.
Series = tuple[str, str]


def in_order(names: Iterable[str]) -> dict[Series, list[str]]:
    """The names of numbered pictures in ``names``, by series, sorted by number; hidden files are left out."""
    found: dict[Series, list[tuple[int, str]]] = {}
    for name in names:
        match = NUMBERED.fullmatch(name)
        if match is not None and not name.startswith("."):
            found.setdefault((match[1], match[3].lower()), []).append((int(match[2]), name))
    return {series: [name for _, name in sorted(found[series])] for series in sorted(found)}


def numbered_pictures(folder: str) -> list[str]:
    """Paths of the numbered pictures directly in a folder, in order. Raises OSError."""
    with os.scandir(folder) as entries:
        series = in_order(entry.name for entry in entries)
    return [os.path.join(folder, name) for names in series.values() for name in names]


def holds_pictures(folder: str | os.PathLike[str]) -> bool:
    """Whether the folder can be read as a video."""
    try:
        return len(numbered_pictures(os.fspath(folder))) >= FEWEST
    except OSError:
        return False
