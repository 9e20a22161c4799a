"""Liveness of the processes of runs: a lock that each holds, and that is free when its process has ended, however it ends."""

from __future__ import annotations

import fcntl
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from resources.home.home import Home
from resources.lake.files import disk_named, is_locked, make_directory
from resources.lake.locks import Leases

_FOLDER = "running"


@contextmanager
def shown_as_running(dagster_home: Path, run_id: str) -> Iterator[None]:
    """Within, `has_died` is False of the run; after a kill within, it is True (in a shared home when its lease has ended)."""
    sign, leases = _sign(dagster_home, run_id), _leases(dagster_home)
    with leases.held(sign) if leases else _locked_sign(sign):
        yield


def has_died(dagster_home: Path, run_id: str) -> bool:
    """Whether the process of a run that has not ended is gone. False of runs that never showed a sign."""
    sign, leases = _sign(dagster_home, run_id), _leases(dagster_home)
    return run_id in dead_runs(dagster_home) if leases else sign.exists() and not is_locked(sign)


def dead_runs(dagster_home: Path) -> list[str]:
    """The runs whose processes have gone without removing their signs."""
    if leases := _leases(dagster_home):
        return [sign.name for sign in leases.expired(dagster_home / _FOLDER)]
    signs = (path.name for path in (dagster_home / _FOLDER).glob("[!.]*"))
    return [run_id for run_id in signs if has_died(dagster_home, run_id)]


def forget_run(dagster_home: Path, run_id: str) -> None:
    """Remove the sign of a run that has died."""
    sign = _sign(dagster_home, run_id)
    if leases := _leases(dagster_home):
        leases.forget(sign)
    else:
        sign.unlink(missing_ok=True)


@contextmanager
def _locked_sign(sign: Path) -> Iterator[None]:
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


def _leases(dagster_home: Path) -> Leases | None:
    """Those of the home around Dagster's, where it is shared."""
    locks = Home(dagster_home.absolute().parent).locks
    return locks if isinstance(locks, Leases) else None


def _sign(dagster_home: Path, run_id: str) -> Path:
    return dagster_home.absolute() / _FOLDER / run_id
