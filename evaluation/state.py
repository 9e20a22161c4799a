"""What an evaluation is of: the ground truth and the tags that it is held against, as one short text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from resources.home import Home
from resources.object_store import Location, ObjectPath

EVALUATED_STATE = "evaluated_state"
"""The metadata of `tag_recall` that say what it was of."""
_DIGITS = 16


def evaluated_files(home: Home, library: str | None) -> list[Location]:
    """The ground truth, and the tags of each folder of its library (None: of any), in a fixed order.

    Empty where there is no ground truth, or nothing to hold against it.
    """
    lake, truth = home.lake, home.ground_truth_path
    if not truth.is_file():
        return []
    tagged = set(lake.folders("tags"))
    if library is not None:
        tagged &= {folder.key for folder in home.folders() if folder.library == library}
    return [truth, *(lake.data_file("tags", key) for key in sorted(tagged))] if tagged else []


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
