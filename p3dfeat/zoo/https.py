"""Fetching a file over plain http(s), through cuts, busy servers and full disks, to a whole file or a clear error."""

import email.utils
import re
import shutil
import time
from typing import Final

import httpx2

from p3dfeat.http import BUSY, SPACE_LEFT_BYTES, SPACE_LOOKED_AT_BYTES, Pace, RefusedError, answered, web_client
from p3dfeat.text.urls import scrubbed
from p3dfeat.zoo.archive import LARGEST_BYTES
from p3dfeat.zoo.cache import SETTING, CacheError, Part, writing
from p3dfeat.zoo.urls import NotFetchedError, OnBytes

ATTEMPTS: Final = 5  # in a row that bring nothing
ATTEMPTS_IN_ALL: Final = 200  # for a line that is cut again and again
FIRST_WAIT_SECONDS = 1.0  # doubled from one attempt to the next
LONGEST_WAIT_SECONDS: Final = 120.0  # that a server may ask for
CONNECT_SECONDS: Final = 10
SILENT_SECONDS: Final = 60  # without a byte
SLOW_SECONDS, SLOW_BYTES = 60, 64 << 10  # in each of the first the second must come


class _TryAgainError(Exception):
    """What went wrong may pass. wait_seconds: how long the server asks to wait, if it does."""

    def __init__(self, reason: str, wait_seconds: float | None = None):
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class _NoConnectionError(_TryAgainError):
    """Nobody answers at all; where no byte ever came, waiting long is of no use."""


def download(url: str, part: Part, *, on_bytes: OnBytes) -> None:
    """Fetch ``url`` into ``part``, going on where an earlier attempt, of any process, was cut off.

    The file is whole when this returns. It is not yet checked: no more is known of it than its length.
    Raises NotFetchedError, or CacheError where the disk cannot take it. What came by then stays for the next attempt,
    unless it is too large.
    """
    try:
        with web_client(SILENT_SECONDS, CONNECT_SECONDS) as client:
            _attempts(client, url, part, on_bytes)
    except RefusedError as error:
        raise NotFetchedError(url, str(error)) from None


def _attempts(client: httpx2.Client, url: str, part: Part, on_bytes: OnBytes) -> None:
    barren, came = 0, False
    for _ in range(ATTEMPTS_IN_ALL):
        before = part.size()
        try:
            _attempt(client, url, part, on_bytes)
            return
        except _TryAgainError as error:
            barren = 0 if part.size() > before else barren + 1
            came = came or barren == 0
            wait = FIRST_WAIT_SECONDS * 2 ** max(0, barren - 1)
            if error.wait_seconds is not None:
                wait = error.wait_seconds
            hopeless = barren == 2 and not came and isinstance(error, _NoConnectionError)
            if wait > LONGEST_WAIT_SECONDS:
                raise NotFetchedError(url, f"{error}; it asks to come back in {wait:.0f} s") from None
            if hopeless or barren == ATTEMPTS:
                raise NotFetchedError(url, str(error)) from None
        time.sleep(wait)
    raise NotFetchedError(url, f"the connection was cut {ATTEMPTS_IN_ALL} times; run again to go on from there")


def _attempt(client: httpx2.Client, url: str, part: Part, on_bytes: OnBytes) -> None:
    have = part.size()
    version = part.version() if have else ""
    headers = {"Range": f"bytes={have}-", "If-Range": version} if version else {}
    try:
        with answered(client, url, headers=headers) as answer:
            if answer.status_code == 416:
                if answer.headers.get("Content-Range") == f"bytes */{have}":
                    return  # an earlier attempt had it all
                part.drop()
                raise _TryAgainError("HTTP 416 (range not satisfiable)")
            have, total = _range(answer, url, have)
            if have and _version(answer) not in ("", version):
                part.drop()
                raise _TryAgainError("the file there changed while it was fetched")
            on_bytes(have, total)
            _check_size(part, max(have, total or 0))
            _check_space(part, have, total)
            pace, looked_at = Pace(SLOW_SECONDS, SLOW_BYTES, have), have
            with writing(part.path), part.opened(have, _version(answer)) as file:
                for block in answer.iter_raw():  # as they come: what is here when the connection is cut stays
                    file.write(block)
                    have += len(block)
                    on_bytes(have, total)
                    _check_size(part, have)
                    if have - looked_at > SPACE_LOOKED_AT_BYTES:
                        _check_space(part, have, total)
                        looked_at = have
                    pace.check(have)
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        raise _NoConnectionError(f"no connection ({scrubbed(str(error))})") from None
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, ValueError):  # whose texts may hold a part of a password
        raise NotFetchedError(url, "not an address") from None
    except (httpx2.TransportError, httpx2.StreamError) as error:
        raise _TryAgainError(f"the connection was cut ({scrubbed(str(error)) or type(error).__name__})") from None
    if total is not None and have != total:
        raise _TryAgainError(f"{have:,} bytes came, {total:,} were announced")


def _range(answer: httpx2.Response, url: str, have: int) -> tuple[int, int | None]:
    """(bytes already here that stay, bytes in all) by the server's answer. Raises where it gives no bytes."""
    status = answer.status_code
    if status == 200:
        length = re.fullmatch(r"\d{1,15}", answer.headers.get("Content-Length", ""))
        return 0, int(length[0]) if length else None
    if status == 206:
        span = re.fullmatch(r"bytes (\d{1,15})-\d{1,15}/(\d{1,15})", answer.headers.get("Content-Range", ""))
        if span and int(span[1]) == have:
            return have, int(span[2])
        raise NotFetchedError(url, "answers with another range than was asked for")
    reason = f"HTTP {status} ({answer.reason_phrase.lower() or 'no reason given'})"
    if status in BUSY:
        raise _TryAgainError(reason, _asked_wait(answer))
    raise NotFetchedError(url, reason)


def _asked_wait(answer: httpx2.Response) -> float | None:
    """Retry-After: seconds, or a date."""
    text = answer.headers.get("Retry-After", "")
    try:
        seconds = float(text) if text.isdecimal() else email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return max(0.0, seconds)


def _version(answer: httpx2.Response) -> str:
    """What tells this version of the file from others: a strong ETag, or its date; nothing where there is neither."""
    etag: str = answer.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else str(answer.headers.get("Last-Modified", ""))


def _check_size(part: Part, size: int) -> None:
    if size > LARGEST_BYTES:
        part.drop()
        raise RefusedError(f"larger than the {LARGEST_BYTES / 1e9:.1f} GB that weights may have; is it another file?")


def _check_space(part: Part, have: int, total: int | None) -> None:
    """Raise CacheError where the disk has no room for what is still to come, or is nearly full."""
    free, missing = shutil.disk_usage(part.folder.path).free, max(0, (total or have) - have)
    if free - missing < SPACE_LEFT_BYTES:
        needed = f"{missing / 1e6:,.0f} MB are needed, " if missing else ""
        raise CacheError(
            f"{part.folder.path}: {needed}{free / 1e6:,.0f} MB are free; make room beyond "
            f"{SPACE_LEFT_BYTES / 1e6:,.0f} MB, or set {SETTING} to a folder with room"
        )
