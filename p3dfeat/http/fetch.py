"""Download a file over http and https, despite interruptions and busy servers: a complete file or a clear error."""

import email.utils
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

from p3dfeat.http.client import RefusedError, answered, web_client
from p3dfeat.text.counts import counted
from p3dfeat.text.urls import scrubbed

if TYPE_CHECKING:
    import httpx2

BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})  # temporary errors
ATTEMPTS: Final = 200  # for a connection that is interrupted repeatedly
SPACE_LEFT_BYTES: Final = 256 << 20  # to keep free on a disk, because other programs may write to it
SPACE_LOOKED_AT_BYTES: Final = 16 << 20  # received between two checks of the free space

CHANGED: Final = "the file there changed while it was read"

OnBytes = Callable[[int, int | None], None]  # bytes received; bytes in total, if known


@dataclass(frozen=True)
class Limits:
    """Limits for a download."""

    most_bytes: int = 4 << 30
    connect_seconds: float = 10
    silent_seconds: float = 60  # without a byte
    slow_seconds: float = 60  # in each such period, this number of bytes must come:
    slow_bytes: int = 64 << 10
    redirects: int = 10
    barren_attempts: int = 5  # consecutive attempts without a byte
    wait_seconds: float = 1.0  # before the second attempt, doubled before the next
    longest_wait_seconds: float = 120  # that a server may ask for


LIMITS: Final = Limits()


class Target(Protocol):
    """The destination of a file. If the connection breaks, received bytes stay, and the next attempt resumes there."""

    def size(self) -> int:
        """Number of bytes received."""

    def version(self) -> str:
        """The server's version of these bytes; empty if not known."""

    def opened(self, have: int, version: str) -> AbstractContextManager[BinaryIO]:
        """The file, to continue after its first ``have`` bytes, of this version."""

    def drop(self) -> None:
        """Drop the received bytes."""

    def check_room(self, missing: int) -> None:
        """Raise an error if the disk has no room for ``missing`` more bytes."""

    def too_large(self, most_bytes: int) -> str:
        """The message for a file with more bytes."""


class _TryAgainError(Exception):
    """A temporary error. wait_seconds: the waiting time that the server asks for, if any."""

    def __init__(self, reason: str, wait_seconds: float | None = None):
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class _NoConnectionError(_TryAgainError):
    """The server does not answer. If no byte ever came, a long wait is useless."""


class LargeFileError(Exception):
    """A file is so large that its parts should be fetched instead. Nothing of it was kept."""

    def __init__(self, size_bytes: int, version: str, changed: float | None):
        super().__init__(size_bytes)
        self.size_bytes, self.version, self.changed = size_bytes, version, changed


def fetch(
    url: str,
    target: Target,
    *,
    limits: Limits = LIMITS,
    on_bytes: OnBytes,
    large_bytes: int | None = None,
) -> float | None:
    """Download ``url`` into ``target``; resumes an interrupted earlier attempt, of any process.

    The file is complete when this returns. Only its length has been checked.
    large_bytes: raise LargeFileError for a file of this
    size if the server gives parts of it, and says which version it is.
    on_bytes: called with each received block, and before each new attempt; if it raises, the download ends.
    Returns the time of the file's last change in seconds since 1970, None if the server does not give it.
    Raises RefusedError, whose text says why and contains no secrets, or errors of ``target``. Received bytes stay for
    the next attempt, unless the file is too large.
    """
    import httpx2

    try:
        with web_client(limits.silent_seconds, limits.connect_seconds) as client:
            return attempts(Asked(client, url, large_bytes=large_bytes), target, limits, on_bytes)
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, ValueError):  # their texts may contain a part of a password
        raise RefusedError("not an address") from None


