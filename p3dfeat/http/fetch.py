"""Fetching a file over http and https, through cuts and busy servers, to a whole file or a clear error."""

import email.utils
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

from p3dfeat.http.client import RefusedError, answered, web_client
from p3dfeat.text.urls import scrubbed

if TYPE_CHECKING:
    import httpx2

BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses that may pass
ATTEMPTS: Final = 200  # for a connection that is cut again and again
SPACE_LEFT_BYTES: Final = 256 << 20  # of a disk, whoever else writes there
SPACE_LOOKED_AT_BYTES: Final = 16 << 20  # come between two looks at the free space

OnBytes = Callable[[int, int | None], None]  # bytes done, bytes in all if known


@dataclass(frozen=True)
class Limits:
    """What a server may ask of us."""

    most_bytes: int = 4 << 30
    connect_seconds: float = 10
    silent_seconds: float = 60  # without a byte
    slow_seconds: float = 60  # in each of which so many bytes must come:
    slow_bytes: int = 64 << 10
    redirects: int = 10
    barren_attempts: int = 5  # in a row that bring nothing
    wait_seconds: float = 1.0  # before the second attempt, doubled before the next
    longest_wait_seconds: float = 120  # that a server may ask for


LIMITS: Final = Limits()


class Target(Protocol):
    """Where a file goes. What has come stays when the connection is cut, and the next attempt goes on behind it."""

    def size(self) -> int:
        """Bytes that are here."""

    def version(self) -> str:
        """Which version of the file they are of, as the server names it; nothing where that is not known."""

    def opened(self, have: int, version: str) -> AbstractContextManager[BinaryIO]:
        """The file, to go on with behind its first ``have`` bytes, of this version."""

    def drop(self) -> None:
        """Forget what has come."""

    def check_room(self, missing: int) -> None:
        """Raise an error where the disk has no room for ``missing`` bytes more."""

    def too_large(self, most_bytes: int) -> str:
        """What is said of a file that has more bytes."""


class _TryAgainError(Exception):
    """What went wrong may pass. wait_seconds: how long the server asks to wait, if it does."""

    def __init__(self, reason: str, wait_seconds: float | None = None):
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class _NoConnectionError(_TryAgainError):
    """Nobody answers at all; where no byte ever came, waiting long is of no use."""


def fetch(url: str, target: Target, *, limits: Limits = LIMITS, on_bytes: OnBytes) -> float | None:
    """Fetch ``url`` into ``target``, going on where an earlier attempt, of any process, was cut off.

    The file has all its bytes when this returns. It is not yet checked: no more is known of it than its length.
    on_bytes: told of each block that comes, and before each further attempt; what it raises ends the fetching.
    Returns the time of the file's last change in seconds since 1970, None where the server does not tell it.
    Raises RefusedError, whose text says why and holds no secrets, or what ``target`` raises. What came by then stays
    for the next attempt, unless it is too large.
    """
    import httpx2

    try:
        with web_client(limits.silent_seconds, limits.connect_seconds) as client:
            return _attempts(client, url, target, limits, on_bytes)
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, ValueError):  # whose texts may hold a part of a password
        raise RefusedError("not an address") from None


def _attempts(client: "httpx2.Client", url: str, target: Target, limits: Limits, on_bytes: OnBytes) -> float | None:
    barren, came = 0, False
    for _ in range(ATTEMPTS):
        before = target.size()
        try:
            return _attempt(client, url, target, limits, on_bytes)
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


def _attempt(client: "httpx2.Client", url: str, target: Target, limits: Limits, on_bytes: OnBytes) -> float | None:
    import httpx2

    have = target.size()
    version = target.version() if have else ""
    headers = {"Range": f"bytes={have}-", "If-Range": version} if version else {}
    try:
        with answered(client, url, headers=headers, redirects=limits.redirects) as answer:
            if answer.status_code == 416:
                if answer.headers.get("Content-Range") == f"bytes */{have}":
                    return _changed(answer)  # an earlier attempt had it all
                target.drop()
                raise _TryAgainError("HTTP 416 (range not satisfiable)")
            have, total = _range(answer, have)
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
    """A connection that was not made, or broke; with what the system says, less its numbers."""
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
    """Write what comes, within limits."""
    on_bytes(have, total)
    _check_size(target, max(have, total or 0), limits)
    target.check_room((total or have) - have)
    pace, looked_at = _Pace(limits, have), have
    with target.opened(have, _version(answer)) as file:
        for block in answer.iter_raw():  # as they come: what is here when the connection is cut stays
            file.write(block)
            have += len(block)
            on_bytes(have, total)
            _check_size(target, have, limits)
            if have - looked_at > SPACE_LOOKED_AT_BYTES:
                target.check_room(max(0, (total or have) - have))
                looked_at = have
            pace.check(have)
    if total is not None and have != total:
        raise _TryAgainError(f"{have:,} bytes came, {total:,} were announced")


def _range(answer: "httpx2.Response", have: int) -> tuple[int, int | None]:
    """(bytes already here that stay, bytes in all) by the server's answer. Raises where it gives no bytes."""
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
    """What tells this version of the file from others: a strong ETag, or its date; nothing where there is neither."""
    etag: str = answer.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else str(answer.headers.get("Last-Modified", ""))


def _check_size(target: Target, size: int, limits: Limits) -> None:
    if size > limits.most_bytes:
        target.drop()
        raise RefusedError(target.too_large(limits.most_bytes))


class _Pace:
    """Refuses to go on where too few bytes come in a while. had: bytes that were here before."""

    def __init__(self, limits: Limits, had: int):
        self._limits, self._began, self._had = limits, time.monotonic(), had

    def check(self, came: int) -> None:
        """came: bytes that are here. Raises RefusedError."""
        if time.monotonic() - self._began > self._limits.slow_seconds:
            if came - self._had < self._limits.slow_bytes:
                raise RefusedError(f"too slow, {came - self._had:,} bytes in {self._limits.slow_seconds:g} s")
            self._began, self._had = time.monotonic(), came
