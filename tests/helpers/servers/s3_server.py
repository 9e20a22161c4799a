"""An S3 server of its own process (moto's), and a proxy before it that fails and slows down as it is told."""

from __future__ import annotations

import contextlib
import math
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

BUCKET = "museum"
CHUNK_BYTES = 64 * 1024


@dataclass
class Server:
    """moto's server. `stop` ends it; what it held is lost then."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> Any:
        import boto3

        return boto3.client("s3", endpoint_url=self.url)

    def keys(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def upload(server: Server, directory: Path, prefix: str) -> None:
    """The files below a directory, as objects whose keys begin with `prefix`."""
    for file in sorted(path for path in directory.rglob("*") if path.is_file()):
        key = f"{prefix}/{file.relative_to(directory).as_posix()}"
        server.client.put_object(Bucket=BUCKET, Key=key, Body=file.read_bytes())


def environment(url: str) -> dict[str, str]:
    """What names the store to vistag, and nothing else does."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "AKIATESTING",
        "AWS_SECRET_ACCESS_KEY": "not-to-be-told",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextmanager
def running_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server on a free port with an empty bucket, which the environment of this process names."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    server = Server(port, process)
    for name, value in environment(server.url).items():
        monkeypatch.setenv(name, value)
    try:
        _wait_for(port)
        server.client.create_bucket(Bucket=BUCKET)
        yield server
    finally:
        server.stop()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    end_s = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end_s:
                raise
            time.sleep(0.05)


@dataclass(frozen=True)
class Request:
    """One request; `query` is what follows the question mark."""

    method: str
    path: str
    query: str


@dataclass
class Proxy:
    """Stands before a server and hands everything on, unless it is told otherwise.

    `refuse`: the status and the code of S3 with which a request is answered, None to hand it on.
    `before_reply`: called when the server has answered and before that is passed on.
    `pause_s`: how long each chunk of 64 KiB of what is uploaded is held back. `holds_at_bytes`: where uploads stand still.
    """

    url: str
    refuse: Callable[[Request], tuple[int, str] | None] = lambda request: None
    before_reply: Callable[[Request], None] = lambda request: None
    pause_s: float = 0.0
    holds_at_bytes: float = math.inf
    requests: list[Request] = field(default_factory=list)
    uploaded_bytes: int = 0


@contextmanager
def proxied(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The proxy on a free port, which the environment names from now on; one request a connection."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            received = b""
            while b"\r\n\r\n" not in received:
                chunk = self.request.recv(CHUNK_BYTES)
                if not chunk:
                    return
                received += chunk
            head, _, body = received.partition(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
            path, _, query = target.partition("?")
            request = Request(method, path, query)
            proxy.requests.append(request)
            if refused := proxy.refuse(request):
                self.request.sendall(_refusal(*refused, with_body=method != "HEAD"))
                return
            with socket.create_connection(("127.0.0.1", server.port)) as upstream:
                upstream.sendall(head + b"\r\nConnection: close\r\n\r\n" + body)
                upload = threading.Thread(target=self._pass_up, args=[upstream], daemon=True)
                upload.start()
                answer = upstream.recv(CHUNK_BYTES)
                proxy.before_reply(request)
                while answer:
                    self.request.sendall(answer)
                    answer = upstream.recv(CHUNK_BYTES)

        def _pass_up(self, upstream: socket.socket) -> None:
            """Until the client ends, or is killed: the server then sees no more of it either."""
            with contextlib.suppress(OSError):
                while chunk := self.request.recv(CHUNK_BYTES):
                    time.sleep(proxy.pause_s)
                    while proxy.uploaded_bytes >= proxy.holds_at_bytes:
                        time.sleep(0.05)
                    upstream.sendall(chunk)
                    proxy.uploaded_bytes += len(chunk)
            with contextlib.suppress(OSError):
                upstream.shutdown(socket.SHUT_WR)

    class Listener(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, request: object, client_address: object) -> None:
            """A client or a server that was killed."""

    listener = Listener(("127.0.0.1", 0), Handler)
    proxy = Proxy(f"http://127.0.0.1:{listener.server_address[1]}")
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        listener.shutdown()
        listener.server_close()
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)


def _refusal(status: int, code: str, *, with_body: bool) -> bytes:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>as told</Message></Error>".encode()
    head = (
        f"HTTP/1.1 {status} Told\r\nContent-Type: application/xml\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (body if with_body else b"")
