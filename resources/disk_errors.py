"""Databases in files, where it is the disk that fails: an error says which disk, and what to do."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from resources.lake.files import FULL, full_disk, read_only_disk

# The second: the index of the write-ahead log cannot grow.
_SQLITE_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
# The second and third: the files of the write-ahead log cannot be made beside the database.
_SQLITE_READ_ONLY = (
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_READONLY_CANTINIT,
    sqlite3.SQLITE_READONLY_DIRECTORY,
)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what led to it."""
    seen: set[int] = set()  # Dagster's errors name one another in circles
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def disk_error(error: BaseException, directory: Path) -> OSError | None:
    """What to raise where an error, or what led to it, is that the disk of `directory` is full or read-only."""
    for cause in causes(error):
        number = cause.errno if isinstance(cause, OSError) else None
        code = getattr(cause, "sqlite_errorcode", None)
        if number in FULL or code in _SQLITE_FULL:
            return full_disk(directory)
        if number == errno.EROFS or code in _SQLITE_READ_ONLY:
            return read_only_disk(directory)
    return None
