"""`vistag dev`: Dagster's web server and daemon on the instance of a home, on this machine only."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from vistag_assets.instance import prepare_dagster_home
from vistag_assets.processes import HOST, POLL_SECONDS, interrupts_are_raised, port_answers, stop

CODE_LOCATION = "vistag_assets.definitions"


class DevError(RuntimeError):
    """The UI could not be started, or one of its processes ended."""


def serve(home: Path, port: int, on_ready: Callable[[str], None]) -> None:
    """Run until interrupted (Ctrl-C, SIGTERM); both processes and their children are gone when this returns.

    `on_ready` is called with the URL when the server answers. Raises DevError if the port is taken or a
    process ends by itself.
    """
    if port_answers(port):
        raise DevError(f"Port {port} is in use. Choose another: vistag dev --port {port + 1}")
    environment = {**os.environ, **prepare_dagster_home(home)}
    commands = {
        "the web server": ["dagster-webserver", "-m", CODE_LOCATION, "-h", HOST, "-p", str(port)],
        "the daemon": ["dagster-daemon", "run", "-m", CODE_LOCATION],
    }
    processes: dict[str, subprocess.Popen[bytes]] = {}
    with interrupts_are_raised():
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
            stop(processes.values())


def _wait(processes: dict[str, subprocess.Popen[bytes]], port: int, on_ready: Callable[[str], None]) -> None:
    ready = False
    while True:
        for name, process in processes.items():
            if process.poll() is not None:
                raise DevError(f"{name} ended with code {process.returncode}; its messages are above.")
        if not ready and port_answers(port):
            ready = True
            on_ready(f"http://{HOST}:{port}")
        time.sleep(POLL_SECONDS)
