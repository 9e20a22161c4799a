"""Programs that run beside a command of vistag and end with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

HOST = "127.0.0.1"
POLL_SECONDS = 0.2
_STOP_SECONDS = 20


class _Ended(KeyboardInterrupt):
    """The end that was asked for by SIGTERM."""


@contextmanager
def interrupts_are_raised() -> Iterator[None]:
    """Within, SIGINT (Ctrl-C) raises KeyboardInterrupt; SIGTERM, as service managers send it, ends the block."""
    # SIGINT too: a shell has it ignored in what it starts in the background
    previous = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except _Ended:
        pass
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def stop(processes: Iterable[subprocess.Popen[bytes]], *, whole_groups: bool = False) -> None:
    """Have processes end, each the head of a session of its own; they and their children are gone on return.

    With `whole_groups` the children are told too, and have the same time to end in. Another Ctrl-C ends the waiting.
    """
    heads = list(processes)
    try:
        _ask_to_end(heads, whole_groups=whole_groups)
    finally:
        for process in heads:
            signal_group(process, signal.SIGKILL)
            process.wait()


def _ask_to_end(heads: Sequence[subprocess.Popen[bytes]], *, whole_groups: bool) -> None:
    for process in heads:
        if whole_groups:
            signal_group(process, signal.SIGINT)
        elif process.poll() is None:
            process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + _STOP_SECONDS
    for process in heads:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
        while whole_groups and signal_group(process, 0) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)


def tell_ready() -> None:
    """Tell systemd that the service is ready, where it waits for that (Type=notify)."""
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.sendto(b"READY=1", "\0" + address[1:] if address.startswith("@") else address)


def port_answers(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    with socket.socket() as connection:
        connection.settimeout(POLL_SECONDS)
        return connection.connect_ex((HOST, port)) == 0


def signal_group(head: subprocess.Popen[bytes], number: int) -> bool:
    """Send a signal to a session's processes, or none (0); whether there were any."""
    try:
        os.killpg(head.pid, number)
    except ProcessLookupError:
        return False
    return True


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise _Ended if number == signal.SIGTERM else KeyboardInterrupt
