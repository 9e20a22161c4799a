"""Digests of files, of their status or of their content: whether they have changed since."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from resources.object_store import Location, ObjectPath

_DIGITS = 16


def glance(files: Sequence[Location]) -> str:
    """16 hex digits of where files are, of their sizes and times: cheap to take, and the same while nothing is written."""
    return _digest(files, _status)


def state(files: Sequence[Location]) -> str:
    """16 hex digits of where files are and of all that is in them."""
    return _digest(files, _content)


def _digest(files: Sequence[Location], describe: Callable[[Location], str]) -> str:
    lines = "\0".join(f"{path.parent.name}/{path.name} {describe(path)}" for path in files)
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]


def _status(path: Location) -> str:
    if isinstance(path, ObjectPath):
        info = path.info()
        return f"{info.bytes} {info.modified_us}"
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def _content(path: Location) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
