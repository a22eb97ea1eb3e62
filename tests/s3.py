"""An S3 server on 127.0.0.1, moto's, that counts what it is asked for and what it gives."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

KEYS = {"AWS_ACCESS_KEY_ID": "made-key", "AWS_SECRET_ACCESS_KEY": "made-secret", "AWS_DEFAULT_REGION": "us-east-1"}
BUCKET = "videos"


@dataclass
class Store:
    """requests: (method, path, range) of each. failures: number of the next requests for objects that get a 503."""

    url: str
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    sent_bytes: int = 0
    failures: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which S3's clients find this server, and may use it."""
        return {**KEYS, "AWS_ENDPOINT_URL": self.url}

    def client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="made-key",
            aws_secret_access_key="made-secret",
        )

    def put(self, key: str, content: bytes) -> str:
        """Store an object; returns its address."""
        self.client().put_object(Bucket=BUCKET, Key=key, Body=content)
        return f"s3://{BUCKET}/{key}"

    def forget(self) -> None:
        self.requests.clear()
        self.sent_bytes = 0

    def parts(self, key: str) -> list[str]:
        """The parts of an object that were asked for."""
        return [part for method, path, part in self.requests if method == "GET" and path.endswith("/" + key)]


@contextmanager
def serving_s3() -> Iterator[Store]:
    """Run the server, with an empty bucket."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *_: object) -> None:
            """Say nothing on stderr."""

    app, store = DomainDispatcherApplication(create_backend_app), Store("")

    def counting(environ: dict[str, Any], start: Any) -> Iterator[bytes]:
        path = environ["PATH_INFO"]
        store.requests.append((environ["REQUEST_METHOD"], path, environ.get("HTTP_RANGE", "")))
        if store.failures and environ["REQUEST_METHOD"] == "GET" and path.count("/") > 1:
            store.failures -= 1
            start("503 Slow Down", [("Content-Length", "0")])
            return
        for piece in app(environ, start):
            store.sent_bytes += len(piece)
            yield piece

    server = make_server("127.0.0.1", 0, counting, threaded=True, request_handler=Quiet)
    store.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        os.environ.setdefault("MOTO_S3_CUSTOM_ENDPOINTS", store.url)
        store.client().create_bucket(Bucket=BUCKET)
        store.forget()
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
