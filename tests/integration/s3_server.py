"""An S3 server for tests, and a proxy that breaks some of the requests to it.

`python s3_server.py` serves moto on a free port of this machine, prints the port, and ends when its stdin does.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import struct
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_VARIABLES = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    # a profile of whoever runs the tests must not lead them to a real bucket
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


def serve() -> None:
    """Serve moto's S3 until stdin ends, so that no server outlives its tests."""
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    app = DomainDispatcherApplication(create_backend_app)
    one_at_a_time = threading.Lock()  # moto itself lets two conditional puts win

    def locked(environ: Any, start_response: Any) -> Any:
        with one_at_a_time:
            return app(environ, start_response)

    server = make_server("127.0.0.1", 0, locked, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    sys.stdin.read()


@contextlib.contextmanager
def server_environment() -> Iterator[None]:
    """Have os.environ point at an S3 server: the one it already names, or moto in a process of its own."""
    if os.environ.get("AWS_ENDPOINT_URL"):
        yield
        return
    before = dict(os.environ)
    command = [sys.executable, __file__]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            for name in [name for name in os.environ if name.startswith("AWS_")]:
                del os.environ[name]
            os.environ |= {**_VARIABLES, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{int(server.stdout.readline())}"}
            yield
        finally:
            os.environ.clear()
            os.environ |= before
            server.stdin.close()


def is_moto() -> bool:
    """Whether the server in use is the one started here."""
    return os.environ.get("AWS_ACCESS_KEY_ID") == _VARIABLES["AWS_ACCESS_KEY_ID"]


@contextlib.contextmanager
def fresh_bucket() -> Iterator[str]:
    """Give the name of a new bucket, which goes with all in it at the end."""
    import boto3

    client = boto3.session.Session().client("s3")
    name = f"dreamjobs-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    try:
        yield name
    finally:
        _empty(client, name)
        client.delete_bucket(Bucket=name)


def _empty(client: Any, bucket: str) -> None:
    # One by one, for a bulk delete is XML, which cannot hold every key. By the second version of the listing,
    # for Ceph loses its place in the first one after keys with a percent sign.
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    names = [found["Key"] for page in pages for found in page.get("Contents", [])]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: client.delete_object(Bucket=bucket, Key=name), names))
    for upload in client.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
        client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


Fault = str | int | None
"""What happens to a request: nothing (None), a status instead of the server's, or one of

`reset` before the server hears of it, `lost` after it did, `cut` in the middle of the answer's body.
"""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    upstream: str

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    choose: Callable[[str], Fault]

    def fault(self) -> Fault:
        """What happens to this request."""
        return self.choose(self.command)

    def handle_one(self) -> None:
        fault = self.fault()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if isinstance(fault, int):
            self._answer(fault, {}, f"<Error><Code>{_CODES[fault]}</Code></Error>".encode())
        elif fault == "reset":
            self._reset()
        else:
            status, headers, answer = self.forward(body)
            if fault == "lost":
                self._reset()
            else:
                self._answer(status, headers, answer, cut=fault == "cut")

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_one

    def log_message(self, *args: Any) -> None:
        """Stay silent."""

    def forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Ask the server, and return its status, headers and body."""
        connection = http.client.HTTPConnection(self.server.upstream, timeout=60)
        # The Host stays the proxy's, for it is part of what the client signed.
        headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), content

    def _answer(self, status: int, headers: dict[str, str], body: bytes, *, cut: bool = False) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in {"connection", "transfer-encoding", "content-length"}:
                self.send_header(name, value)
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(body))
        if status != 204:
            self.send_header("Content-Length", length)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.wfile.flush()
            self.close_connection = True

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


_CODES = {403: "AccessDenied", 409: "ConditionalRequestConflict", 503: "SlowDown"}


@contextlib.contextmanager
def broken_proxy(choose: Callable[[str], Fault]) -> Iterator[str]:
    """Give the url of a proxy to AWS_ENDPOINT_URL that asks `choose(method)` what to do to each request."""
    handler = type("Broken", (Handler,), {"choose": staticmethod(choose)})
    with proxy(handler) as url:
        yield url


@contextlib.contextmanager
def proxy(handler: type[Handler]) -> Iterator[str]:
    """Give the url of a proxy to AWS_ENDPOINT_URL whose requests `handler` handles."""
    server = Server(("127.0.0.1", 0), handler)
    server.upstream = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    serve()
