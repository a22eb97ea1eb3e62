"""Fetching files over http and https, whole or not at all, within limits; of a video nothing is left afterwards."""

import email.utils
import ipaddress
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

from p3dfeat._version import __version__
from p3dfeat.errors import VideoError
from p3dfeat.text.urls import scrubbed
from p3dfeat.types import WEB_SCHEMES, Video

if TYPE_CHECKING:
    import httpcore2
    import httpx2

_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

OPEN_FILES: Final = "/proc/self/fd"  # where a file without a name can still be opened
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# Never fetched from: link-local addresses, and those at which clouds tell machines their passwords.
FORBIDDEN: Final = tuple(
    map(
        ipaddress.ip_network,
        ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
)
NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in its last 32 bits
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


class RefusedError(Exception):
    """What is not fetched, or no further. The text says why, and holds no secrets."""


def web_client(silent_seconds: float, connect_seconds: float) -> "httpx2.Client":
    """A client for ``answered``. It makes a connection for each request, so that each can be judged.

    silent_seconds: without a byte. Raises RefusedError where the environment's settings are of no use.
    """
    import httpx2  # only here: what is on the disk needs none of it

    try:
        return httpx2.Client(
            timeout=httpx2.Timeout(silent_seconds, connect=connect_seconds),
            headers={"User-Agent": f"p3dfeat/{__version__}", "Accept-Encoding": "identity"},
            limits=httpx2.Limits(max_keepalive_connections=0),
        )
    except (ImportError, OSError, ValueError, httpx2.InvalidURL) as error:
        reason = "no address" if isinstance(error, httpx2.InvalidURL) else scrubbed(str(error))
        raise RefusedError(f"this environment's proxy or certificate settings are of no use ({reason})") from None


@contextmanager
def answered(
    client: "httpx2.Client", url: str, *, headers: Mapping[str, str] | None = None, redirects: int = 10
) -> "Iterator[httpx2.Response]":
    """The answer of whom ``url`` leads to; its body is still to be read.

    redirects: so many are followed. Each connection is judged by the address it is made to, before anything is sent.
    Raises RefusedError, httpx2's errors, and ValueError for what cannot be an address.
    """
    import httpx2

    from_internet = False
    for _ in range(redirects + 1):
        hop = _Hop(httpx2.URL(url).raw_host.decode("ascii"), from_internet)
        with client.stream("GET", url, headers=headers, extensions={"trace": hop}) as answer:
            if hop.public is None:
                raise RefusedError("this version of httpx2 does not tell whom it connects to; install another")
            if answer.status_code not in REDIRECTS or "Location" not in answer.headers:
                yield answer
                return
            url, from_internet = _next_address(url, answer.headers["Location"]), hop.public
    raise RefusedError(f"redirected more than {redirects} times")


class _Hop:
    """Judges a connection, as a trace that httpcore calls before and after it connects.

    public: whether it leads to the internet; None before it is made.
    """

    def __init__(self, host: str, from_internet: bool):
        self.public: bool | None = None
        self._host, self._from_internet, self._by_proxy = host, from_internet, False

    def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith(".connect_tcp.started"):
            _check_allowed(_address(self._host))
            self._by_proxy = info["host"] != self._host
            if self._by_proxy:  # which resolves the name: the name is all there is to judge by
                self._judge(not _is_inward(self._host))
        elif event.endswith(".connect_tcp.complete") and not self._by_proxy:
            try:
                peer = _address(_peer(info["return_value"]))
                _check_allowed(peer)
                self._judge(peer is not None and _is_global(peer))
            except BaseException:
                info["return_value"].close()
                raise

    def _judge(self, public: bool) -> None:
        if self._from_internet and not public:
            raise RefusedError("redirected from the internet into a private network")
        self.public = public


def _peer(stream: "httpcore2.NetworkStream") -> str:
    """Whom a connection is made to. Raises httpx2.ConnectError where that one has gone already."""
    import httpx2

    try:
        return str(stream.get_extra_info("server_addr")[0])
    except OSError as error:
        raise httpx2.ConnectError(str(error)) from None


def _address(host: str) -> _IPAddress | None:
    """The address that ``host`` is, as connecting reads it: 127.1 and 0x7f.1 are addresses too; None for a name."""
    with suppress(OSError):
        host = socket.inet_ntoa(socket.inet_aton(host))
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        if found in NAT64:
            return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        return found.ipv4_mapped or found.sixtofour or found
    return found


def _check_allowed(address: _IPAddress | None) -> None:
    if address is not None and any(address in network for network in FORBIDDEN):
        raise RefusedError("leads to a link-local address, or to the metadata service of a cloud")


def _is_global(address: _IPAddress) -> bool:
    return address.is_global


def _is_inward(host: str) -> bool:
    """Whether a host is by its looks one of this machine or of a private network."""
    address = _address(host)
    if address is not None:
        return not _is_global(address)
    return "." not in host.rstrip(".") or host.rstrip(".").endswith((".localhost", ".local", ".internal"))


def _next_address(url: str, location: str) -> str:
    """Where a server sends us on to. The user's name and password go along on the same host alone."""
    following = urljoin(url, location)
    here, there = urlsplit(url), urlsplit(following)
    if not following.lower().startswith(WEB_SCHEMES):
        raise RefusedError(f"redirected to {there.scheme or 'nowhere'!r}; only http and https are followed")
    if (here.scheme, there.scheme) == ("https", "http"):
        raise RefusedError("redirected from https to http")
    if "@" in there.netloc:
        if there.hostname != here.hostname:
            raise RefusedError("redirected to an address with a password in it")
        return following
    same = there.hostname == here.hostname and (there.scheme, there.port) in ((here.scheme, here.port), ("https", None))
    user = here.netloc.rpartition("@")[0]
    return there._replace(netloc=f"{user}@{there.netloc}").geturl() if user and same else following


class Pace:
    """Refuses to go on where fewer than ``least_bytes`` come in ``seconds``."""

    def __init__(self, seconds: float, least_bytes: int, had: int = 0):
        self._seconds, self._least_bytes = seconds, least_bytes
        self._began, self._had = time.monotonic(), had

    def check(self, came: int) -> None:
        """came: bytes that are here, ``had`` included. Raises RefusedError."""
        if time.monotonic() - self._began > self._seconds:
            if came - self._had < self._least_bytes:
                raise RefusedError(f"too slow, {came - self._had:,} bytes in {self._seconds:g} s")
            self._began, self._had = time.monotonic(), came


class _MayPassError(Exception):
    """What went wrong may be otherwise the next time."""


def download(url: str, file: IO[bytes], *, tick: Callable[[], None], limits: Limits = LIMITS) -> None:
    """Fetch ``url``, which begins with http:// or https://, into an empty file, whole. Raises VideoError.

    tick: called for each block that comes, and before each further attempt; what it raises ends the fetching.
    The file's time of modification is then the one that the server tells, if it tells one.
    """
    import httpx2

    try:
        with web_client(limits.silent_seconds, limits.connect_seconds) as client:
            for attempt in range(1, limits.attempts + 1):
                try:
                    _fetch(client, url, file, tick, limits)
                    return
                except _MayPassError as error:
                    if attempt == limits.attempts:
                        raise VideoError(f"not fetched: {error}") from None
                tick()
                time.sleep(limits.wait_seconds * 2 ** (attempt - 1))
    except RefusedError as error:
        raise VideoError(f"not fetched: {error}") from None
    except (httpx2.InvalidURL, ValueError):  # whose texts may hold a part of a password
        raise VideoError("not fetched: not an address") from None


def _fetch(client: "httpx2.Client", url: str, file: IO[bytes], tick: Callable[[], None], limits: Limits) -> None:
    """One attempt. Raises _MayPassError, RefusedError, VideoError."""
    import httpx2

    file.seek(0)
    file.truncate()
    try:
        with answered(client, url, redirects=limits.redirects) as answer:
            _check_answer(answer)
            _take(answer, file, tick, limits)
    except httpx2.ConnectTimeout:
        raise _MayPassError(f"no connection within {limits.connect_seconds:g} s") from None
    except httpx2.TimeoutException:
        raise _MayPassError(f"stalled: nothing came for {limits.silent_seconds:g} s") from None
    except httpx2.TransportError as error:
        raise _broken(error) from None


def _broken(error: Exception) -> Exception:
    """A connection that was not made, or broke; with what the system says, less its numbers."""
    text = scrubbed(str(error).partition("] ")[2] or str(error) or type(error).__name__)
    if "CERTIFICATE" in str(error) or "SSL" in str(error):
        return VideoError(f"not fetched: no safe connection ({text})")
    made = "the connection broke" if "Connect" not in type(error).__name__ else "no connection"
    return _MayPassError(f"{made} ({text})")


def _check_answer(answer: "httpx2.Response") -> None:
    """Raise unless the server gives the file itself, as it is."""
    status = answer.status_code
    reason = f"HTTP {status} ({answer.reason_phrase.lower() or 'no reason given'})"
    if status in BUSY:
        raise _MayPassError(reason)
    if status != 200:
        raise VideoError(f"not fetched: {reason}")
    if answer.headers.get("Content-Encoding", "identity") not in ("", "identity"):
        raise VideoError("not fetched: comes compressed, though that was not asked for")


def _take(answer: "httpx2.Response", file: IO[bytes], tick: Callable[[], None], limits: Limits) -> None:
    """Write what comes, within limits, and give the file the server's time."""
    length = answer.headers.get("Content-Length", "")
    announced = int(length) if length.isdecimal() and len(length) < 16 else None
    _check_room(file, announced or 0, 0, limits)
    came = looked_at = 0
    pace = Pace(limits.slow_seconds, limits.slow_bytes)
    try:
        for block in answer.iter_raw():
            tick()
            file.write(block)
            came += len(block)
            if came - looked_at > SPACE_LOOKED_AT_BYTES or came > limits.most_bytes:
                _check_room(file, came, came, limits)
                looked_at = came
            pace.check(came)
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
