"""Names of files for videos: one path for each id, which all usual file systems accept."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate
from pathlib import PurePosixPath
from typing import Final

WRITING: Final = ".writing"  # suffix of a file's name while it is written
MOST_BYTES: Final = 255  # of one part of a path, in UTF-8; the limit of Linux, and less than those of other systems
MARKS: Final = (("", 0), ("~", 8), ("%~", 64))  # tried in turn, with digits of a hash; no id looks like the last one

# Characters that exFAT and NTFS refuse; control codes, line separators, and codes that change the text direction, which
# would show another name; lone surrogates, which are not text; and % itself, so that names stay different.
ENCODED: Final = re.compile('[<>:"|?*\\\\%\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]')
# Of Windows, with any extension ("Naming Files, Paths, and Namespaces").
RESERVED: Final = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\.|$)", re.IGNORECASE)


def paths_of(ids: Iterable[str], suffix: str) -> dict[str, PurePosixPath]:
    """A relative path for each id: the id and ``suffix``, if this is possible.

    The paths depend only on the ids, not on their order: the same ids give the same paths again.

    - No two are the same, or differ only by case or Unicode form: on many disks that is one file.
    - None is a folder while another is a file: ``a.npy`` of ``a``, and the folder of ``a.npy/b``.
    - No part has more than 255 bytes, including ``.writing``: no system accepts longer names.
    - No part begins with a dash, which programs read as an option, or with a dot, which hides it; so none is "..".
    - None ends with a dot or a space, which Windows drops; none is a name that Windows reserves for a device.
    - Characters that exFAT or NTFS refuse, that are not text, and % are written as % and their bytes in hexadecimal.

    If ids clash or are too long, the name gets ``~`` and 8 digits of the sha256 of the id.

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
    """Ids whose path is the same as another one, or is the folder of another one."""
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
    """The same text for paths that some file systems treat as equal (Unicode 3.13, canonical caseless matching)."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


def _path(id: str, suffix: str, mark: int) -> str:
    """mark: index in MARKS for the name; folders get a mark only if they are too long."""
    *folders, name = id.split("/")
    parts = [_part(folder, "/".join(folders[: n + 1]), "", MOST_BYTES, 0) for n, folder in enumerate(folders)]
    return "/".join((*parts, _part(name, id, suffix, MOST_BYTES - len(WRITING), mark)))


def _part(name: str, id: str, suffix: str, most_bytes: int, mark: int) -> str:
    """One part of a path. id: input of the hash."""
    pieces = [_percent(c) if ENCODED.match(c) else c for c in name] or ["%"]  # "%": "/x" must not be an absolute path
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
    """The first pieces that fit."""
    ends = accumulate(len(piece.encode()) for piece in pieces)
    return [piece for piece, end in zip(pieces, ends, strict=True) if end <= most_bytes]


def _percent(c: str) -> str:
    """A character as its bytes. A byte of a file name that was not UTF-8 (surrogateescape) stays that byte."""
    escape = "surrogateescape" if "\udc80" <= c <= "\udcff" else "surrogatepass"
    return "".join(f"%{byte:02X}" for byte in c.encode("utf-8", escape))
