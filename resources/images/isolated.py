"""Decoding in processes of their own: whatever a file does to a decoder costs that one file.

Why: docs/decisions/0009-decoding-in-processes.md. The processes are started when they are needed, one for each thread
that decodes, and kept for the next file; child.py is what they run.
"""

import atexit
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from socket import send_fds, socket, socketpair
from typing import Any, BinaryIO, TypeVar

from resources.images import sandbox
from resources.images.budget import PixelBudget
from resources.images.child import PICTURE, SIDECAR, decoded_from, job_of, receive, receive_exactly, send
from resources.images.metadata import Described, described_from
from resources.images.picture import Decoded, Limits
from resources.images.rejects import Reject

START_S = 120
END_S = 10
"""A process that hung up is gone after this long, or is killed."""
WAIT_FACTOR = 10
"""A process that does not even use the processor is given up after this many times `max_decode_s`."""
IMPORTABLE = Path(__file__).parents[2]
# Nothing else of the environment reaches a decoder: keys to services are kept there.
ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "LANG", "LC_ALL", "TMPDIR")
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}

CRASHED = (
    "decoder_crashed",
    "The program that decodes such files crashed on it ({how}). It is damaged, or made to do harm: open it in an "
    "image program you trust, export it again, or move it out of the library.",
)
TOO_SLOW = (
    "too_slow",
    "Decoding it took longer than {limit:g} seconds of the processor. If it is genuine, raise max_decode_s, or export "
    "it again as JPEG or PNG.",
)
KILLED = (
    "out_of_memory",
    "The system ended the process that decoded it, most likely for lack of memory. Free some, or use fewer workers; "
    "the next run tries again.",
)
CANNOT_START = "A process that decodes images could not be started ({}). Check that {} may be run and can import resources.images."


Answer = TypeVar("Answer")


class DecoderUnavailable(RuntimeError):
    """No process that decodes could be started: a fault of the installation, not of a file."""


def decode_isolated(source: BinaryIO, limits: Limits, budget: PixelBudget | None = None) -> Decoded:
    """What `decode_to_proxy` does, in another process.

    `source` is a file, or its bytes in memory. Raises Reject for whatever keeps the file from being used, also where
    a decoder takes more than `max_decode_s` (`too_slow`) or crashes (`decoder_crashed`). Raises DecoderUnavailable.
    """
    pixels = budget or PixelBudget(limits.max_pixels)
    return _asked(lambda child: child.decode(source, limits, pixels))


def describe_isolated(source: BinaryIO, limits: Limits, *, is_sidecar: bool = False) -> Described:
    """What people said in a picture's file, or in a sidecar, read in another process. Raises as `decode_isolated` does."""
    return _asked(lambda child: child.describe(source, limits, SIDECAR if is_sidecar else PICTURE))


def _asked(ask: "Callable[[_Child], Answer]") -> "Answer":
    """The answer of a process to a file; the process is kept for the next one if it may be."""
    while True:
        child = _taken()
        try:
            answer = ask(child)
        except _WentHome:
            continue
        except Reject as reject:
            if child.is_usable and reject.code != "out_of_memory":  # what it lacked, others may hold
                _IDLE.append(child)
            else:
                child.kill()
            raise
        except BaseException:
            child.kill()
            raise
        _IDLE.append(child)
        return answer


def sandboxed_by() -> list[str]:
    """What keeps a decoder that was taken over from this system: `seccomp`, `landlock`. Raises DecoderUnavailable."""
    child = _taken()
    _IDLE.append(child)
    return child.held_by


class _WentHome(Exception):
    """The process had ended before it got the file, for want of work."""


