"""Reading the files of strangers: no more of them than they had when they were opened, and no more than there is room for."""

from __future__ import annotations

import errno
import gzip
import io
import os
import zlib
from pathlib import Path
from typing import BinaryIO

MAX_BYTES = 16 << 30
"""Far above any vocabulary or ground truth: the largest that people publish are some gigabytes."""
UNPACKED_AT_LEAST = 64 << 20
UNPACKED_FACTOR = 100
"""Annotations are packed to a fifth or a tenth; gzip can promise a thousand times."""
GZIP = b"\x1f\x8b"


class TooLargeError(OSError):
    """More than is read; `strerror` is a sentence that says what to do."""


def read_bounded(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes that a file had when it was opened, also where it grows meanwhile.

    Raises OSError, and TooLargeError where they are more than `max_bytes`.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise TooLargeError(
                None, f"it has {size:,} bytes, more than {max_bytes:,} are not read: split it"
            )
        return file.read(size) if size else file.read(max_bytes)  # a pipe has no size


def unpacked_start(file: BinaryIO, size: int) -> bytes:
    """The first `size` bytes of what gzip packed. Raises OSError where it is damaged."""
    try:
        with gzip.GzipFile(fileobj=file) as packed:
            return packed.read(size)
    except (EOFError, zlib.error) as error:
        raise OSError(errno.EIO, f"what gzip packed is damaged ({error})") from error


def unpacked(content: bytes) -> bytes:
    """The bytes of what gzip packed.

    Raises OSError where it is damaged, and TooLargeError where it unpacks to far more than honest files do.
    """
    room = max(UNPACKED_AT_LEAST, UNPACKED_FACTOR * len(content))
    plain = unpacked_start(io.BytesIO(content), room + 1)
    if len(plain) > room:
        raise TooLargeError(
            None,
            f"it unpacks to more than {room:,} bytes, {UNPACKED_FACTOR} times its size: unpack it yourself (gunzip) if it is meant",
        )
    return plain
