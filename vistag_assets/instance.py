"""The Dagster instance of a home, and runs in it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from resources.lake.files import FULL, full_disk, locked, replace_file
from vistag_assets.storage import StorageError, causes, lost_database, storage_errors

if TYPE_CHECKING:
    from dagster import DagsterInstance

# The second: the index of the write-ahead log cannot grow.
_SQLITE_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
TEMPLATE = Path(__file__).parent / "dagster.yaml"


def prepare_dagster_home(home: Path) -> dict[str, str]:
    """Make `<home>/dagster` with its settings and databases; returns the variables that name the home.

    Raises StorageError where the storage that its dagster.yaml names cannot be used.
    """
    from dagster import DagsterInstance

    dagster_home = home.resolve() / "dagster"
    # Processes that make the databases at the same time leave them with two versions each.
    with locked(dagster_home / ".lock"):
        if not (dagster_home / "dagster.yaml").exists():
            with replace_file(dagster_home / "dagster.yaml") as settings:
                settings.write(TEMPLATE.read_bytes())
        with (
            storage_errors(dagster_home / "dagster.yaml"),
            DagsterInstance.from_config(str(dagster_home)) as instance,
        ):
            _ = instance.run_storage, instance.event_log_storage, instance.schedule_storage
    return {"DAGSTER_HOME": str(dagster_home), "VISTAG_HOME": str(home.resolve())}


@contextmanager
def home_instance(home: Path) -> Iterator[DagsterInstance]:
    """The instance of a home, for runs in this process.

    Raises OSError, which names the disk, where Dagster's databases find no room on it, and StorageError where
    they cannot be used.
    """
    from dagster import DagsterInstance

    environment = prepare_dagster_home(home)
    os.environ.update(environment)
    with DagsterInstance.from_config(environment["DAGSTER_HOME"]) as instance:
        try:
            yield instance
        except OSError:
            raise
        except Exception as error:
            if _is_full(error):
                raise full_disk(Path(environment["DAGSTER_HOME"])) from error
            if why := lost_database(error):
                raise StorageError(why) from error
            raise


def _is_full(error: BaseException) -> bool:
    """Whether an error, or what led to it, is that there was no room on the disk."""
    return any(
        (isinstance(cause, OSError) and cause.errno in FULL)
        or getattr(cause, "sqlite_errorcode", None) in _SQLITE_FULL
        for cause in causes(error)
    )


def contiguous_ranges(
    ordered: Sequence[str],
    wanted: Collection[str],
    bridges: Collection[str] = (),
    longest_bridge: int = 0,
) -> list[tuple[str, str]]:
    """The fewest (first, last) ranges of `ordered` that hold the keys of `wanted`, and between two of them at
    most `longest_bridge` others in a row, all of `bridges`.

    A Dagster run addresses a range of dynamic partitions in the order in which they were added.
    Raises ValueError for a key that is not in `ordered`.
    """
    if unknown := set(wanted) - set(ordered):
        raise ValueError(f"not among the partitions: {', '.join(sorted(unknown))}")
    wanted, bridges = set(wanted), set(bridges)
    places = [place for place, key in enumerate(ordered) if key in wanted]
    ranges: list[tuple[int, int]] = []
    for place in places:
        between = ordered[ranges[-1][1] + 1 : place] if ranges else ()
        if ranges and len(between) <= longest_bridge and bridges.issuperset(between):
            ranges[-1] = (ranges[-1][0], place)
        else:
            ranges.append((place, place))
    return [(ordered[first], ordered[last]) for first, last in ranges]
