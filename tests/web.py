"""A web server on 127.0.0.1 that gives files, with ranges and ETags, and misbehaves as it is told."""

import hashlib
import socket
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BLOCK = 1 << 16


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer: a status, or a connection cut after some bytes."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None


@dataclass(frozen=True)
class Request:
    """What was asked."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Answer:
    """What is answered: content with an ETag, or a status."""

    status: int = 200
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True  # whether parts may be asked for


class Web:
    """files: {path: content}. Faults are used up, one a GET of their path, before the file is given whole."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.redirects: dict[str, str] = {}
        self.requests: list[Request] = []
        self.sent_bytes = 0
        self.ranges = self.etags = self.heeds_if_range = True
        self.announces = True  # the length of what it sends
        self.seconds_a_block = 0.0

    def asked(self, path: str, method: str = "GET") -> list[Request]:
        """The requests for a path."""
        return [request for request in self.requests if (request.method, request.path) == (method, path)]

    def answer(self, request: Request, body: bytes) -> Answer:
        """What is said to a request that meets no fault; hubs and the like say more."""
        if request.path in self.redirects:
            return Answer(302, headers={"Location": self.redirects[request.path]})
        if request.path not in self.files:
            return Answer(404)
        content = self.files[request.path]
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"'} if self.etags else {}
        return Answer(200, content, headers, self.ranges)


@contextmanager
def serving(web: Web, host: str = "127.0.0.1") -> Iterator[str]:
    """Run the server; yields its address, without a slash at the end. host: one of this machine, 127.x.y.z."""

    class Handler(_Handler):
        server_web = web

    server = ThreadingHTTPServer((host, 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # a client that goes away is no news
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def unused_address() -> str:
    """An address on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


class _Handler(BaseHTTPRequestHandler):
    server_web: Web
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        web = self.server_web
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, self.path.partition("?")[0], dict(self.headers.items()))
        web.requests.append(request)
        faults = web.faults[request.path]
        fault = faults.popleft() if faults and self.command == "GET" else Fault()
        if fault.status is not None:
            self._send(Answer(fault.status, b"no", fault.headers), None)
        else:
            self._send(web.answer(request, body), fault.cut_after)

    do_GET = do_HEAD = do_POST = do_PUT = _handle  # noqa: N815  # http.server's names

    def _send(self, answer: Answer, cut_after: int | None) -> None:
        content, status, headers = answer.content, answer.status, dict(answer.headers)
        wanted = self.headers.get("Range", "")
        still_the_same = self.headers.get("If-Range", headers.get("ETag")) == headers.get("ETag")
        still_the_same = still_the_same or not self.server_web.heeds_if_range
        if wanted.startswith("bytes=") and status == 200 and answer.ranges and still_the_same:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, total = int(first), len(content)
            end = min(int(last) + 1, total) if last else total
            if start >= len(content):
                status, headers["Content-Range"], content = 416, f"bytes */{len(content)}", b""
            else:
                headers["Content-Range"] = f"bytes {start}-{end - 1}/{total}"
                status, content = 206, content[start:end]
        if answer.ranges:
            headers.setdefault("Accept-Ranges", "bytes")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.server_web.announces:
            self.send_header("Content-Length", str(len(content)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self._write(content, cut_after)

    def _write(self, content: bytes, cut_after: int | None) -> None:
        web = self.server_web
        try:
            for at in range(0, len(content), BLOCK):
                block = content[at : at + BLOCK]
                if cut_after is not None and at + len(block) > cut_after:
                    self.wfile.write(block[: cut_after - at])
                    web.sent_bytes += cut_after - at
                    self.wfile.flush()
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    return
                self.wfile.write(block)
                web.sent_bytes += len(block)
                time.sleep(web.seconds_a_block)
        except (BrokenPipeError, ConnectionResetError):  # the client has gone
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing on stderr."""
