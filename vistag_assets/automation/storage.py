"""The storage that `<home>/dagster/dagster.yaml` names, where it cannot be used: why, in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resources.disk_errors import causes


class StorageError(RuntimeError):
    """Dagster cannot use what dagster.yaml names: settings, a package, or the database; the message says which."""


@contextmanager
def storage_errors(settings: Path) -> Iterator[None]:
    """Within, where storage is opened, faults of its settings and of its server become StorageError."""
    try:
        yield
    except Exception as error:
        why = lost_database(error) or _fault_of_settings(error)
        if why is None:
            raise
        raise StorageError(f"{settings}: {why}") from error


def lost_database(error: BaseException) -> str | None:
    """What a database server, or the lack of one, said, where an error or what led to it came from there."""
    from sqlalchemy.exc import OperationalError

    for cause in causes(error):
        # SQLite's own OperationalError is of the disk, and told as such
        if isinstance(cause, OperationalError) and type(cause.orig).__module__.startswith("psycopg2"):
            return f"the database cannot be used: {str(cause.orig).strip()}"
    return None


def _fault_of_settings(error: BaseException) -> str | None:
    from dagster import DagsterInvalidConfigError
    from yaml import YAMLError

    for cause in causes(error):
        if isinstance(cause, DagsterInvalidConfigError):
            return "; ".join(_config_message(found.message) for found in cause.errors) or str(cause)
        if isinstance(cause, YAMLError):
            return f"this is not YAML: {cause}"
        if isinstance(cause, ModuleNotFoundError) and cause.name in ("dagster_postgres", "psycopg2"):
            return f"the package {cause.name} is not installed; it comes with: pip install -e '.[postgres]'"
    return None


def _config_message(message: str) -> str:
    """What Dagster says of one setting, without its stack trace, its class and the list of all that it knows."""
    last = message.split("\n\n")[0].splitlines()[-1]
    return last.removeprefix("dagster._config.errors.PostProcessingError: ").split(" Expected: ")[0]
