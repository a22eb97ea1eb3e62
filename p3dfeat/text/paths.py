"""Names of files for videos: one path for each id, which every usual file system takes."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate
from pathlib import PurePosixPath
from typing import Final

WRITING: Final = ".writing"  # at the end of a file's name while it is written
MOST_BYTES: Final = 255  # of one part of a path, in UTF-8; the limit of Linux, and less than those of other systems
MARKS: Final = (("", 0), ("~", 8), ("%~", 64))  # tried in turn, with digits of a hash; no id looks like the last one

# What exFAT and NTFS refuse; control codes, line separators, and codes that turn the direction of writing, which
# would show a name as another one; lone surrogates, which are no text; and % itself, so that no two names become one.
ENCODED: Final = re.compile('[<>:"|?*\\\\%\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]')
# Of Windows, with any extension ("Naming Files, Paths, and Namespaces").
RESERVED: Final = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\.|$)", re.IGNORECASE)


def paths_of(ids: Iterable[str], suffix: str) -> dict[str, PurePosixPath]:
    """A relative path for each id: the id with ``suffix`` behind it, wherever that will do.

    The paths depend on the ids alone, not on their order: what is written again lands where it was.

    - No two are the same, nor differ only by case or Unicode form: on many disks that is one file.
    - None is a folder where another is a file: ``a.npy`` of ``a``, and the folder of ``a.npy/b``.
    - No part has more than 255 bytes, with ``.writing`` behind it too: no system takes longer names.
    - No part begins with a dash, which programs take for an option, or with a dot, which hides it; so none is "..".
    - None ends with a dot or a space, which Windows drops; none is a name that Windows keeps for a device.
    - What exFAT or NTFS refuse, what is not text, and % are written as % and the hexadecimal digits of their bytes.

    Where ids clash, or are too long, the name gets ``~`` and 8 digits of the sha256 of the id.

        >>> paths_of(["archery/clip7", "what?"], ".npy")
        {'archery/clip7': PurePosixPath('archery/clip7.npy'), 'what?': PurePosixPath('what%3F.npy')}
    """
    tried = dict.fromkeys(ids, 0)
    paths = {id: _path(id, suffix, 0) for id in tried}
    while clashing := _clashing(paths):
        for id in clashing:
            tried[id] += 1
            paths[id] = _path(id, suffix, tried[id])
    return {id: PurePosixPath(path) for id, path in paths.items()}


def _clashing(paths: dict[str, str]) -> list[str]:
    """Ids whose path cannot be told from another one's, or is the folder of another one."""
    keys = {id: _same_for_all(path) for id, path in paths.items()}
    files = Counter(keys.values())
    folders: set[str] = set()
    for key in keys.values():
        while (slash := key.rfind("/")) >= 0 and (key := key[:slash]) not in folders:
            folders.add(key)
    return [
        id
        for id, key in keys.items()
        if files[key] > 1 or key in folders or (writing := key + WRITING) in folders or writing in files
    ]


def _same_for_all(path: str) -> str:
    """The same text for paths that some file system takes for one (Unicode 3.13, canonical caseless matching)."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


def _path(id: str, suffix: str, mark: int) -> str:
    """mark: which of MARKS the name gets; folders get one only where they are too long."""
    *folders, name = id.split("/")
    parts = [_part(folder, "/".join(folders[: n + 1]), "", MOST_BYTES, 0) for n, folder in enumerate(folders)]
    return "/".join((*parts, _part(name, id, suffix, MOST_BYTES - len(WRITING), mark)))


def _part(name: str, id: str, suffix: str, most_bytes: int, mark: int) -> str:
    """One part of a path. id: what the hash is of."""
    pieces = [_percent(c) if ENCODED.match(c) else c for c in name] or ["%"]  # "%": "/x" is no absolute path here
    if pieces[0] in "-." or RESERVED.match(name):
        pieces[0] = _percent(name[0])
    if pieces[-1] in ". " and not suffix:
        pieces[-1] = _percent(name[-1])
    end = _mark(id, mark) + suffix
    if len("".join(pieces).encode()) + len(end.encode()) > most_bytes:
        end = _mark(id, mark or 1) + suffix
        pieces = _first(pieces, most_bytes - len(end.encode()))
    return "".join(pieces) + end


def _mark(id: str, mark: int) -> str:
    begin, digits = MARKS[mark]
    return begin + hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()[:digits] if digits else ""


def _first(pieces: list[str], most_bytes: int) -> list[str]:
    """As many of them as there is room for."""
    ends = accumulate(len(piece.encode()) for piece in pieces)
    return [piece for piece, end in zip(pieces, ends, strict=True) if end <= most_bytes]


def _percent(c: str) -> str:
    """A character by its bytes. A byte of a file name that was not UTF-8 (surrogateescape) is that byte."""
    escape = "surrogateescape" if "\udc80" <= c <= "\udcff" else "surrogatepass"
    return "".join(f"%{byte:02X}" for byte in c.encode("utf-8", escape))
