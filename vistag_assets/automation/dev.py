"""`vistag dev`: Dagster's web server and daemon on the instance of a home; `vistag web`, `vistag daemon`: one alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import NoReturn

from resources.web.guard import require_token_for
from vistag_assets.automation.instance import prepare_dagster_home
from vistag_assets.automation.processes import HOST, POLL_SECONDS, interrupts_are_raised, port_answers, stop

CODE_LOCATION = "vistag_assets.definitions"
_COLOURS = re.compile(r"\x1b\[[\d;]*m")
_RECORD = re.compile(
    r"\d{4}-\d\d-\d\d [\d:]+ \S+ - "
)  # how a record of Dagster's log begins; a traceback follows it
_FAILED_TICK = re.compile(_RECORD.pattern + r"dagster\.daemon\.\w+ - ERROR - ")
_LAST_LINES_SECONDS = 5
_WEB = "vistag_assets.automation.web"


class DevError(RuntimeError):
    """The UI could not be started, or one of its processes ended."""


def serve(home: Path, port: int, on_ready: Callable[[str], None], on_line: Callable[[str], None]) -> None:
    """Run until SIGTERM, or until Ctrl-C, which raises KeyboardInterrupt; both processes and their children are gone then.

    `on_ready` is called with the URL when the server answers, `on_line` with each line that they write, without
    colours: names and words of strangers are in them. Raises DevError if the port is taken or a
    process ends by itself.
    """
    require_free(port)
    environment = {**os.environ, **prepare_dagster_home(home)}
    commands = {"the web server": _web_command(HOST, port), "the daemon": _daemon_command()}
    processes: dict[str, subprocess.Popen[bytes]] = {}
    relays: list[Thread] = []
    ending = Event()
    with interrupts_are_raised():
        try:
            for name, command in commands.items():
                # in a group of its own: Ctrl-C reaches it once, through us
                processes[name] = subprocess.Popen(
                    command,
                    env=environment,
                    start_new_session=True,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
                relays.append(Thread(target=_relay, args=(processes[name], on_line, ending), daemon=True))
                relays[-1].start()
            _wait(processes, port, on_ready)
        finally:
            ending.set()
            # a run that is not told stays "started" in Dagster for ever, and holds up the queue
            stop(processes.values(), whole_groups=True)
            for relay in relays:
                relay.join(_LAST_LINES_SECONDS)


def _relay(process: subprocess.Popen[bytes], on_line: Callable[[str], None], ending: Event) -> None:
    assert process.stdout is not None
    lines = (
        _COLOURS.sub("", line.decode("utf-8", "backslashreplace").rstrip("\n")) for line in process.stdout
    )
    for line in without_lost_ticks(lines, ending.is_set):
        on_line(line)


def without_lost_ticks(lines: Iterable[str], ending: Callable[[], bool]) -> Iterator[str]:
    """The lines of Dagster's log, less the errors of its daemon, with their tracebacks, while it is ended.

    The servers of the code end beside the daemon: a sensor that is asked then finds none. The next start asks it again.
    """
    lost = False
    for line in lines:
        if _RECORD.match(line):
            lost = ending() and _FAILED_TICK.match(line) is not None
        if not lost:
            yield line


def become_web(home: Path, host: str, port: int, names: Sequence[str] = ()) -> NoReturn:
    """Go on as Dagster's web server, in this process: a service manager sees it as it is.

    `names`: hosts that it is asked by beside those of this machine. Raises DevError if the port is taken, NoToken if
    others than this machine could ask and no token is set, StorageError where the storage of the home cannot be used.
    """
    require_free(port)
    _become(home, _web_command(host, port, require_token_for(host, names)))


def become_daemon(home: Path) -> NoReturn:
    """Go on as Dagster's daemon, which runs sensors and the queue. Raises StorageError as above."""
    _become(home, _daemon_command())


def _become(home: Path, command: list[str]) -> NoReturn:
    os.execve(command[0], command, {**os.environ, **prepare_dagster_home(home)})


def _web_command(host: str, port: int, names: Sequence[str] = ()) -> list[str]:
    allowed = [f"--allow-host={name}" for name in names]
    return [sys.executable, "-m", _WEB, "--host", host, "--port", str(port), *allowed]


def _daemon_command() -> list[str]:
    return [_program("dagster-daemon"), "run", "-m", CODE_LOCATION]


def _program(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def require_free(port: int) -> None:
    """Raises DevError where something listens there."""
    if port_answers(port):
        raise DevError(f"Port {port} is in use. Choose another: --port {port + 1}")


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
