"""A small disk of its own, in memory, for tests that may mount one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(disk: Path, size: str = "48m") -> Iterator[Path]:
    """A file system of that size at `disk`; the test is skipped where this user may not mount one."""
    disk.mkdir(parents=True)
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], capture_output=True, text=True
    )
    if mount.returncode:
        pytest.skip(f"this user may not mount a small disk: {mount.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def remount(disk: Path, mode: str) -> bool:
    """Make a disk read-only (`ro`) or writable (`rw`); whether it could be, for nobody writes to it just now."""
    return subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], capture_output=True).returncode == 0
