"""Videos at web addresses come whole and within limits, or an error says why not; nothing is left of them."""

import ipaddress
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import repeat

import pytest

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import VideoError
from p3dfeat.http import client
from p3dfeat.http.fetch import Limits
from p3dfeat.types import Clip, Video, VideoEnd
from p3dfeat.video import Decoders
from p3dfeat.video.workers import download as workers_download
from p3dfeat.video.workers.download import RemoteFiles, download
from tests.videos import numbered_video
from tests.web import Answer, Fault, Request, Web, serving, unused_address

IMPATIENT = Limits(connect_seconds=2, silent_seconds=0.3, wait_seconds=0.01, barren_attempts=3)


@pytest.fixture
def web():
    web = Web()
    web.files["/v.mp4"] = os.urandom(300_000)
    with serving(web) as address:
        web.url = f"{address}/v.mp4"
        yield web


def fetched(url: str, **limits) -> bytes:
    with tempfile.TemporaryFile() as file:
        download(url, file, tick=lambda: None, limits=Limits(**(vars(IMPATIENT) | limits)))
        file.seek(0)
        return file.read()


def refusal(url: str, **limits) -> str:
    began = time.monotonic()
    with pytest.raises(VideoError) as caught:
        fetched(url, **limits)
    assert time.monotonic() - began < 20
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix("not fetched: ")


@contextmanager
def answering(blocks: Iterable[bytes]) -> Iterator[str]:
    """A server that says these bytes to whoever connects first, as long as it listens; then holds the line."""
    over = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(10)

    def serve() -> None:
        try:
            line, _ = server.accept()
            with line:
                line.settimeout(10)
                line.recv(10_000)
                for block in blocks:
                    if over.is_set():
                        return
                    line.sendall(block)
                over.wait(10)
        except OSError:  # whoever asked has gone
            return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v.mp4"
    finally:
        over.set()
        server.close()
        thread.join(10)


def test_a_file_comes_as_it_is_with_its_time(web):
    assert fetched(web.url) == web.files["/v.mp4"]
    (request,) = web.asked("/v.mp4")
    assert request.headers["Accept-Encoding"] == "identity"

    class Dated(Web):
        def answer(self, request: Request, body: bytes) -> Answer:
            return Answer(200, b"x", {"Last-Modified": "Fri, 13 Feb 2009 23:31:30 GMT"})

    with serving(Dated()) as address, tempfile.TemporaryFile() as file:
        download(f"{address}/v.mp4", file, tick=lambda: None)
        assert os.fstat(file.fileno()).st_mtime == 1234567890


def test_what_may_pass_is_tried_again_from_where_it_was_cut(web):
    web.faults["/v.mp4"] += [Fault(cut_after=100_000), Fault(status=503)]
    assert fetched(web.url) == web.files["/v.mp4"]
    first, second, third = web.asked("/v.mp4")
    assert "Range" not in first.headers
    assert second.headers["Range"] == third.headers["Range"]
    assert web.sent_bytes < 2 * len(web.files["/v.mp4"])


@pytest.mark.parametrize(
    ("faults", "message", "asked"),
    [
        ([Fault(cut_after=0)] * 5, "the connection was cut (peer closed connection", 3),
        ([Fault(status=503)] * 5, "HTTP 503 (service unavailable)", 3),
        ([Fault(status=404)], "HTTP 404 (not found)", 1),
        ([Fault(status=403)], "HTTP 403 (forbidden)", 1),
        ([Fault(status=206)], "HTTP 206 (partial content)", 1),
        ([Fault(status=304)], "HTTP 304 (not modified)", 1),
    ],
)
def test_a_server_that_does_not_give_it_is_named_in_one_line(web, faults, message, asked):
    web.faults["/v.mp4"] += faults
    assert refusal(web.url).startswith(message)
    assert len(web.asked("/v.mp4")) == asked


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("file:///etc/passwd", "redirected to 'file'; only http and https are followed"),
        ("ftp://127.0.0.1/v.mp4", "redirected to 'ftp'; only http and https are followed"),
        ("data:video/mp4;base64,AAAA", "redirected to 'data'; only http and https are followed"),
        ("//", "redirected more than 10 times"),
        ("/v.mp4", "redirected more than 10 times"),
        ("http://user:secret@localhost/v.mp4", "redirected to an address with a password in it"),
        ("http://[", "not an address"),
    ],
)
def test_redirects_lead_to_web_addresses_and_end(web, location, message):
    web.redirects["/v.mp4"] = location
    assert refusal(web.url).startswith(message)
    assert len(web.requests) <= 11


@pytest.fixture
def proxied(monkeypatch):
    """A server that is this environment's proxy, and gives a file of example.org."""
    web = Web()
    web.files["http://example.org/v.mp4"] = b"video"
    with serving(web) as address:
        monkeypatch.setenv("HTTP_PROXY", address)
        yield web


