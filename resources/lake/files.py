"""Atomic replacement of files, and locking of local ones."""

import contextlib
import errno
import fcntl
import io
import logging
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from resources.lake.leases import require_held
from resources.object_store import Location, ObjectPath

_log = logging.getLogger(__name__)

FULL = frozenset([errno.ENOSPC, errno.EDQUOT])
"""The numbers of an OSError for want of room on a disk."""

_WRITERS = 8
"""Files that wait for the disk at a time: a journal takes them in one go."""


def path_below(root: Path, relative: str) -> Path:
    """`root / relative`, for what a file or a table of others names. Raises ValueError if that leads elsewhere."""
    path = PurePosixPath(relative)
    if path.is_absolute() or ".." in path.parts or "\0" in relative:
        raise ValueError(f"{relative!r} is no path below {root}")
    return root / path


@contextlib.contextmanager
def replace_file(path: Location, scratch: Path | None = None) -> Iterator[BinaryIO]:
    """A file to write to, which becomes `path` in one instant when the block ends without an error.

    Until then, after an error and after a kill, `path` is what it was. The content is on the disk (fsync)
    before the name points at it. The temporary file lies beside `path`, and its name begins with a dot and
    has no suffix that a reader of the directory looks for. An object of a store is put at the end, in one
    instant too; until then it is held in memory, or on the disk of the directory `scratch`, under no name.

    Raises OSError if the disk is full or read-only, which the message says with its name, and so on, and StoreError.
    """
    if isinstance(path, ObjectPath):
        with _put_together(scratch) as content:
            yield content
            content.flush()
            require_held()
            path.write_file(content)
        return
    with disk_named(path):
        with _replaced(path) as file:
            yield file
        _fsync_directory(path.parent)


@contextlib.contextmanager
def _put_together(scratch: Path | None) -> Iterator[BinaryIO]:
    """A file without a name, which a kill does not leave behind."""
    if scratch is None:
        yield io.BytesIO()
        return
    with disk_named(scratch), tempfile.TemporaryFile(dir=scratch) as file:
        yield file


def replace_files(contents: Mapping[Path, bytes]) -> dict[Path, OSError]:
    """As `replace_file`, for many small files, which wait for the disk together; those that could not be written, with why."""

    def replace(path: Path) -> None:
        with disk_named(path), _replaced(path) as file:
            file.write(contents[path])

    failed: dict[Path, OSError] = {}
    with ThreadPoolExecutor(_WRITERS) as pool:
        for path, done in [(path, pool.submit(replace, path)) for path in contents]:
            try:
                done.result()
            except OSError as error:
                failed[path] = error
    for directory in {path.parent for path in contents.keys() - failed.keys()}:
        with disk_named(directory):
            _fsync_directory(directory)
    return failed


@contextlib.contextmanager
def _replaced(path: Path) -> Iterator[BinaryIO]:
    """A file to write to that becomes `path`; its name is on the disk when its directory is."""
    temporary = path.parent / f".{path.name}-{secrets.token_hex(4)}.tmp"
    make_directory(path.parent)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # asked when the temporary file is there: who takes over a lease removes those of the one before
        require_held()
        with _fenced_off(temporary):
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _fenced_off(temporary: Path) -> Iterator[None]:
    """Says why a file that was being written is gone, where another has taken over the lease of its directory."""
    try:
        yield
    except FileNotFoundError:
        require_held()
        raise


@contextlib.contextmanager
def disk_named(path: Path) -> Iterator[None]:
    """Lets an OSError because the disk of `path` is full or read-only say which disk that is, and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise full_disk(path) from error
        if error.errno == errno.EROFS:
            raise read_only_disk(path) from error
        raise


def full_disk(path: Path) -> OSError:
    """What to raise when there is no room on the disk of `path`."""
    advice = "make room there and run again, what was finished is kept"
    return OSError(errno.ENOSPC, f"the disk at {_disk_of(path)} is full: {advice}", str(path))


def read_only_disk(path: Path) -> OSError:
    """What to raise when nothing may be written to the disk of `path`."""
    advice = "make it writable (mount -o remount,rw) or choose another home, and run again; what was finished is kept"
    return OSError(errno.EROFS, f"the disk at {_disk_of(path)} is read-only: {advice}", str(path))


def _disk_of(path: Path) -> Path:
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.is_mount())


def move_file(path: Location, destination: Path) -> None:
    """Renames a file of one file system, in one instant and safe on the disk; makes missing directories.

    An object is copied to the disk and removed from its store then: a kill in between leaves both.
    """
    if isinstance(path, ObjectPath):
        with replace_file(destination) as copy:
            copy.write(path.read_bytes())
        path.unlink()
        return
    with disk_named(destination):
        make_directory(destination.parent)
        path.rename(destination)
    _fsync_directory(destination.parent)
    _fsync_directory(path.parent)


def remove_temporaries(directory: Path) -> None:
    """Removes what killed writers left in `directory`; for who holds the lock that its writers take."""
    for temporary in directory.glob(".*.tmp"):
        temporary.unlink(missing_ok=True)


def make_directory(directory: Path) -> None:
    """Makes `directory` and its missing parents, each of them safe on the disk."""
    if directory.is_dir():
        return
    make_directory(directory.parent)
    directory.mkdir(exist_ok=True)
    _fsync_directory(directory.parent)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on the file `path` (made if absent, never removed), waiting for it if need be.

    The lock excludes other processes and other threads; it is not re-entrant. The kernel releases it when
    the process ends, however it ends.
    """
    with contextlib.ExitStack() as opened:
        with disk_named(path):
            make_directory(path.parent)
            file = opened.enter_context(path.open("ab"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.info("waiting for another writer that holds %s", path)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of `locked(path)` at this moment; makes nothing."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _fsync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
