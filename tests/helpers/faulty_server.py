"""A server in this process that speaks OpenAI's chat protocol over HTTP and fails as it is told.

It knows no model: what real ones do is told by tests/resources/models/vlms/test_vllm.py.
"""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image

from resources.models.tiers import load_tier


@dataclass(frozen=True)
class Asked:
    """One request."""

    body: dict[str, Any]
    headers: dict[str, str]
    """by lower-case name"""
    at: float
    """seconds"""

    @property
    def image(self) -> Image.Image:
        [picture, _] = self.body["messages"][-1]["content"]
        data = picture["image_url"]["url"].removeprefix("data:image/png;base64,")
        return Image.open(io.BytesIO(base64.b64decode(data)))

    @property
    def prompt(self) -> str:
        return str(self.body["messages"][-1]["content"][1]["text"])


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    after_s: float = 0.0
    drops: bool = False
    """the connection, instead of an answer"""


def said(*tokens: str, finish: str = "stop", logprob: float = -0.5, **changes: object) -> Reply:
    """A good answer of some tokens; `changes` to its choice make it a worse one."""
    steps = [
        {
            "token": token,
            "logprob": logprob,
            "bytes": list(token.encode()),
            "top_logprobs": [
                {"token": other, "logprob": logprob - rank, "bytes": None} for rank, other in enumerate("abc")
            ],
        }
        for token in tokens
    ]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "".join(tokens)},
        "finish_reason": finish,
        "logprobs": {"content": steps},
    } | changes
    return Reply(
        body={"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    )


@dataclass
class FaultyServer:
    """Asks `behave` what to reply to each request; keeps what it was asked."""

    behave: Callable[[Asked], Reply]
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    at_once: int = 0
    """requests in work now"""
    most_at_once: int = 0
    connections: int = 0
    """since it was started"""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def attempts(self, prompt: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.prompt == prompt]

    def take(self, asked: Asked) -> Reply:
        with self._lock:
            self.asked.append(asked)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            reply = self.behave(asked)
            time.sleep(reply.after_s)
        finally:
            with self._lock:
                self.at_once -= 1
        return reply


@contextmanager
def faulty_server(behave: Callable[[Asked], Reply]) -> Iterator[FaultyServer]:
    server = FaultyServer(behave)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            server.connections += 1
            super().setup()

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = server.take(
                Asked(body, {k.lower(): v for k, v in self.headers.items()}, time.monotonic())
            )
            if reply.drops:
                self.connection.close()
                self.close_connection = True
                return
            content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64  # many connect at once

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a client that gave up

    http = Quiet(("127.0.0.1", 0), Handler)
    server.port = http.server_port
    threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()


def write_tier(directory: Path, vlm: dict[str, object]) -> Path:
    encoder = load_tier("demo").encoder.model_dump()
    tier = {"description": "served", "device": "cpu", "encoder": encoder}
    path = directory / "served.yaml"
    path.write_text(json.dumps(tier | {"vlm": {"model": "some/model", "licence": "MIT"} | vlm}))
    return path