@dataclass(frozen=True)
class Asked:
    """What is asked for. part: only these bytes, of the version that the target gives. large_bytes: see ``fetch``."""

    client: "httpx2.Client"
    url: str
    part: range | None = None
    large_bytes: int | None = None

    def headers(self, have: int, version: str) -> dict[str, str]:
        if self.part is None:
            return {"Range": f"bytes={have}-", "If-Range": version} if version else {}
        return {"Range": f"bytes={self.part.start + have}-{self.part.stop - 1}", "If-Range": version}

    def check_size(self, answer: "httpx2.Response", have: int, total: int | None) -> None:
        """Raise LargeFileError for a whole file that should be fetched in parts."""
        version = _version(answer)
        gives_parts = answer.headers.get("Accept-Ranges", "").lower() == "bytes" and version != ""
        if self.large_bytes is not None and gives_parts and not have and (total or 0) >= self.large_bytes:
            raise LargeFileError(total or 0, version, _changed(answer))


def attempts(asked: Asked, target: Target, limits: Limits, on_bytes: OnBytes) -> float | None:
    barren, came = 0, False
    for _ in range(ATTEMPTS):
        before = target.size()
        try:
            return _attempt(asked, target, limits, on_bytes)
        except _TryAgainError as error:
            barren = 0 if target.size() > before else barren + 1
            came = came or barren == 0
            wait = limits.wait_seconds * 2 ** max(0, barren - 1) if error.wait_seconds is None else error.wait_seconds
            hopeless = barren == 2 and not came and isinstance(error, _NoConnectionError)
            if wait > limits.longest_wait_seconds:
                raise RefusedError(f"{error}; it asks to come back in {wait:.0f} s") from None
            if hopeless or barren >= limits.barren_attempts:
                raise RefusedError(str(error)) from None
        on_bytes(target.size(), None)
        time.sleep(wait)
    raise RefusedError(f"the connection was cut {ATTEMPTS} times; run again to go on from there")


def _attempt(asked: Asked, target: Target, limits: Limits, on_bytes: OnBytes) -> float | None:
    import httpx2

    have = target.size()
    version = target.version() if have or asked.part is not None else ""
    headers = asked.headers(have, version)
    try:
        with answered(asked.client, asked.url, headers=headers, redirects=limits.redirects) as answer:
            if asked.part is None and answer.status_code == 416:
                if answer.headers.get("Content-Range") == f"bytes */{have}":
                    return _changed(answer)  # an earlier attempt received all of it
                target.drop()
                raise _TryAgainError("HTTP 416 (range not satisfiable)")
            if asked.part is None:
                have, total = _range(answer, have)
                asked.check_size(answer, have, total)
            else:
                total = _part(answer, asked.part, have)
                if _version(answer) not in ("", version):
                    raise RefusedError(CHANGED)
            if have and _version(answer) not in ("", version):
                target.drop()
                raise _TryAgainError("the file there changed while it was fetched")
            _take(answer, target, have, total, limits, on_bytes)
            return _changed(answer)
    except httpx2.ConnectTimeout:
        raise _NoConnectionError(f"no connection within {limits.connect_seconds:g} s") from None
    except httpx2.TimeoutException:
        raise _TryAgainError(f"stalled: nothing came for {limits.silent_seconds:g} s") from None
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
        raise
    except (httpx2.TransportError, httpx2.StreamError) as error:
        raise _broken(error) from None


def _broken(error: Exception) -> Exception:
    """The error for a connection that failed or broke, with the system's text, without its numbers."""
    import httpx2

    text = scrubbed(str(error).partition("] ")[2] or str(error) or type(error).__name__)
    if "CERTIFICATE" in str(error) or "SSL" in str(error):
        return RefusedError(f"no safe connection ({text})")
    if isinstance(error, httpx2.ConnectError):
        return _NoConnectionError(f"no connection ({text})")
    return _TryAgainError(f"the connection was cut ({text})")


