"""The application behind its guard, on a port of this machine, and a client of it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from guarded_server import HOST, listening

from resources.home import Home
from vistag_assets.app.server import guarded_app


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Client:
    port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def get(self, path: str, **headers: str) -> Reply:
        return self._ask("GET", path, None, headers)

    def post(self, path: str, body: object, **headers: str) -> Reply:
        """`body`: bytes as they are, anything else as JSON."""
        if isinstance(body, bytes):
            return self._ask("POST", path, body, headers)
        return self._ask(
            "POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"} | headers
        )

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=300)
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            named: dict[str, str] = {}
            for name, value in answer.getheaders():
                named[name.lower()] = ", ".join(filter(None, [named.get(name.lower()), value]))
            return Reply(answer.status, named, answer.read())
        finally:
            connection.close()


@contextmanager
def listening_app(home: Home) -> Iterator[Client]:
    with listening(guarded_app(home)) as port:
        yield Client(port)
