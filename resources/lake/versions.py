"""Digests of files, of their status or of their content: whether they have changed since."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from resources.object_store import Location, ObjectPath

_DIGITS = 16


def glance(files: Sequence[Location]) -> str:
    """16 hex digits of where files are, of their sizes and times: cheap to take, and the same while nothing is written."""
    return _digest(files, lambda path: " ".join(map(str, status(path))))


def state(files: Sequence[Location]) -> str:
    """16 hex digits of where files are and of all that is in them."""
    return _digest(files, _content)


def status(path: Location) -> list[int]:
    """Size, time and inode: other when a file was replaced or written to. Raises FileNotFoundError."""
    if isinstance(path, ObjectPath):
        info = path.info()
        return [info.bytes, info.modified_us]
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ino]


def _digest(files: Sequence[Location], describe: Callable[[Location], str]) -> str:
    lines = "\0".join(f"{path.parent.name}/{path.name} {describe(path)}" for path in files)
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]


def _content(path: Location) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
