"""The process that decodes: it gets one file at a time, and may take neither long nor much memory.

What strangers' files can make of a decoder written in C ends here. A process has no secrets in its environment, ends
itself at the limit of time, and before the first file gives up all but memory, the files that it is handed, and this
socket (sandbox.py). Messages are JSON, pixels are plain bytes: nothing that could run code in the process that reads
them.
"""

import json
import os
import resource
import signal
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from importlib import import_module
from io import BytesIO
from pathlib import Path
from socket import CMSG_LEN, SCM_RIGHTS, SOL_SOCKET, socket
from typing import Any, BinaryIO

import pillow_heif
from PIL import AvifImagePlugin, Image

from resources.images import by_imagecodecs, sandbox
from resources.images.budget import BYTES_A_PIXEL, SPARE_BYTES
from resources.images.decode import decode_to_proxy
from resources.images.metadata import Described, described_from, read_embedded, read_sidecar
from resources.images.picture import Decoded, Limits, needs_too_much
from resources.images.rejects import Reject

IDLE_S = 60
"""After this long without a file a process ends, and gives its memory back."""
DECODER_THREADS = (
    4  # of one picture; more would count against the limits of a process, not make a folder faster
)
MAX_MESSAGE_BYTES = 1024 * 1024
LOADED_ON_THE_WAY = (
    *("rawpy", "tifffile", "tifffile.geodb", "xml.etree.ElementTree", "mmap", "tempfile", "uuid"),
    *("PIL.ImageColor", "PIL.ImageFilter", "PIL.ImagePalette", "PIL.MpoImagePlugin", "PIL.TiffTags"),
    *("encodings.ascii", "encodings.cp1252", "encodings.latin_1", "encodings.utf_16", "encodings.utf_32"),
    *("_strptime", "numpy.ma", "zlib"),
)
"""modules that decoders import when they first need them"""
PICTURE, SIDECAR = "picture", "sidecar"
"""What a file is that is only asked what people said in it."""
_HEAD = struct.Struct(">I")


def send(connection: socket, message: dict[str, Any], *payload: bytes | memoryview) -> None:
    """A message, and bytes behind it, of which it says how many there are. Raises OSError."""
    text = json.dumps(message).encode()
    connection.sendall(_HEAD.pack(len(text)) + text)
    for part in payload:
        connection.sendall(part)


def receive(connection: socket) -> dict[str, Any]:
    """The next message. Raises EOFError if the other end is gone, ValueError if it is none, TimeoutError, OSError."""
    (length,) = _HEAD.unpack(receive_exactly(connection, _HEAD.size))
    if length > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {length} bytes")
    message = json.loads(receive_exactly(connection, length))
    if not isinstance(message, dict):
        raise ValueError(f"{message!r} is no message")
    return message


def receive_exactly(connection: socket, length: int) -> bytearray:
    """That many bytes. Raises EOFError if the other end is gone before."""
    received = bytearray(length)
    rest = memoryview(received)
    while rest:
        count = connection.recv_into(rest)
        if count == 0:
            raise EOFError("the other end is gone")
        rest = rest[count:]
    return received


def serve(descriptor: int) -> None:
    """Decode what comes through the socket `descriptor` until its other end is closed, or nothing came for long."""
    # Ctrl-C reaches every process of a terminal; this one ends when the one it works for does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    with suppress(OSError):  # where memory ends, the system ends this process, and not the run
        Path("/proc/self/oom_score_adj").write_text("1000")
    for unwanted in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(unwanted, (0, 0))
    AvifImagePlugin.DEFAULT_MAX_THREADS = DECODER_THREADS
    pillow_heif.options.DECODE_THREADS = DECODER_THREADS
    _load_all()
    own_bytes = _address_space()
    nowhere = _close_all_but(descriptor)
    with socket(fileno=descriptor) as connection:
        held_by = sandbox.enter()
        for number in (0, 1, 2):  # last, so that somebody hears what keeps this process from starting
            os.dup2(nowhere, number)
        os.close(nowhere)
        send(connection, {"ready": True, "held_by": held_by})
        while True:
            connection.settimeout(IDLE_S)
            try:
                job = receive(connection)
            except (EOFError, OSError):
                return
            connection.settimeout(None)
            try:
                _answer(connection, job, own_bytes)
            except OSError:  # nobody waits for the answer any more
                return


def _load_all() -> None:
    """Whatever decoders load or look up on their way: later nothing can be opened."""
    for module in LOADED_ON_THE_WAY:
        import_module(module)
    by_imagecodecs.load_all()
    time.localtime()  # the time zone


def _close_all_but(descriptor: int) -> int:
    """Keep nothing that was inherited; returns what to put in the place of a log or a terminal.

    A decoder written in C tells of a file as often as that file has it, by no name or a wrong one: nobody needs to hear it.
    """
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))
    return os.open(os.devnull, os.O_RDWR)