@pytest.mark.parametrize(
    "host",
    [
        *("127.1", "2130706433", "0x7f.0.0.1", "0.0.0.0", "10.0.0.1", "192.168.1.1", "100.64.0.1"),
        *("[::1]", "[fd00::1]", "[::ffff:10.0.0.1]", "[64:ff9b::a00:1]"),
        *("localhost", "a.localhost", "router", "a.local", "a.internal."),
    ],
)
def test_behind_a_proxy_nobody_in_the_internet_sends_us_home_by_a_name_that_looks_like_it(proxied, host):
    proxied.redirects["http://example.org/away.mp4"] = f"http://{host}/v.mp4"
    assert refusal("http://example.org/away.mp4") == "redirected from the internet into a private network"
    assert len(proxied.requests) == 1


def test_behind_a_proxy_other_redirects_are_followed(proxied):
    proxied.redirects["http://other.example.org/a"] = "http://93.184.215.14/b"
    proxied.redirects["http://93.184.215.14/b"] = "http://example.org/v.mp4"
    proxied.redirects["http://router/c"] = "http://example.org/v.mp4"
    assert fetched("http://other.example.org/a") == fetched("http://router/c") == b"video"


@pytest.fixture
def internet(monkeypatch):
    """The address of a server that counts as one of the internet. It is 127.0.0.2, and has the names *.example.org."""
    resolve = socket.getaddrinfo

    def resolved(host, *arguments, **settings):
        names = {"public.example.org": "127.0.0.2", "home.example.org": "127.0.0.1"}
        return resolve(names.get(host, host), *arguments, **settings)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    monkeypatch.setattr(client, "_is_global", lambda address: str(address) == "127.0.0.2")
    web = Web()
    web.files["/v.mp4"] = b"public"
    with serving(web, "127.0.0.2") as web.address:
        yield web


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "home.example.org"])
def test_nobody_in_the_internet_sends_us_into_the_network_at_home(web, internet, host):
    internet.redirects["/away.mp4"] = web.url.replace("127.0.0.1", host)
    for name in ("127.0.0.2", "public.example.org"):
        message = refusal(f"{internet.address}/away.mp4".replace("127.0.0.2", name))
        assert message == "redirected from the internet into a private network"
    assert web.requests == []


def test_a_detour_by_the_internet_does_not_lead_home_either(web, internet):
    internet.redirects["/away.mp4"] = web.url
    web.redirects["/out.mp4"] = f"{internet.address}/away.mp4"
    assert refusal(web.url.replace("/v.mp4", "/out.mp4")) == "redirected from the internet into a private network"


def test_what_the_user_names_may_be_at_home_and_redirect_there_and_into_the_internet(web, internet):
    web.redirects["/a.mp4"] = web.url.replace("127.0.0.1", "home.example.org")
    web.redirects["/b.mp4"] = f"{internet.address}/v.mp4".replace("127.0.0.2", "public.example.org")
    assert fetched(web.url.replace("/v.mp4", "/a.mp4")) == web.files["/v.mp4"]
    assert fetched(web.url.replace("/v.mp4", "/b.mp4")) == b"public"


@pytest.mark.parametrize("first", [True, False])
def test_what_resolves_to_an_address_that_is_never_fetched_from_is_sent_nothing(web, internet, monkeypatch, first):
    monkeypatch.setattr(client, "FORBIDDEN", (ipaddress.ip_network("127.0.0.2"),))
    web.redirects["/a.mp4"] = f"{internet.address}/v.mp4".replace("127.0.0.2", "public.example.org")
    url = web.redirects["/a.mp4"] if first else web.url.replace("/v.mp4", "/a.mp4")
    assert refusal(url) == "leads to a link-local address, or to the metadata service of a cloud"
    assert internet.requests == []


