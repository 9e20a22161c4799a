"""Programs that run beside a command of vistag and end with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

HOST = "127.0.0.1"
POLL_SECONDS = 0.2
_STOP_SECONDS = 20


@contextmanager
def interrupts_are_raised() -> Iterator[None]:
    """Within, SIGINT and SIGTERM raise KeyboardInterrupt."""
    # SIGINT too: a shell has it ignored in what it starts in the background
    previous = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def stop(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """Have processes end, each the head of a session of its own; they and their children are gone on return."""
    heads = list(processes)
    for process in heads:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + _STOP_SECONDS
    for process in heads:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def port_answers(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    with socket.socket() as connection:
        connection.settimeout(POLL_SECONDS)
        return connection.connect_ex((HOST, port)) == 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
