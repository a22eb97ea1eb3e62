"""Requests to web servers. Each connection is checked before data are sent: a URL does not show where it leads."""

import ipaddress
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

from p3dfeat._version import __version__
from p3dfeat.text.urls import scrubbed
from p3dfeat.types import WEB_SCHEMES

if TYPE_CHECKING:
    import httpcore2
    import httpx2

_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# Never fetched from: link-local addresses, and addresses at which clouds give credentials to machines.
FORBIDDEN: Final = tuple(
    map(
        ipaddress.ip_network,
        ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
)
NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in its last 32 bits


class RefusedError(Exception):
    """A download is refused or ended. The text says why, and contains no secrets."""


def web_client(silent_seconds: float, connect_seconds: float) -> "httpx2.Client":
    """A client for ``answered``. It opens a new connection for each request, so that each can be checked.

    silent_seconds: maximum time without a byte. Raises RefusedError if the environment's settings are invalid.
    """
    import httpx2  # only here: files on the disk do not need it

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
    """The answer to a request for ``url``; its body is not read yet.

    redirects: maximum number to follow. The IP address of each connection is checked before data are sent.
    Raises RefusedError, httpx2's errors, and ValueError for an invalid URL.
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
    """Checks a connection. It is a trace function, which httpcore calls before and after it connects.

    public: whether it leads to the internet; None before it is open.
    """

    def __init__(self, host: str, from_internet: bool):
        self.public: bool | None = None
        self._host, self._from_internet, self._by_proxy = host, from_internet, False

    def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith(".connect_tcp.started"):
            _check_allowed(_address(self._host))
            self._by_proxy = info["host"] != self._host
            if self._by_proxy:  # the proxy resolves the name, so only the name can be checked
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
    """The peer of a connection. Raises httpx2.ConnectError if it has closed the connection already."""
    import httpx2

    try:
        return str(stream.get_extra_info("server_addr")[0])
    except OSError as error:
        raise httpx2.ConnectError(str(error)) from None


def _address(host: str) -> _IPAddress | None:
    """The address in ``host``, read as for a connection: 127.1 and 0x7f.1 are addresses too; None for a name."""
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
    """Whether a host name or address is of this machine or of a private network."""
    address = _address(host)
    if address is not None:
        return not _is_global(address)
    return "." not in host.rstrip(".") or host.rstrip(".").endswith((".localhost", ".local", ".internal"))


def _next_address(url: str, location: str) -> str:
    """The target of a redirect. The user's name and password are only sent to the same host."""
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
