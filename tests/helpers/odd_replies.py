"""What a server may send in place of an answer, byte by byte; drawn by program, in sizes that a test can afford."""

from __future__ import annotations

import gzip
import json
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import BaseRequestHandler, ThreadingTCPServer
from time import sleep

Pieces = Iterable[bytes]


def http(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> list[bytes]:
    """A reply of a server that closes the connection and says so, lest the next question is sent into its end."""
    size = f"Content-Length: {len(body) if length is None else length}"
    head = [f"HTTP/1.1 {status}", size, "Connection: close", *headers]
    return ["\r\n".join([*head, "", ""]).encode(), body]


def _endless(piece: bytes, first: bytes = b"HTTP/1.1 200 OK\r\n") -> Iterator[bytes]:
    yield first
    while True:
        yield piece


def _drip(first: bytes) -> Iterator[bytes]:
    """A byte each twentieth of a second: no single read waits long."""
    yield first
    while True:
        sleep(0.05)
        yield b" "


def _zeros(packed: Callable[[bytes], bytes]) -> bytes:
    return packed(bytes(2**26))


def _deflated(content: bytes) -> bytes:
    return zlib.compress(content)


BAD_JSON: dict[str, bytes] = {
    "empty": b"",
    "HTML": b"<html><body>busy</body></html>",
    "cut": b'{"choices": [',
    "no UTF-8": b'{"choices": "\xff"}',
    "lone surrogate": b'{"choices": [{"message": {"content": "a\\ud800"}}]}',
    "surrogate key": b'{"\\udfff": 1}',
    "deep lists": b"[" * 200_000,
    "deep closed lists": b"[" * 900 + b"]" * 900,
    "deep mappings": b'{"a":' * 100_000,
    "many digits": b'{"code": ' + b"9" * 5000 + b"}",
    "NaN": b'{"code": NaN}',
    "infinity": b'{"code": -Infinity}',
    "too large a number": b'{"code": 1e999}',
    "a key twice": b'{"code": 0, "code": 1}',
    "two values": b"{} {}",
}
"""Bodies that strict JSON is not."""

WRONG_HTTP: dict[str, Callable[[], Pieces]] = {
    "gzip": lambda: http(_zeros(gzip.compress), "Content-Encoding: gzip"),
    "deflate": lambda: http(_zeros(_deflated), "Content-Encoding: deflate"),
    "br": lambda: http(b"\x1b\xff\xff", "Content-Encoding: br"),
    "gzip twice": lambda: http(gzip.compress(_zeros(gzip.compress)), "Content-Encoding: gzip, gzip"),
    "gzip in the transfer": lambda: [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"3\r\nabc\r\n0\r\n\r\n",
    ],
    "body without end": lambda: _endless(b" " * 2**16, b"HTTP/1.1 200 OK\r\n\r\n"),
    "chunks without end": lambda: _endless(
        b"10000\r\n" + b" " * 2**16 + b"\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    ),
    "headers without end": lambda: _endless(b"X: y\r\n"),
    "a header without end": lambda: _endless(b"x" * 2**12, b"HTTP/1.1 200 OK\r\nX: "),
    "100 Continue without end": lambda: _endless(b"HTTP/1.1 100 Continue\r\n\r\n", b""),
    "chunked nonsense": lambda: [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"],
    "a chunk of minus one": lambda: [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n"],
    "too short": lambda: http(b"{}", length=500),
    "a length of minus one": lambda: http(b"{}", length=-1),
    "two lengths": lambda: http(b"{}", "Content-Length: 7"),
    "no HTTP": lambda: [b"SSH-2.0-OpenSSH_9.6\r\n"],
    "nothing": lambda: [],
    "dripping body": lambda: _drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"),
    "dripping headers": lambda: _drip(b"HTTP/1.1 200 OK\r\nX: "),
    "dripping chunks": lambda: _drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n"),
}
"""Replies that are none, whatever they hold."""
UNTIL_THE_TIMEOUT = {"100 Continue without end", "dripping body", "dripping headers", "dripping chunks"}
"""Those that nothing but the time for a reply ends."""


def wrong_completions() -> dict[str, object]:
    """JSON that is no chat completion."""
    good = {
        "message": {"content": "A bowl"},
        "finish_reason": "stop",
        "logprobs": {"content": [{"token": "A", "logprob": -1.0, "top_logprobs": [{"logprob": -1.0}]}]},
    }
    step = {"token": "A", "logprob": -1.0, "top_logprobs": [{"logprob": -1.0}]}
    return {
        "a list": [],
        "null": None,
        "a text": "choices",
        "choices are a text": {"choices": "abc"},
        "choices are texts": {"choices": ["a", "b"]},
        "choices are null": {"choices": [None]},
        "choices are a mapping": {"choices": {"0": good}},
        "message is null": {"choices": [good | {"message": None}]},
        "message is a text": {"choices": [good | {"message": "A bowl"}]},
        "content is a list": {"choices": [good | {"message": {"content": [{"type": "text"}]}}]},
        "content is a number": {"choices": [good | {"message": {"content": 7}}]},
        "finish_reason is a list": {"choices": [good | {"finish_reason": ["stop"]}]},
        "logprobs are a list": {"choices": [good | {"logprobs": [step]}]},
        "steps are texts": {"choices": [good | {"logprobs": {"content": ["A"]}}]},
        "a token is null": {"choices": [good | {"logprobs": {"content": [step | {"token": None}]}}]},
        "a logprob is a text": {"choices": [good | {"logprobs": {"content": [step | {"logprob": "-1"}]}}]},
        "a logprob is true": {"choices": [good | {"logprobs": {"content": [step | {"logprob": True}]}}]},
        "a logprob is huge": {"choices": [good | {"logprobs": {"content": [step | {"logprob": 1e300}]}}]},
        "others are numbers": {"choices": [good | {"logprobs": {"content": [step | {"top_logprobs": [1]}]}}]},
        "more tokens than asked for": {"choices": [good | {"logprobs": {"content": [step] * 5000}}]},
        "a text without end": {"choices": [good | {"message": {"content": "a" * 2**20}}]},
        "an error with 200": {"error": {"message": "no"}},
    }


def odd_replies() -> dict[str, Callable[[], Pieces]]:
    bodies = {f"JSON: {name}": body for name, body in BAD_JSON.items()}
    bodies |= {
        f"completion: {name}": json.dumps(value).encode() for name, value in wrong_completions().items()
    }
    return {**{name: (lambda body=body: http(body)) for name, body in bodies.items()}, **WRONG_HTTP}


@contextmanager
def raw_server(reply: Callable[[bytes], Pieces]) -> Iterator[str]:
    """Writes what `reply` makes of each request (head and body), and closes the connection; yields its address."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            asked = _request(self.request)
            try:
                for piece in reply(asked):
                    self.request.sendall(piece)
            except OSError:
                pass  # the client gave up, as it should

    class Server(ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _request(connection: object) -> bytes:
    asked = b""
    while b"\r\n\r\n" not in asked:
        if not (part := connection.recv(2**16)):  # type: ignore[attr-defined]
            return asked
        asked += part
    head, _, body = asked.partition(b"\r\n\r\n")
    lengths = [
        line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    ]
    while lengths and len(body) < int(lengths[0]):
        body += connection.recv(2**16)  # type: ignore[attr-defined]
    return head + b"\r\n\r\n" + body
