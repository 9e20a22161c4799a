"""A server on loopback that publishes files as the hosts of public data do: by ranges, with ETags, breaking off as it is told."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Publisher:
    """What it publishes, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    """path -> content"""
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    """path -> what is said besides, in place of an ETag"""
    breaks: dict[str, int] = field(default_factory=dict)
    """path -> after how many bytes the connection is cut, once"""
    statuses: dict[str, list[int]] = field(default_factory=dict)
    """path -> what is answered first, one a request"""
    redirects: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """(path, Range)"""
    url: str = ""


@contextmanager
def publishing(publisher: Publisher) -> Iterator[Publisher]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, publisher)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    publisher.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield publisher
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(request: BaseHTTPRequestHandler, publisher: Publisher) -> None:
    path, wanted = request.path, request.headers.get("Range")
    publisher.asked.append((path, wanted))
    request.close_connection = True
    if statuses := publisher.statuses.get(path):
        return head(request, statuses.pop(0), {"Content-Length": "0"})
    if to := publisher.redirects.get(path):
        return head(request, 302, {"Location": to, "Content-Length": "0", **publisher.headers.get(path, {})})
    content = publisher.files.get(path)
    if content is None:
        return head(request, 404, {"Content-Length": "0"})
    etag = f'"{hashlib.md5(content).hexdigest()}"'
    said = publisher.headers.get(path, {"ETag": etag})
    start = 0
    if wanted and request.headers.get("If-Range") == said.get("ETag"):
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
    part = content[start:]
    head(request, 206 if start else 200, {**said, "Content-Length": str(len(part))})
    request.wfile.write(part[: publisher.breaks.pop(path, len(part))])
    return None


def head(request: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
    request.send_response(status)
    for name, value in {**headers, "Connection": "close"}.items():
        request.send_header(name, value)
    request.end_headers()
