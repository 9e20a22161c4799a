"""Who may write: locks of the kernel in a home of one machine, leases in a database where several machines share it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from resources.lake.files import disk_named, is_locked, locked, make_directory
from resources.lake.leases import expired, forget, held, is_held


class Locks(Protocol):
    """Exclusive locks, each named by a path below the home. Not re-entrant. Who holds one finds its folder there."""

    def held(self, path: Path) -> AbstractContextManager[None]:
        """Holds the lock within, waiting for who has it."""

    def is_held(self, path: Path) -> bool:
        """Whether somebody holds it at this moment; makes nothing."""


class FileLocks:
    """Locks that the kernel frees in the instant when their process ends; a process that stands still keeps them."""

    def held(self, path: Path) -> AbstractContextManager[None]:
        return locked(path)

    def is_held(self, path: Path) -> bool:
        return is_locked(path)


FILE_LOCKS = FileLocks()


class Leases:
    """Leases of a shared home: `url` is the database, `home_id` what tells the home from others wherever it is mounted,
    `root` where it is on this machine.
    """

    def __init__(self, url: str, home_id: str, root: Path) -> None:
        self.url, self.home_id, self.root = url, home_id, root

    def held(self, path: Path) -> AbstractContextManager[None]:
        with disk_named(path):
            make_directory(path.parent)
        return held(self.url, self._name(path))

    def is_held(self, path: Path) -> bool:
        return is_held(self.url, self._name(path))

    def expired(self, directory: Path) -> list[Path]:
        """The locks in a directory whose holders were killed, or stand still."""
        prefix = self._name(directory) + "/"
        return [directory / name.removeprefix(prefix) for name in expired(self.url, prefix)]

    def forget(self, path: Path) -> None:
        """Remove what is left of a holder that was killed."""
        forget(self.url, self._name(path))

    def _name(self, path: Path) -> str:
        return f"{self.home_id}/{path.relative_to(self.root).as_posix()}"
