"""Fetching files over http and https, whole or not at all, within limits; of a video nothing is left afterwards."""

import email.utils
import ipaddress
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urljoin, urlsplit

from p3dfeat._version import __version__
from p3dfeat.errors import VideoError
from p3dfeat.types import WEB_SCHEMES, Video

OPEN_FILES: Final = "/proc/self/fd"  # where a file without a name can still be opened
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses that may pass
SPACE_LEFT_BYTES: Final = 256 << 20  # of the disk for temporary files, whoever else writes there
SPACE_LOOKED_AT_BYTES: Final = 16 << 20  # so many bytes come between two looks


@dataclass(frozen=True)
class Limits:
    """What an address may ask of us."""

    connect_seconds: float = 10
    silent_seconds: float = 30  # without a byte
    slow_seconds: float = 60  # in each of which so many bytes must come:
    slow_bytes: int = 64 << 10
    most_bytes: int = 4 << 30
    redirects: int = 10
    attempts: int = 3
    wait_seconds: float = 1.0  # before the second attempt, doubled before the next


LIMITS: Final = Limits()


@contextmanager
def at_hand(video: Video, *, tick: Callable[[], None]) -> Iterator[Video]:
    """``video`` as a file: itself, or, of one at a web address, a copy that is gone afterwards. Raises VideoError.

    tick: as for ``download``.
    """
    if not video.remote:
        yield video
        return
    with _passing_file() as (file, path):
        download(video.path, file, tick=tick)
        yield replace(video, path=path)


@contextmanager
def _passing_file() -> Iterator[tuple[IO[bytes], str]]:
    """A new file, and a path by which it can be opened; it never has a name where the system allows that."""
    make: Callable[..., Any] = tempfile.TemporaryFile if os.path.isdir(OPEN_FILES) else tempfile.NamedTemporaryFile
    try:
        file = make(prefix="p3dfeat-video-")
    except OSError as error:
        raise VideoError(f"not fetched: no temporary file can be made ({error.strerror}); set TMPDIR") from None
    with file:
        yield file, f"{OPEN_FILES}/{file.fileno()}" if isinstance(file.name, int) else file.name


class _MayPassError(Exception):
    """What went wrong may be otherwise the next time."""


def download(url: str, file: IO[bytes], *, tick: Callable[[], None], limits: Limits = LIMITS) -> None:
    """Fetch ``url``, which begins with http:// or https://, into an empty file, whole. Raises VideoError.

    tick: called for each block that comes, and before each further attempt; what it raises ends the fetching.
    The file's time of modification is then the one that the server tells, if it tells one.
    """
    import httpx2  # only here: what is on the disk needs none of it

    headers = {"User-Agent": f"p3dfeat/{__version__}", "Accept-Encoding": "identity"}
    timeout = httpx2.Timeout(limits.silent_seconds, connect=limits.connect_seconds)
    try:
        client = httpx2.Client(timeout=timeout, headers=headers)
    except (ImportError, OSError, ValueError, httpx2.InvalidURL) as error:
        raise VideoError(f"not fetched: this environment's proxy or certificates are of no use ({error})") from None
    with client:
        for attempt in range(1, limits.attempts + 1):
            try:
                _fetch(client, url, file, tick, limits)
                return
            except _MayPassError as error:
                if attempt == limits.attempts:
                    raise VideoError(f"not fetched: {error}") from None
            except (httpx2.InvalidURL, ValueError) as error:  # ValueError: a host's name that cannot be one
                raise VideoError(f"not fetched: not an address ({error})") from None
            tick()
            time.sleep(limits.wait_seconds * 2 ** (attempt - 1))


def _fetch(client: Any, url: str, file: IO[bytes], tick: Callable[[], None], limits: Limits) -> None:
    """One attempt. client: an httpx2.Client. Raises _MayPassError, VideoError."""
    import httpx2

    file.seek(0)
    file.truncate()
    try:
        for _ in range(limits.redirects + 1):
            with client.stream("GET", url) as answer:
                if answer.status_code in REDIRECTS and "Location" in answer.headers:
                    url = _next_address(url, answer.headers["Location"])
                    continue
                _check_answer(answer)
                _take(answer, file, tick, limits)
                return
    except httpx2.ConnectTimeout:
        raise _MayPassError(f"no connection within {limits.connect_seconds:g} s") from None
    except httpx2.TimeoutException:
        raise _MayPassError(f"stalled: nothing came for {limits.silent_seconds:g} s") from None
    except httpx2.TransportError as error:
        raise _broken(error) from None
    raise VideoError(f"not fetched: redirected more than {limits.redirects} times")


