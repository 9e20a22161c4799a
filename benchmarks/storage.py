"""What Dagster's storage makes of several runs at once: python -m benchmarks.storage --home HOME.

Each run is a process of its own that reports one materialisation for each of its partitions, and computes nothing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from vistag_assets.automation.instance import home_instance
from vistag_assets.partitions import PER_FOLDER, add_folders, range_tags

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_door: Any = None
"""In the process of a run: where it waits for the others."""


@dg.asset(**PER_FOLDER)
def nothing() -> None:
    """An asset of folders that costs nothing."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--home", type=Path, help="a home to be filled with runs; else a new one, with SQLite"
    )
    parser.add_argument("--runs", type=int, nargs="+", default=[1, 4, 8, 16], help="so many at once")
    parser.add_argument("--folders", type=int, default=100, help="of one run")
    options = parser.parse_args(arguments)
    print("runs at once  failed  materialisations/s  longest run s")
    with tempfile.TemporaryDirectory() as directory:
        for runs in options.runs:
            print(_measured(options.home or Path(directory), runs, options.folders), flush=True)


def _measured(home: Path, runs: int, folders: int) -> str:
    keys = [f"{run:03d}--{folder:05d}" for run in range(runs) for folder in range(folders)]
    with home_instance(home) as instance:
        add_folders(instance, keys)
    ranges = [(home, keys[at], keys[at + folders - 1]) for at in range(0, len(keys), folders)]
    spawned = multiprocessing.get_context("spawn")
    door = spawned.Barrier(runs)
    with spawned.Pool(runs, initializer=_wait_at, initargs=(door,)) as pool:
        times = pool.starmap(_run, ranges, chunksize=1)
        pool.close()
        pool.join()
    began, ended = min(start for start, _, _ in times), max(end for _, end, _ in times)
    failed = sum(not is_success for *_, is_success in times)
    longest = max(end - start for start, end, _ in times)
    return f"{runs:12}  {failed:6}  {len(keys) / (ended - began):18.0f}  {longest:13.1f}"


def _wait_at(door: Any) -> None:
    global _door
    _door = door


def _run(home: Path, first: str, last: str) -> tuple[float, float, bool]:
    """Begin, end (seconds of the wall clock) and success of a run, which begins when all have come so far."""
    with home_instance(home) as instance:
        _door.wait()
        start = time.time()
        result = dg.materialize(
            [nothing],
            instance=instance,
            run_config=_QUIET,
            tags=range_tags(first, last),
            raise_on_error=False,
        )
        return start, time.time(), result.success


if __name__ == "__main__":
    main()