def _answer(connection: socket, job: dict[str, Any], own_bytes: int) -> None:
    limits = Limits(**job["limits"])
    with _source(connection, job) as source:
        signal.setitimer(signal.ITIMER_PROF, limits.max_decode_s)
        base_bytes = own_bytes + SPARE_BYTES + 2 * source.seek(0, 2)
        try:
            if about := job.get("about"):
                _Asking(connection, base_bytes, 0)
                send(connection, {"described": _described(source, about).facts()})
                return
            decoded = _decoded(source, limits, _Asking(connection, base_bytes, int(job["pixels"])))
        except Reject as reject:
            send(connection, {"code": reject.code, "reason": reject.reason})
        except ImportError as error:  # no fault of the file
            send(connection, {"unavailable": str(error)})
        else:
            send(connection, _facts(decoded), decoded.image.tobytes())
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)


def _described(source: BinaryIO, about: str) -> Described:
    source.seek(0)
    return read_sidecar(source.read()) if about == SIDECAR else read_embedded(source)


def _decoded(source: BinaryIO, limits: Limits, asking: "_Asking") -> Decoded:
    """Decode under a bound of memory by what the file says that it holds; where that was too little, by all there is.
    Decoders do not always own up to a lack of memory."""
    try:
        try:
            return decode_to_proxy(source, limits, asking)
        except Reject as reject:
            if not asking.may_be_short or reject.code not in ("out_of_memory", "damaged", "unsupported"):
                raise
        return decode_to_proxy(source, limits, asking.for_all())
    except Reject as reject:
        if reject.code == "out_of_memory":
            raise needs_too_much(asking.bound_bytes, limits) from reject
        raise


@contextmanager
def _source(connection: socket, job: dict[str, Any]) -> Iterator[BinaryIO]:
    """The file: its bytes, which follow the message, or for a large one its descriptor."""
    if "bytes" in job:
        yield BytesIO(receive_exactly(connection, job["bytes"]))
        return
    _, ancillary, _, _ = connection.recvmsg(1, CMSG_LEN(struct.calcsize("i")))
    ((level, kind, data),) = ancillary
    assert (level, kind) == (SOL_SOCKET, SCM_RIGHTS)
    (descriptor,) = struct.unpack("i", data)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor has no path
        yield file


class _Asking:
    """The budget of pixels is kept by the process that hands out the files; `pixels` are all that it has. What this
    process may map is `base_bytes` and what the pixels take that it asked for."""

    def __init__(self, connection: socket, base_bytes: int, pixels: int) -> None:
        self._connection, self._base_bytes, self._pixels = connection, base_bytes, pixels
        self._held, self._takes_all = 0, False
        self._bound()

    @property
    def bound_bytes(self) -> int:
        return self._base_bytes + BYTES_A_PIXEL * self._held

    @property
    def may_be_short(self) -> bool:
        """Whether a sound picture may take more: a large one, or one that did not come to say how large it is."""
        return self._held == 0 or SPARE_BYTES // 4 < BYTES_A_PIXEL * self._held < BYTES_A_PIXEL * self._pixels

    def for_all(self) -> "_Asking":
        """As one that asks for all of the budget, before the file is opened."""
        self._takes_all = True
        self._ask(self._pixels)
        return self

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Wait until that process grants the pixels; they are given back with the answer."""
        if not self._takes_all:
            self._ask(min(pixels, self._pixels))
        yield

    def _ask(self, pixels: int) -> None:
        send(self._connection, {"hold": pixels})
        receive(self._connection)
        self._held = pixels
        self._bound()

    def _bound(self) -> None:
        if sys.platform == "linux":  # others refuse or ignore it
            _, most = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (self.bound_bytes, most))


def _facts(decoded: Decoded) -> dict[str, Any]:
    facts = {name: getattr(decoded, name) for name in FACTS}
    taken_at = decoded.taken_at.isoformat() if decoded.taken_at else None
    return {
        **facts,
        "taken_at": taken_at,
        "notes": decoded.notes,
        "described": decoded.described.facts(),
        "width": decoded.image.width,
        "height": decoded.image.height,
    }


FACTS = {
    "source_width_px": int,
    "source_height_px": int,
    "decoded_width_px": int,
    "decoded_height_px": int,
    "format": str,
    "mode": str,
    "frames": int,
    "phash": int,
    "pixel_hash": str,
    "colour": str,
}


def decoded_from(facts: dict[str, Any], pixels: bytearray) -> Decoded:
    """What a process told, checked as what a stranger says. Raises KeyError, TypeError or ValueError."""
    for name, kind in FACTS.items():
        if type(facts[name]) is not kind:
            raise TypeError(f"{name} is {facts[name]!r}")
    taken_at, notes = facts["taken_at"], facts["notes"]
    if type(notes) is not list or not all(type(note) is str for note in notes):
        raise TypeError(f"notes are {notes!r}")
    return Decoded(
        **{name: facts[name] for name in FACTS},
        image=Image.frombytes("RGB", (facts["width"], facts["height"]), pixels),
        taken_at=datetime.fromisoformat(taken_at) if taken_at is not None else None,
        notes=tuple(notes),
        described=described_from(facts["described"]),
    )


def job_of(limits: Limits, pixels: int, about: str | None = None) -> dict[str, Any]:
    """The message that a file comes with; `pixels` may be asked for at most. `about`: nothing is decoded, and the answer
    is what people said in a picture's file, or in a sidecar."""
    return {"limits": asdict(limits), "pixels": pixels, "about": about}


def _address_space() -> int:
    """Bytes that this process has mapped; 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[0]) * resource.getpagesize() if statm.exists() else 0
