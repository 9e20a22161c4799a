"""`vistag dev`: Dagster's web server and daemon on the instance of a home, on this machine only."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from vistag_assets.instance import prepare_dagster_home

HOST = "127.0.0.1"
_MODULE = "vistag_assets.definitions"
_STOP_SECONDS = 20
_POLL_SECONDS = 0.2


class DevError(RuntimeError):
    """The UI could not be started, or one of its processes ended."""


def serve(home: Path, port: int, on_ready: Callable[[str], None]) -> None:
    """Run until interrupted (Ctrl-C, SIGTERM); both processes and their children are gone when this returns.

    `on_ready` is called with the URL when the server answers. Raises DevError if the port is taken or a
    process ends by itself.
    """
    if _answers(port):
        raise DevError(f"Port {port} is in use. Choose another: vistag dev --port {port + 1}")
    environment = {**os.environ, **prepare_dagster_home(home)}
    commands = {
        "the web server": ["dagster-webserver", "-m", _MODULE, "-h", HOST, "-p", str(port)],
        "the daemon": ["dagster-daemon", "run", "-m", _MODULE],
    }
    # SIGINT too: a shell has it ignored in what it starts in the background
    previous = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, (program, *arguments) in commands.items():
            # in a group of its own: Ctrl-C reaches it once, through us
            processes[name] = subprocess.Popen(
                [str(Path(sys.executable).parent / program), *arguments],
                env=environment,
                start_new_session=True,
            )
        _wait(processes, port, on_ready)
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _stop(processes)


def _wait(processes: dict[str, subprocess.Popen[bytes]], port: int, on_ready: Callable[[str], None]) -> None:
    ready = False
    while True:
        for name, process in processes.items():
            if process.poll() is not None:
                raise DevError(f"{name} ended with code {process.returncode}; its messages are above.")
        if not ready and _answers(port):
            ready = True
            on_ready(f"http://{HOST}:{port}")
        time.sleep(_POLL_SECONDS)


def _stop(processes: dict[str, subprocess.Popen[bytes]]) -> None:
    for process in processes.values():
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + _STOP_SECONDS
    for process in processes.values():
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _answers(port: int) -> bool:
    with socket.socket() as connection:
        connection.settimeout(_POLL_SECONDS)
        return connection.connect_ex((HOST, port)) == 0
