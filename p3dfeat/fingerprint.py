"""Identify a video without reading all of it: a file, or a folder of numbered pictures."""

import hashlib
import os
from datetime import UTC, datetime
from typing import BinaryIO, Final

from p3dfeat.pictures import numbered_pictures

ENDS_BYTES: Final = 1 << 16  # read from the beginning and from the end


def fingerprint(path: str) -> str:
    """Hash of a file's size and its first and last 64 KiB: 16 hex digits. Raises OSError.

    For a folder: of its pictures' names and sizes, and of the ends of the first and the last one.
    """
    if not os.path.isdir(path):
        with open(path, "rb") as file:
            return fingerprint_of(file)
    pictures = _pictures(path)
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(os.fsencode(os.path.basename(picture)) + b"\0%d\n" % os.path.getsize(picture))
    for picture in (pictures[0], pictures[-1]):
        with open(picture, "rb") as file:
            digest.update(_ends(file, os.path.getsize(picture)))
    return digest.hexdigest()[:16]


def fingerprint_of(file: BinaryIO) -> str:
    """``fingerprint`` of an open file."""
    size = os.fstat(file.fileno()).st_size
    return hashlib.sha256(str(size).encode() + _ends(file, size)).hexdigest()[:16]


def size_and_time(path: str) -> tuple[int, str]:
    """Size in bytes and modification time of a file; for a folder, total size and newest time of its pictures.

    Raises OSError.
    """
    if not os.path.isdir(path):
        status = os.stat(path)
        return status.st_size, modified(status)
    statuses = [os.stat(picture) for picture in _pictures(path)]
    return sum(status.st_size for status in statuses), modified(max(statuses, key=lambda status: status.st_mtime))


def modified(status: os.stat_result) -> str:
    """Modification time of a file: ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="seconds")


def _ends(file: BinaryIO, size: int) -> bytes:
    file.seek(0)
    beginning = file.read(ENDS_BYTES)
    file.seek(max(0, size - ENDS_BYTES))
    return beginning + file.read(ENDS_BYTES)


def _pictures(folder: str) -> list[str]:
    if not (pictures := numbered_pictures(folder)):
        raise FileNotFoundError(0, "a folder without numbered pictures", folder)
    return pictures
