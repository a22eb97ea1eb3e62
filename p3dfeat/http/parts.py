"""Parts of a file over http and https, all of one version."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final, Self, cast

from p3dfeat.http.client import RefusedError, web_client
from p3dfeat.http.fetch import LIMITS, Asked, Limits, OnBytes, attempts

NOT_ADDRESS: Final = "not an address"


class Parts:
    """The parts of one file. Use it in a with statement. Raises RefusedError.

    version: of the file, as a server said; each part must be of it.
    """

    def __init__(self, url: str, version: str, *, limits: Limits = LIMITS, on_bytes: OnBytes):
        self._url, self._version, self._limits, self._on_bytes = url, version, limits, on_bytes
        self._client = web_client(limits.silent_seconds, limits.connect_seconds)

    def read(self, begin: int, end: int) -> bytes:
        """The bytes from ``begin`` to before ``end``. Raises RefusedError, also if the file has changed."""
        import httpx2

        part = _Part(self._version)
        try:
            attempts(Asked(self._client, self._url, range(begin, end)), part, self._limits, self._on_bytes)
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, ValueError):
            raise RefusedError(NOT_ADDRESS) from None
        return part.content.getvalue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()


class _Part:
    """A part in memory; see p3dfeat.http.fetch.Target."""

    def __init__(self, version: str):
        self.content, self._version = io.BytesIO(), version

    def size(self) -> int:
        return len(self.content.getbuffer())

    def version(self) -> str:
        return self._version

    @contextmanager
    def opened(self, have: int, version: str) -> Iterator[BinaryIO]:
        self.content.seek(have)
        yield cast(BinaryIO, self.content)

    def drop(self) -> None:
        self.content = io.BytesIO()

    def check_room(self, missing: int) -> None:
        return

    def too_large(self, most_bytes: int) -> str:
        return f"larger than {most_bytes:,} bytes"
