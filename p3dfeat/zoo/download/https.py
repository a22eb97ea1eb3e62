"""Download of weights over http and https into the cache."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final

from p3dfeat.http.client import RefusedError
from p3dfeat.http.fetch import SPACE_LEFT_BYTES, Limits, OnBytes, fetch
from p3dfeat.zoo.download.cache import SETTING, CacheError, Part, writing
from p3dfeat.zoo.download.progress import NotFetchedError
from p3dfeat.zoo.formats.archive import LARGEST_BYTES

LIMITS: Final = Limits(most_bytes=LARGEST_BYTES)


def download(url: str, part: Part, *, limits: Limits | None = None, on_bytes: OnBytes) -> None:
    """Download all of ``url`` into ``part``; see ``p3dfeat.http.fetch``.

    Raises NotFetchedError, or CacheError if the disk cannot store it. The downloaded bytes stay for the next attempt,
    unless the file is too large.
    """
    try:
        fetch(url, _CachePart(part), limits=limits or LIMITS, on_bytes=on_bytes)
    except RefusedError as error:
        raise NotFetchedError(url, str(error)) from None


class _CachePart:
    """A partial file of the cache; see p3dfeat.http.fetch.Target."""

    def __init__(self, part: Part):
        self._part = part
        self.size, self.version, self.drop = part.size, part.version, part.drop

    @contextmanager
    def opened(self, have: int, version: str) -> Iterator[BinaryIO]:
        with writing(self._part.path), self._part.opened(have, version) as file:
            yield file

    def check_room(self, missing: int) -> None:
        folder = self._part.folder.path
        free = shutil.disk_usage(folder).free
        if free - missing < SPACE_LEFT_BYTES:
            needed = f"{missing / 1e6:,.0f} MB are needed, " if missing else ""
            raise CacheError(
                f"{folder}: {needed}{free / 1e6:,.0f} MB are free; make room beyond "
                f"{SPACE_LEFT_BYTES / 1e6:,.0f} MB, or set {SETTING} to a folder with room"
            )

    def too_large(self, most_bytes: int) -> str:
        return f"larger than the {most_bytes / 1e9:.1f} GB that weights may have; is it another file?"
