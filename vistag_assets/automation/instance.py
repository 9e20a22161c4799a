"""The Dagster instance of a home, and runs in it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.disk_errors import disk_error
from resources.home import Home
from resources.home.presence import dead_runs, forget_run
from resources.home.private import private_files
from resources.lake.files import replace_file
from resources.yaml_file import YamlFileError, read_yaml
from vistag_assets.automation.storage import StorageError, lost_database, storage_errors

if TYPE_CHECKING:
    from dagster import DagsterInstance

TEMPLATE = Path(__file__).parent / "dagster.yaml"
_MOVED = {b"module: vistag_assets.launcher\n": b"module: vistag_assets.automation.launcher\n"}
"""What the dagster.yaml of older homes names, by where it is now."""


def prepare_dagster_home(home: Path) -> dict[str, str]:
    """Make `<home>/dagster` with its settings and databases; returns the variables that name the home.

    Raises StorageError where the storage that its dagster.yaml names cannot be used.
    """
    from dagster import DagsterInstance

    dagster_home = home.resolve() / "dagster"
    # Processes that make the databases at the same time leave them with two versions each.
    with private_files(home), Home(home.resolve()).locks.held(dagster_home / ".lock"):
        _write_settings(dagster_home / "dagster.yaml")
        with (
            storage_errors(dagster_home / "dagster.yaml"),
            DagsterInstance.from_config(str(dagster_home)) as instance,
        ):
            _ = instance.run_storage, instance.event_log_storage, instance.schedule_storage
            _know_pools(instance)
            _forget_finished_runs(instance)
    return {"DAGSTER_HOME": str(dagster_home), "VISTAG_HOME": str(home.resolve())}


def _write_settings(path: Path) -> None:
    """Dagster's settings of a home where it has none, and of an older one what has moved since."""
    text = before = path.read_bytes() if path.exists() else b""
    for old, new in _MOVED.items():
        text = text.replace(old, new)
    if not before or text != before:
        with replace_file(path) as settings:
            settings.write(text or TEMPLATE.read_bytes())


def missing_settings(home: Path) -> list[str]:
    """The settings of the template, as `a.b.c`, that the `dagster.yaml` of a home says nothing of: it is older, or edited.

    Raises StorageError where that file is no YAML mapping.
    """
    path = home / "dagster" / "dagster.yaml"
    if not path.exists():
        return []
    try:
        own = read_yaml(path).content or {}
    except YamlFileError as error:
        raise StorageError(f"{error} (this is not YAML that vistag reads)") from error
    if not isinstance(own, dict):
        raise StorageError(f"{path}: holds no settings. Remove it to have it written anew")
    named = set(_names(own))
    return [name for name in _names(read_yaml(TEMPLATE).content) if name not in named]


def _names(settings: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _names(value, f"{above}{name}.")
        else:
            yield above + name


def _know_pools(instance: DagsterInstance) -> None:
    """Dagster makes a pool when it first meets it in the queue, and lets all runs of that moment pass."""
    from resources.gpus import MODELS_POOL
    from vistag_assets.partitions import EVALUATION_POOL

    storage = instance.event_log_storage
    for pool in {MODELS_POOL, EVALUATION_POOL} - {limit.name for limit in storage.get_pool_limits()}:
        storage.initialize_concurrency_limit_to_default(pool)


def _forget_finished_runs(instance: DagsterInstance) -> None:
    """Remove the signs of dead runs that are known to have ended; the daemon asks for those of the others."""
    dagster_home = Path(instance.root_directory)
    for run_id in dead_runs(dagster_home):
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            forget_run(dagster_home, run_id)


@contextmanager
def home_instance(home: Path) -> Iterator[DagsterInstance]:
    """The instance of a home, for runs in this process.

    Raises OSError, which names the disk, where Dagster's databases find no room on it or may not write to it, and
    StorageError where they cannot be used.
    """
    from dagster import DagsterInstance

    environment = prepare_dagster_home(home)
    os.environ.update(environment)
    with private_files(home), DagsterInstance.from_config(environment["DAGSTER_HOME"]) as instance:
        try:
            yield instance
        except OSError:
            raise
        except Exception as error:
            if told := disk_error(error, Path(environment["DAGSTER_HOME"])):
                raise told from error
            if why := lost_database(error):
                raise StorageError(why) from error
            raise


def contiguous_ranges(
    ordered: Sequence[str], wanted: Collection[str], bridges: Collection[str] = (), longest_bridge: int = 0
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
