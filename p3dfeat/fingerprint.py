"""Telling one file from another without reading all of it."""

import hashlib
import os
from datetime import UTC, datetime
from typing import Final

ENDS_BYTES: Final = 1 << 16  # read from the beginning and from the end


def fingerprint(path: str) -> str:
    """Of a file's size and its first and last 64 KiB: 16 hex digits. Raises OSError."""
    size = os.path.getsize(path)
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        digest.update(file.read(ENDS_BYTES))
        file.seek(max(0, size - ENDS_BYTES))
        digest.update(file.read(ENDS_BYTES))
    return digest.hexdigest()[:16]


def modified(status: os.stat_result) -> str:
    """When a file was last written: ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="seconds")
