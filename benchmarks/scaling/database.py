"""What a folder adds to Dagster's database at a run that has something new in it, and which events that is.

python -m benchmarks.scaling.database --folders 10 40: two homes of tiny images under a tier with an encoder alone; what they
differ by is the folders. With the variables of deploy/dagster-postgres.yaml set, on an empty PostgreSQL database, which
then holds both runs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from sqlalchemy import text

from benchmarks.scale import MIB, make_home, make_library, run_vistag, size_mib, tiny_jpegs
from resources.home import Home

POSTGRES = Path(__file__).parents[2] / "deploy" / "dagster-postgres.yaml"
IMAGES = 20
_OTHERS = "(others)"


@dataclass(frozen=True, slots=True)
class Size:
    """Dagster's databases after a run of a home."""

    mib: float
    events: Mapping[str, tuple[int, int]]
    """type of an event -> how many the run has, and their bytes as they are stored"""


def after_a_run(root: Path, folders: int, on_postgres: bool) -> Size:
    library, home = root / "library", make_home(root)
    make_library(library, folders, IMAGES, tiny_jpegs())
    if on_postgres:
        home.dagster_dir.mkdir(parents=True)
        shutil.copy(POSTGRES, home.dagster_dir / "dagster.yaml")
    before = _mib(home) if on_postgres else 0.0
    run_vistag(home, library)
    return Size(_mib(home) - before if on_postgres else size_mib(home.dagster_dir), _events(home))


def _mib(home: Home) -> float:
    """Of a PostgreSQL database."""
    with (
        dg.DagsterInstance.from_config(str(home.dagster_dir)) as instance,
        instance.event_log_storage.index_connection() as connection,  # type: ignore[attr-defined]
    ):
        return float(connection.execute(text("select pg_database_size(current_database())")).scalar()) / MIB


def _events(home: Home) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    with dg.DagsterInstance.from_config(str(home.dagster_dir)) as instance:
        (run,) = instance.get_runs(limit=1)
        for entry in instance.all_logs(run.run_id):
            kind = entry.dagster_event.event_type_value if entry.dagster_event else _OTHERS
            number, size = found[kind]
            found[kind] = number + 1, size + len(dg.serialize_value(entry).encode())
    return dict(found)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folders", type=int, nargs=2, default=[10, 40], metavar=("FEW", "MANY"))
    few, many = parser.parse_args(arguments).folders
    on_postgres = "VISTAG_PG_HOST" in os.environ
    with tempfile.TemporaryDirectory() as directory:
        of = {}
        for folders in (few, many):
            root = Path(directory) / str(folders)
            root.mkdir()
            of[folders] = after_a_run(root, folders, on_postgres)
    more = many - few
    print(f"Dagster's databases after a run, on {'PostgreSQL' if on_postgres else 'SQLite'}:")
    print(", ".join(f"{folders} folders {size.mib:.2f} MiB" for folders, size in of.items()))
    print(f"{(of[many].mib - of[few].mib) / more:.3f} MiB a folder\n")
    print("| event | a folder | bytes each |\n|---|---|---|")
    for kind, (number, size) in sorted(of[many].events.items(), key=lambda item: -item[1][1]):
        a_folder = (number - of[few].events.get(kind, (0, 0))[0]) / more
        if a_folder:
            print(f"| {kind} | {a_folder:.1f} | {size / number:,.0f} |")


if __name__ == "__main__":
    main()
