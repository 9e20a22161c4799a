"""A home is for the account that keeps it: what is written there, by us and by Dagster, is readable by nobody else."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_UMASK = "VISTAG_OUTER_UMASK"
"""Variable by which the processes of a command know the umask of who started it, in octal."""
_OURS = re.compile(
    r"cards|dagster|demo|doctor|exports|folders|indexes|lake|logs|pending|proxies|quarantine|regions|reports|watching|"
    r"(decisions\.sqlite|settings\.json|ground_truth\.json|home-id).*"
)
"""What vistag makes in a home (docs/home.md); whatever else lies there is a person's."""
_SHARED = re.compile(
    r"nfs\d?|cifs|smb\w*|9p|afs|ceph|glusterfs|lustre|gpfs|beegfs|fuse(\..*)?|fuseblk|vboxsf|prl_fs"
)
"""Kinds of file systems that may be mounted elsewhere too, or that know modes only by hearsay."""


@contextmanager
def private_files(root: Path) -> Iterator[None]:
    """Within, what this process and its children make is for this account alone, if the home is this account's."""
    if root.exists() and not _is_mine(root):
        yield
        return
    before = os.umask(_OTHERS)
    named = os.environ.setdefault(_UMASK, f"{before:o}")
    try:
        yield
    finally:
        os.umask(before)
        if int(named, 8) == before:
            os.environ.pop(_UMASK, None)


def outer_umask() -> int:
    """The umask of who started the command: for what is no part of a home."""
    if named := os.environ.get(_UMASK):
        return int(named, 8)
    current = os.umask(0)
    os.umask(current)
    return current


@contextmanager
def public_files() -> Iterator[None]:
    """Within, files are made as whoever started the command has it."""
    before = os.umask(outer_umask())
    try:
        yield
    finally:
        os.umask(before)


def make_private(root: Path, mounts: Path = Path("/proc/mounts")) -> list[str]:
    """Take what a home already holds from the other accounts; what is to be told of it, in sentences.

    A home that is its account's alone is left as it is, and so is what others than vistag put into it.
    """
    if not root.is_dir():
        return []
    told = []
    if stat.S_IMODE(root.stat().st_mode) & _OTHERS:
        if not _is_mine(root):
            told.append(f"{root} belongs to another account, which says who may read it.")
        elif _close(root):
            told.append(f"{root} could be read by other accounts of this machine: now by yours alone.")
        elif not os.statvfs(root).f_flag & os.ST_RDONLY:  # there nothing is written either
            told.append(f"{root} can be read by other accounts of this machine: its disk keeps no modes.")
    if kind := _shared_mount(root.resolve(), mounts):
        told.append(
            f"{root} lies on a mount of the kind {kind}: who has that elsewhere may read it, whatever its modes say. "
            "A home on a disk of this machine is yours alone."
        )
    return told


def _is_mine(root: Path) -> bool:
    return os.geteuid() in (0, root.stat().st_uid)


def _close(root: Path) -> bool:
    """Whether the home is closed to others afterwards. The root comes first: it keeps them from all below it."""
    with suppress(OSError):
        root.chmod(stat.S_IRWXU)
    if stat.S_IMODE(root.stat().st_mode) & _OTHERS:
        return False
    for own in filter(lambda path: _OURS.fullmatch(path.name), root.iterdir()):
        _take(own)
        for folder, folders, files in os.walk(own):
            for name in (*folders, *files):
                _take(Path(folder, name))
    return True


def _take(path: Path) -> None:
    with suppress(FileNotFoundError):  # what ran meanwhile may have removed it
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode) and mode & _OTHERS:
            path.chmod(stat.S_IMODE(mode) & ~_OTHERS)


def _shared_mount(path: Path, mounts: Path) -> str | None:
    """The kind of file system that a path lies on, if others may have it mounted."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:  # no Linux
        return None
    kinds = {
        _unescaped(line.split()[1]): line.split()[2] for line in lines
    }  # a later mount hides an earlier one
    kind = next((kinds[str(place)] for place in (path, *path.parents) if str(place) in kinds), "")
    return kind if _SHARED.fullmatch(kind) else None


def _unescaped(mount: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), mount)
