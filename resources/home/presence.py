"""Liveness of processes: file locks, which the kernel frees when their process ends, however it ends."""

from __future__ import annotations

import fcntl
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from resources.lake.files import disk_named, is_locked, make_directory

_FOLDER = "running"


@contextmanager
def shown_as_running(dagster_home: Path, run_id: str) -> Iterator[None]:
    """Within, `has_died` is False of the run; after a kill within, it is True."""
    sign = _sign(dagster_home, run_id)
    temporary = sign.with_name(f".{sign.name}-{secrets.token_hex(4)}.tmp")
    with ExitStack() as opened:
        with disk_named(sign):
            make_directory(sign.parent)
            file = opened.enter_context(temporary.open("xb"))
            # locked before it has its name: whoever sees it unlocked sees the sign of a dead process
            fcntl.flock(file, fcntl.LOCK_EX)
            temporary.replace(sign)
        try:
            yield
        finally:
            sign.unlink(missing_ok=True)


def has_died(dagster_home: Path, run_id: str) -> bool:
    """Whether the process of a run that has not ended is gone. False of runs that never showed a sign."""
    sign = _sign(dagster_home, run_id)
    return sign.exists() and not is_locked(sign)


def dead_runs(dagster_home: Path) -> list[str]:
    """The runs whose processes have gone without removing their signs."""
    signs = (path.name for path in (dagster_home / _FOLDER).glob("[!.]*"))
    return [run_id for run_id in signs if has_died(dagster_home, run_id)]


def forget_run(dagster_home: Path, run_id: str) -> None:
    """Remove the sign of a run that has died."""
    _sign(dagster_home, run_id).unlink(missing_ok=True)


def _sign(dagster_home: Path, run_id: str) -> Path:
    return dagster_home / _FOLDER / run_id