def _next_address(url: str, location: str) -> str:
    """Where a server sends us on to: web addresses only."""
    following = urljoin(url, location)
    if not following.lower().startswith(WEB_SCHEMES):
        scheme = urlsplit(following).scheme or "nowhere"
        raise VideoError(f"not fetched: redirected to {scheme!r}; only http and https are followed")
    if _is_inward(urlsplit(following).hostname or "") and not _is_inward(urlsplit(url).hostname or ""):
        raise VideoError("not fetched: redirected from the internet into a private network")
    if urlsplit(following).hostname != urlsplit(url).hostname and "@" in urlsplit(following).netloc:
        raise VideoError("not fetched: redirected to an address with a password in it")
    return following


def _is_inward(host: str) -> bool:
    """Whether a host is by its looks one of this machine or of a private network."""
    with suppress(OSError):
        host = socket.inet_ntoa(socket.inet_aton(host))  # as connecting reads it: 127.1 and 0x7f.1 are addresses too
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host.rstrip(".") or host.rstrip(".").endswith((".localhost", ".local", ".internal"))


def _broken(error: Exception) -> Exception:
    """A connection that was not made, or broke; with what the system says, less its numbers."""
    text = str(error).partition("] ")[2] or str(error) or type(error).__name__
    if "CERTIFICATE" in str(error) or "SSL" in str(error):
        return VideoError(f"not fetched: no safe connection ({text})")
    made = "the connection broke" if "Connect" not in type(error).__name__ else "no connection"
    return _MayPassError(f"{made} ({text})")


def _check_answer(answer: Any) -> None:
    """Raise unless the server gives the file itself, as it is."""
    status = answer.status_code
    reason = f"HTTP {status} ({answer.reason_phrase.lower() or 'no reason given'})"
    if status in BUSY:
        raise _MayPassError(reason)
    if status != 200:
        raise VideoError(f"not fetched: {reason}")
    if answer.headers.get("Content-Encoding", "identity") not in ("", "identity"):
        raise VideoError("not fetched: comes compressed, though that was not asked for")


def _take(answer: Any, file: IO[bytes], tick: Callable[[], None], limits: Limits) -> None:
    """Write what comes, within limits, and give the file the server's time."""
    length = answer.headers.get("Content-Length", "")
    announced = int(length) if length.isdecimal() and len(length) < 16 else None
    _check_room(file, announced or 0, 0, limits)
    came = looked_at = 0
    began, had = time.monotonic(), 0  # of the present stretch of slow_seconds
    try:
        for block in answer.iter_raw():
            tick()
            file.write(block)
            came += len(block)
            if came - looked_at > SPACE_LOOKED_AT_BYTES or came > limits.most_bytes:
                _check_room(file, came, came, limits)
                looked_at = came
            if time.monotonic() - began > limits.slow_seconds:
                if came - had < limits.slow_bytes:
                    raise VideoError(f"not fetched: too slow, {came - had:,} bytes in {limits.slow_seconds:g} s")
                began, had = time.monotonic(), came
        file.flush()
    except OSError as error:
        raise VideoError(f"not fetched: no temporary file can be written ({error.strerror}); set TMPDIR") from None
    if announced is not None and came != announced:
        raise _MayPassError(f"{came:,} bytes came, {announced:,} were announced")
    with suppress(ValueError, OverflowError, OSError):
        changed = email.utils.parsedate_to_datetime(answer.headers.get("Last-Modified", "")).timestamp()
        os.utime(file.fileno(), (changed, changed))


def _check_room(file: IO[bytes], size: int, here: int, limits: Limits) -> None:
    """Raise VideoError for more bytes than we take, or than the disk has room for; ``here`` of them are on it."""
    if size > limits.most_bytes:
        most = f"{limits.most_bytes / 1e9:.1f} GB"
        raise VideoError(f"not fetched: larger than the {most} that are fetched; download it and name the file")
    folder = Path(tempfile.gettempdir())
    if shutil.disk_usage(folder).free - (size - here) < SPACE_LEFT_BYTES:
        raise VideoError(f"not fetched: no room for it in {folder}; set TMPDIR to a folder with more")
