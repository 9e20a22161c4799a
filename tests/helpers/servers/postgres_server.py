"""Debian's PostgreSQL on a port of this machine, with a database for one home."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from services import free_port, wait_for

_PASSWORD = "it's a p@ss:word/%41"
_USER = "postgres"
"""Who runs the server where the tests run as root, which it refuses."""


@contextmanager
def postgres_server() -> Iterator[dict[str, str]]:
    """The variables that deploy/dagster-postgres.yaml reads; skips where there is no server to start."""
    programs = max(
        Path("/usr/lib/postgresql").glob("*/bin"), default=None, key=lambda path: int(path.parent.name)
    )
    if programs is None:
        pytest.skip("there is no PostgreSQL on this machine: apt-get install postgresql")
    become = ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--init-groups"] if os.geteuid() == 0 else []
    # not below pytest's directory, into which no other user may look
    with tempfile.TemporaryDirectory(prefix="vistag-postgres-") as directory:
        data, secret = Path(directory) / "data", Path(directory) / "password"
        secret.write_text(_PASSWORD)
        if become:
            for path in (Path(directory), secret):
                shutil.chown(path, _USER, _USER)
        port = str(free_port())
        made = [*become, str(programs / "initdb"), "-D", str(data), "-U", "vistag", "--no-sync"]
        subprocess.run(
            [*made, "--auth=scram-sha-256", f"--pwfile={secret}"], check=True, capture_output=True, cwd="/"
        )
        options = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            "fsync": "off",
        }
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (Path(directory) / "log").open("wb") as log:
            server = subprocess.Popen(
                [*become, str(programs / "postgres"), "-D", str(data), *settings], stderr=log, cwd="/"
            )
        try:
            at = ["-h", "127.0.0.1", "-p", port]
            wait_for(lambda: subprocess.run([programs / "pg_isready", "-q", *at]).returncode == 0)
            subprocess.run(
                [programs / "createdb", *at, "-U", "vistag", "vistag"],
                check=True,
                env=os.environ | {"PGPASSWORD": _PASSWORD},
            )
            yield {
                "VISTAG_PG_HOST": "127.0.0.1",
                "VISTAG_PG_PORT": port,
                "VISTAG_PG_DATABASE": "vistag",
                "VISTAG_PG_USER": "vistag",
                "VISTAG_PG_PASSWORD": _PASSWORD,
            }
        finally:
            server.send_signal(signal.SIGINT)  # a fast shutdown: connections are closed
            server.wait(60)
