"""Writing that says in one line what the file system refuses, and that outlives a power cut where it must."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from p3dfeat.errors import OutputError, P3DFeatError

Bytes = bytes | bytearray | memoryview

FULL: Final = "make room, and run it again"
NOT_ALLOWED: Final = "choose another place, or ask for leave to write there"
GONE: Final = "bring it back, and run it again"
REMEDIES: Final = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EFBIG: FULL,
    errno.EACCES: NOT_ALLOWED,
    errno.EPERM: NOT_ALLOWED,
    errno.EROFS: NOT_ALLOWED,
    errno.ENOENT: GONE,
    errno.EIO: "see to the disk, and run it again",
    errno.ESTALE: GONE,
    errno.ENODEV: GONE,
    errno.ENOTCONN: GONE,
}


@contextmanager
def writing(path: Path, remedy: str = "", *, error: type[P3DFeatError] = OutputError) -> Iterator[None]:
    """One line for whatever the file system says of ``path``. remedy: instead of the one for what it says."""
    try:
        yield
    except OSError as refusal:
        reason = refusal.strerror or refusal
        remedy = remedy or REMEDIES.get(refusal.errno or 0, "")
        raise error(f"{path}: cannot be written ({reason}){remedy and f'; {remedy}'}") from None


def write_at(fd: int, data: Bytes, offset: int) -> None:
    """All of ``data``, however many calls it takes. Raises OSError."""
    left = memoryview(data)
    while left:
        count = os.pwrite(fd, left, offset)
        left, offset = left[count:], offset + count


def bring_to_disk(fd: int) -> None:
    """Return when what was written to a file would outlive a power cut. Raises OSError."""
    getattr(os, "fdatasync", os.fsync)(fd)


def bring_out_of_memory(fd: int, first: int, end: int) -> None:
    """To the disk, and out of the page cache: a system whose memory is full of unwritten pages writes slowly."""
    bring_to_disk(fd)
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, first, end - first, os.POSIX_FADV_DONTNEED)


def replace(fresh: Path, path: Path) -> None:
    """Put a file that is written and closed in another's place, at one stroke, and for good. Raises OSError."""
    fd = os.open(fresh, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(fresh, path)
    keep_names(path.parent)


def keep_names(folder: Path) -> None:
    """Bring a folder's list of names to the disk, where the system can."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError:  # some file systems know no such thing; the names are then as safe as they get
        return
    finally:
        os.close(fd)
