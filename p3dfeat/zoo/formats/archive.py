"""GluonCV's published archives of weights: a zip with one .params file."""

import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from p3dfeat.errors import WeightsError

LARGEST_BYTES: Final = 4 << 30  # maximum size of a weights file; a P3D-199 has 270 MB
MOST_SHRUNK: Final = 20  # maximum compression ratio; floats are hardly compressible


def unpacked_bytes(path: Path) -> int:
    """Total unpacked size of an archive. Raises WeightsError if it is far larger than the archive; BadZipFile."""
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > min(LARGEST_BYTES, MOST_SHRUNK * path.stat().st_size):
        raise WeightsError("an archive that unpacks to far more than weights would")
    return unpacked


@contextmanager
def opened_member(path: Path) -> Iterator[tuple[str, int, IO[bytes]] | None]:
    """(name, size, stream) of the .params file in an archive; None if there is none, as in PyTorch's checkpoints.

    Raises WeightsError, which does not name the file, if the archive is damaged, has several .params files, or unpacks
    to far more than its own size.
    """
    try:
        unpacked_bytes(path)
        with zipfile.ZipFile(path) as archive:
            members = [entry for entry in archive.infolist() if entry.filename.endswith(".params")]
            if not members:
                yield None
                return
            if len(members) > 1:
                raise WeightsError(f"{len(members)} .params files in this archive; unpack it and name one")
            with archive.open(members[0]) as stream:
                yield members[0].filename, members[0].file_size, stream
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, EOFError, ValueError) as error:
        raise WeightsError(f"a damaged archive ({error})") from None