class _Child:
    """One process, asked by one thread at a time."""

    def __init__(self) -> None:
        self.is_usable = True
        self._is_new = True
        sandbox.hide_this_process()
        self._connection, theirs = socketpair()
        with theirs:
            try:
                self._process = _start(theirs.fileno())
            except OSError as error:
                raise DecoderUnavailable(CANNOT_START.format(error, sys.executable)) from error
        self._connection.settimeout(START_S)
        try:
            self.held_by = [str(part) for part in receive(self._connection)["held_by"]]
        except (EOFError, OSError) as error:
            self.kill()
            raise DecoderUnavailable(CANNOT_START.format(error, sys.executable)) from error

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def decode(self, source: BinaryIO, limits: Limits, budget: PixelBudget) -> Decoded:
        return self._heard(limits, lambda: self._ask(source, limits, budget))

    def describe(self, source: BinaryIO, limits: Limits, about: str) -> Described:
        return self._heard(limits, lambda: self._ask_about(source, limits, about))

    def _heard(self, limits: Limits, ask: Callable[[], Answer]) -> Answer:
        self._connection.settimeout(WAIT_FACTOR * limits.max_decode_s)
        try:
            return ask()
        except (EOFError, ConnectionError) as error:
            raise self._ended(limits) from error
        except TimeoutError as error:
            self.is_usable = False
            raise Reject(TOO_SLOW[0], TOO_SLOW[1].format(limit=limits.max_decode_s)) from error
        except (KeyError, TypeError, ValueError) as error:
            self.is_usable = False
            raise Reject(CRASHED[0], CRASHED[1].format(how="it answered nonsense")) from error
        finally:
            self._is_new = False

    def _ask(self, source: BinaryIO, limits: Limits, budget: PixelBudget) -> Decoded:
        _hand_over(self._connection, source, job_of(limits, budget.pixels))
        answer = receive(self._connection)
        while "hold" in answer:  # again where a second decoder is asked: what the first held it holds no more
            pixels = int(answer["hold"])
            if not 0 <= pixels <= budget.pixels:
                raise ValueError(f"{pixels} pixels are not to be had")
            with budget.hold(pixels):
                send(self._connection, {})
                answer = receive(self._connection)
        if "unavailable" in answer:
            raise DecoderUnavailable(CANNOT_START.format(answer["unavailable"], sys.executable))
        if "code" in answer:
            raise Reject(str(answer["code"]), str(answer["reason"]))
        width, height = int(answer["width"]), int(answer["height"])
        if not 0 < max(width, height) <= limits.proxy_max_side_px:
            raise ValueError(f"a proxy of {width} x {height} pixels")
        return decoded_from(answer, receive_exactly(self._connection, 3 * width * height))

    def _ask_about(self, source: BinaryIO, limits: Limits, about: str) -> Described:
        _hand_over(self._connection, source, job_of(limits, 0, about))
        return described_from(receive(self._connection)["described"])

    def _ended(self, limits: Limits) -> Exception:
        """What the end of the process says of the file."""
        self.is_usable = False
        try:
            code = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return Reject(CRASHED[0], CRASHED[1].format(how="it hung up"))
        if code == 0 and not self._is_new:
            return _WentHome()
        if code == -signal.SIGPROF:
            return Reject(TOO_SLOW[0], TOO_SLOW[1].format(limit=limits.max_decode_s))
        if code == -signal.SIGKILL:
            return Reject(*KILLED)
        how = signal.Signals(-code).name if code < 0 else f"code {code}"
        return Reject(CRASHED[0], CRASHED[1].format(how=how))

    def hang_up(self) -> None:
        """It ends at that."""
        self._connection.close()

    def wait(self) -> None:
        self._process.wait()

    def kill(self) -> None:
        self.hang_up()
        self._process.kill()
        self.wait()


# The package without what its __init__ imports: a decoder needs no lake, whose libraries start threads.
CODE = """
import sys, types
package = sys.modules["resources.images"] = types.ModuleType("resources.images")
package.__path__ = [{folder!r}]
from resources.images.child import serve
serve({descriptor})
"""


def _start(descriptor: int) -> subprocess.Popen[bytes]:
    code = CODE.format(folder=str(Path(__file__).parent), descriptor=descriptor)
    return subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-W",
            "ignore",
            "-c",
            code,
        ],  # -P: nothing is imported from where vistag is run
        pass_fds=[descriptor],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=_environment(),
    )


def _hand_over(connection: socket, source: BinaryIO, job: dict[str, Any]) -> None:
    if isinstance(source, BytesIO):
        content = source.getbuffer()
        send(connection, {**job, "bytes": len(content)}, content)
    else:
        send(connection, job)
        with _for_reading(source.fileno()) as descriptor:
            send_fds(connection, [b"\0"], [descriptor])


@contextmanager
def _for_reading(descriptor: int) -> Iterator[int]:
    """The same file, by a descriptor that it cannot be written through."""
    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        yield descriptor
        return
    folder = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"
    again = os.open(f"{folder}/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield again
    finally:
        os.close(again)


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    paths = [str(IMPORTABLE), *filter(None, [kept.get("PYTHONPATH")])]
    return {**kept, **THREADS, "PYTHONPATH": os.pathsep.join(paths)}


_IDLE: list[_Child] = []


def _taken() -> _Child:
    with suppress(IndexError):
        while not (child := _IDLE.pop()).is_alive:
            child.hang_up()
        return child
    return _Child()


@atexit.register
def close_all() -> None:
    """End the processes that wait for a file."""
    waiting = _IDLE[:]
    _IDLE.clear()
    for child in waiting:
        child.hang_up()
    for child in waiting:
        child.wait()


# A copy of this process must not speak into the same sockets.
os.register_at_fork(after_in_child=_IDLE.clear)
