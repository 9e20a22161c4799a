"""How long the sensor takes on a large library: python -m benchmarks.sensor --folders 10000 --files 100."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from resources.home import Home
from sensors.memory import Memory
from sensors.new_folders import LOOK_SECONDS, Tick, tick

_LIBRARY = "library"
_FILE_BYTES = 100_000
_FOLDERS_A_PARENT = 100


def make_library(root: Path, folders: int, files: int) -> None:
    """`folders` folders of `files` sparse files each, one hundred to a parent."""
    for number in range(folders):
        folder = root / f"{number // _FOLDERS_A_PARENT:05d}" / f"{number:06d}"
        folder.mkdir(parents=True)
        for name in range(files):
            with (folder / f"{name:06d}.jpg").open("wb") as file:
                file.truncate(_FILE_BYTES)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folders", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=100, help="in each folder")
    parser.add_argument("--changed", type=int, default=10, help="folders that get one more file at the end")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / _LIBRARY
        started = time.perf_counter()
        make_library(root, options.folders, options.files)
        print(f"made {options.folders:,} folders of {options.files:,} files in {_since(started):.1f} s")
        home = Home(Path(directory) / "home")
        (home.dagster_dir).mkdir(parents=True)
        with dg.DagsterInstance.local_temp(str(home.dagster_dir)) as instance:
            watching = _Watching(home, root, instance)
            watching.until(options.folders, "new")
            watching.until(0, "unchanged")
            for number in range(options.changed):
                folder = root / "00000" / f"{number * _FOLDERS_A_PARENT // options.changed:06d}"
                (folder / "one more.jpg").touch()
            watching.until(options.changed, "changed")


class _Watching:
    """Ticks one after another, without the interval between them."""

    def __init__(self, home: Home, root: Path, instance: dg.DagsterInstance) -> None:
        self.home, self.root, self.instance = home, root, instance
        self.cursor: str | None = None

    def until(self, folders: int, what: str) -> None:
        """Tick until so many folders have settled and all have been looked at; print what that took."""
        seconds: list[float] = []
        looked_at, files, settled, runs = 0, 0, 0, 0
        finished = False
        while not finished:
            started = time.perf_counter()
            done = self._tick()
            seconds.append(_since(started))
            looked_at += done.findings.folders
            files += done.findings.files
            settled += len(done.findings.settled)
            runs += len(done.requests)
            finished = done.place is None and settled >= folders
        print(
            f"{what}: {len(seconds)} ticks, {sum(seconds):.1f} s in all, the longest {max(seconds):.1f} s; "
            f"{looked_at / sum(seconds):,.0f} folders/s, {files / sum(seconds):,.0f} files/s; "
            f"{settled:,} folders in {runs} runs; "
            f"cursor {len(done.cursor)} bytes, its file {self._file_bytes():,} bytes"
        )

    def _tick(self) -> Tick:
        done = tick(Memory(self.home), {_LIBRARY: self.root}, 0.0, self.instance, self.cursor, LOOK_SECONDS)
        self.cursor = done.cursor
        return done

    def _file_bytes(self) -> int:
        return (self.home.root / "watching" / f"{self.cursor}.json").stat().st_size


def _since(started: float) -> float:
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