@pytest.mark.parametrize(
    "host",
    [
        *("169.254.169.254", "169.254.0.1", "0xa9fea9fe", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
        *("[fe80::1]", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]"),
    ],
)
def test_link_local_addresses_and_those_of_metadata_are_not_even_connected_to(web, host, monkeypatch):
    web.redirects["/v.mp4"] = f"http://{host}/v.mp4"
    connect = socket.create_connection

    def only_to_us(address, *arguments, **settings):
        assert address[0] == "127.0.0.1"
        return connect(address, *arguments, **settings)

    monkeypatch.setattr(socket, "create_connection", only_to_us)
    for url in (web.url, web.redirects["/v.mp4"]):
        assert refusal(url) == "leads to a link-local address, or to the metadata service of a cloud"


def test_a_redirect_leads_from_https_to_http_never(web):
    with pytest.raises(client.RefusedError, match="redirected from https to http"):
        client._next_address("https://example.org/v.mp4", "http://example.org/v.mp4")
    assert client._next_address("https://example.org/a", "/b") == "https://example.org/b"


def test_the_users_password_goes_along_on_the_same_host_alone():
    url = "http://me:secret@example.org/a"
    assert client._next_address(url, "http://example.org/b") == "http://me:secret@example.org/b"
    assert client._next_address(url, "https://example.org/b") == "https://me:secret@example.org/b"
    assert client._next_address(url, "http://example.org:8080/b") == "http://example.org:8080/b"
    assert client._next_address(url, "http://other.example.org/b") == "http://other.example.org/b"


def test_a_client_that_tells_nothing_of_its_connections_is_not_trusted(web, monkeypatch):
    monkeypatch.setattr(client._Hop, "__call__", lambda *_: None)
    assert refusal(web.url).startswith("this version of httpx2 does not tell whom it connects to")


@pytest.mark.parametrize("url", ["http://me:s3/cret@127.0.0.1/v.mp4", "http://me:s3cret/v.mp4?token=s3cret"])
def test_no_part_of_a_password_is_told(url):
    assert refusal(url) == "not an address"


def test_a_redirect_is_followed(web):
    web.redirects["/moved.mp4"] = "/v.mp4"
    assert fetched(web.url.replace("/v.mp4", "/moved.mp4")) == web.files["/v.mp4"]


def test_more_than_is_taken_is_refused_before_it_comes(web):
    assert (
        refusal(web.url, most_bytes=299_999) == "larger than the 0.0 GB that are fetched; download it and name the file"
    )
    assert web.sent_bytes <= 300_000
    assert fetched(web.url, most_bytes=300_000) == web.files["/v.mp4"]


def test_an_endless_body_ends_at_the_limit():
    with answering([b"HTTP/1.1 200 OK\r\n\r\n", *repeat(bytes(100_000), 10_000)]) as url:
        assert refusal(url, most_bytes=20_000_000).startswith("larger than the 0.0 GB that are fetched")


@pytest.mark.parametrize(
    "said", [[], [b"HTTP/1.1 200 OK\r\n"], [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"x"]]
)
def test_a_server_that_stalls_is_not_waited_for(said):
    with answering(said) as url:
        assert refusal(url, barren_attempts=1) == "stalled: nothing came for 0.3 s"


def test_a_server_that_dawdles_is_not_waited_for():
    def drops() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
        for _ in range(100):
            time.sleep(0.05)
            yield b"x"

    with answering(drops()) as url:
        assert "too slow" in refusal(url, slow_seconds=0.4, silent_seconds=10)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"garbage\r\n\r\n", "the connection was cut ("),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", "comes compressed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "the connection was cut ("),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 500_000 + b"\r\n\r\n", "the connection was cut ("),
    ],
)
def test_an_answer_that_is_none_is_one_line(said, message):
    with answering([said]) as url:
        assert refusal(url, barren_attempts=1).startswith(message)


def test_nobody_there_is_one_line():
    assert refusal(f"{unused_address()}/v.mp4") == "no connection (Connection refused)"
    assert refusal("http://nobody.invalid/v.mp4").startswith("no connection (")
    assert refusal(f"{unused_address().replace('http', 'https')}/v.mp4") == "no connection (Connection refused)"


def test_https_is_not_spoken_with_those_who_do_not_speak_it(web):
    assert refusal(web.url.replace("http:", "https:")).startswith("no safe connection (")


def test_no_room_is_one_line(web, monkeypatch):
    monkeypatch.setattr(workers_download, "SPACE_LEFT_BYTES", 1 << 60)
    assert refusal(web.url).startswith("no room for it in ")


def test_nothing_is_left_in_the_folder_of_temporary_files_even_while_it_is_read(web, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with RemoteFiles().readable(Video("v", web.url, "v"), tick=lambda: None) as path:
        with open(path, "rb") as file:
            assert file.read() == web.files["/v.mp4"]
        if os.path.isdir(workers_download.OPEN_FILES):
            assert list(tmp_path.iterdir()) == []
    assert not os.path.exists(path)
    assert list(tmp_path.iterdir()) == []


def test_where_files_must_have_names_they_go_as_well(web, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(workers_download, "OPEN_FILES", str(tmp_path / "gone"))
    with RemoteFiles().readable(Video("v", web.url, "v"), tick=lambda: None) as path, open(path, "rb") as file:
        assert file.read() == web.files["/v.mp4"]
    assert list(tmp_path.iterdir()) == []


def test_decoders_read_addresses_and_one_that_fails_costs_one_video(web, tmp_path):
    web.files["/good.mp4"] = numbered_video(tmp_path / "v.mp4", 20).read_bytes()
    web.files["/list.mp4"] = b"#EXTM3U\n#EXTINF:1,\n/v.mp4\n"
    base = web.url.removesuffix("/v.mp4")
    videos = [Video(name, f"{base}/{name}.mp4", name) for name in ("gone", "good", "list")]
    spec, sampling = InputSpec(channels="luma", resize=(96, 128)), Sampling(clips=1, length=4)
    with Decoders(1, decoder="cpu") as decoders:
        items = [(video.id, item) for video, item in decoders.read(videos, spec, sampling)]
    errors = {id: str(item) for id, item in items if isinstance(item, VideoError)}
    assert errors.keys() == {"gone", "list"}
    assert errors["gone"] == "not fetched: HTTP 404 (not found)"
    assert "playlist" in errors["list"]
    assert [id for id, item in items if isinstance(item, Clip)] == ["good"]
    (end,) = [item for _, item in items if isinstance(item, VideoEnd)]
    assert (end.info.num_frames, end.info.size_bytes) == (20, len(web.files["/good.mp4"]))
    assert not web.asked("/v.mp4")