def _take(
    answer: "httpx2.Response", target: Target, have: int, total: int | None, limits: Limits, on_bytes: OnBytes
) -> None:
    """Write the received bytes, within limits."""
    on_bytes(have, total)
    _check_size(target, max(have, total or 0), limits)
    target.check_room((total or have) - have)
    pace, looked_at = _Pace(limits, have), have
    with target.opened(have, _version(answer)) as file:
        for block in answer.iter_raw():  # as they come: received bytes stay if the connection breaks
            file.write(block)
            have += len(block)
            on_bytes(have, total)
            _check_size(target, have, limits)
            if have - looked_at > SPACE_LOOKED_AT_BYTES:
                target.check_room(max(0, (total or have) - have))
                looked_at = have
            pace.check(have)
    if total is not None and have != total:
        raise _TryAgainError(f"{counted(have, 'byte')} came, of {total:,} announced")


def _range(answer: "httpx2.Response", have: int) -> tuple[int, int | None]:
    """(received bytes to keep, bytes in total) from the server's answer. Raises if it gives no bytes."""
    status = answer.status_code
    reason = f"HTTP {status} ({answer.reason_phrase.lower() or 'no reason given'})"
    if status in BUSY:
        raise _TryAgainError(reason, _asked_wait(answer))
    if status not in (200, 206) or (status == 206 and not have):
        raise RefusedError(reason)
    if answer.headers.get("Content-Encoding", "identity") not in ("", "identity"):
        raise RefusedError("comes compressed, though that was not asked for")
    if status == 200:
        length = re.fullmatch(r"\d{1,15}", answer.headers.get("Content-Length", ""))
        return 0, int(length[0]) if length else None
    span = re.fullmatch(r"bytes (\d{1,15})-\d{1,15}/(\d{1,15})", answer.headers.get("Content-Range", ""))
    if span and int(span[1]) == have:
        return have, int(span[2])
    raise RefusedError("answers with another range than was asked for")


def _part(answer: "httpx2.Response", part: range, have: int) -> int:
    """The number of bytes in ``part``, if the server gives what lacks of it. Raises if it does not."""
    status = answer.status_code
    reason = f"HTTP {status} ({answer.reason_phrase.lower() or 'no reason given'})"
    if status in BUSY:
        raise _TryAgainError(reason, _asked_wait(answer))
    if status == 200 or status == 416:  # RFC 9110, 13.1.5: a condition on the version was not met
        raise RefusedError(CHANGED)
    span = re.fullmatch(r"bytes (\d{1,15})-(\d{1,15})/\d{1,15}", answer.headers.get("Content-Range", ""))
    if status != 206 or span is None or (int(span[1]), int(span[2])) != (part.start + have, part.stop - 1):
        raise RefusedError(reason if status != 206 else "answers with another range than was asked for")
    return len(part)


def _asked_wait(answer: "httpx2.Response") -> float | None:
    """Retry-After, RFC 9110 section 10.2.3: seconds, or a date."""
    text = answer.headers.get("Retry-After", "")
    try:
        seconds = float(text) if text.isdecimal() else email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return max(0.0, seconds)


def _changed(answer: "httpx2.Response") -> float | None:
    try:
        return email.utils.parsedate_to_datetime(answer.headers.get("Last-Modified", "")).timestamp()
    except (ValueError, OverflowError):
        return None


def _version(answer: "httpx2.Response") -> str:
    """The version of the file: a strong ETag, or its date; empty if there is neither."""
    etag: str = answer.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else str(answer.headers.get("Last-Modified", ""))


def _check_size(target: Target, size: int, limits: Limits) -> None:
    if size > limits.most_bytes:
        target.drop()
        raise RefusedError(target.too_large(limits.most_bytes))


class _Pace:
    """Ends a download that is too slow. had: number of bytes at its start."""

    def __init__(self, limits: Limits, had: int):
        self._limits, self._began, self._had = limits, time.monotonic(), had

    def check(self, came: int) -> None:
        """came: number of bytes now. Raises RefusedError."""
        if time.monotonic() - self._began > self._limits.slow_seconds:
            if came - self._had < self._limits.slow_bytes:
                raise RefusedError(f"too slow, {came - self._had:,} bytes in {self._limits.slow_seconds:g} s")
            self._began, self._had = time.monotonic(), came
