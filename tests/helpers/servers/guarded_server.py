"""Dagster's web server as `vistag dev` has it, in this process, and clients that send it what no library would."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget

from resources.web.guard import App, Guard
from vistag_assets.automation.instance import prepare_dagster_home
from vistag_assets.automation.web import guarded_app

HOST = "127.0.0.1"
Headers = Sequence[tuple[str, str]]


@contextmanager
def guarded_dagster(home: Path, names: Sequence[str] = ()) -> Iterator[tuple[Guard, DagsterInstance]]:
    """The guarded web server of a home, without a code location, and its instance."""
    dagster_home = prepare_dagster_home(home)["DAGSTER_HOME"]
    with (
        DagsterInstance.from_config(dagster_home) as instance,
        WorkspaceProcessContext(instance, workspace_load_target=EmptyWorkspaceTarget()) as context,
    ):
        yield guarded_app(context, list(names)), instance


@contextmanager
def listening(app: App | Guard) -> Iterator[int]:
    """The port on which an application answers within."""
    config = uvicorn.Config(app, host=HOST, port=0, log_level="error", proxy_headers=False, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.02)
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = server.force_exit = True
        thread.join(30)


def status(port: int, method: str, path: str, headers: Headers, body: str = "") -> int:
    """The status of the answer to a request of just these headers, and a length."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    lines += [f"Content-Length: {len(body.encode())}", "", body]
    with socket.create_connection((HOST, port), timeout=60) as connection:
        connection.sendall("\r\n".join(lines).encode())
        return int(connection.makefile("rb").readline().split()[1])


def handshake(port: int, headers: Headers, path: str = "/graphql") -> int:
    """The status of the answer to an opened WebSocket; 101 where it is taken."""
    upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Protocol", "graphql-ws"),
    ]
    return status(port, "GET", path, [*headers, *upgrade])


def routes_of(app: Any) -> list[tuple[str, str]]:
    """(method, path) of all that an application answers over HTTP, with something in the place of each parameter."""
    found = []
    for route in app.routes:
        path = getattr(route, "path", "").replace(":path", "").replace(":str", "")
        filled = "".join("x" if part.endswith("}") else part for part in _parts(path)) or "/"
        methods = getattr(route, "methods", None) or ({"GET"} if not hasattr(route, "endpoint") else set())
        found += [(method, filled) for method in sorted(methods)]
    return found


def _parts(path: str) -> list[str]:
    return path.replace("{", "\0{").replace("}", "}\0").split("\0")
