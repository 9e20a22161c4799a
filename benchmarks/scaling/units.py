"""What one image, one folder and one run cost on the disk, measured in a home, and what that makes of many.

python -m benchmarks.scaling.units --home HOME --images 1e6 1e8 1e9: Markdown, for docs/scale.md.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from benchmarks.scale import MIB, size_mib
from resources.home import Home
from resources.tables import PER_FOLDER_TABLES

MOST_PARTITIONS = 100_000
"""of an asset in Dagster"""
READ_REQUESTS, WRITE_REQUESTS = 5, 7
"""of one partition on an object store: docs/object-storage.md"""


@dataclass(frozen=True, slots=True)
class Units:
    """Measured in a home; bytes are those of files on the disk."""

    images: int
    folders: int
    runs: int
    table_bytes: Mapping[str, float]
    """table -> bytes an image"""
    proxy_bytes: float
    """an image"""
    index_bytes: float
    """an image"""
    other_bytes: float
    """an image: regions.json, the contact sheet and other pages"""
    tables: int
    """files of the lake a folder"""
    database_mib: float
    """a folder and run"""

    @property
    def lake_bytes(self) -> float:
        return sum(self.table_bytes.values())


def measure(home: Home) -> Units:
    """Raises MissingPartition where the home holds no images."""
    lake = home.lake
    images, folders = lake.read_all("images", ["id"]).num_rows, lake.folders("images")
    used = [table for table in PER_FOLDER_TABLES if lake.folders(table)]
    with dg.DagsterInstance.from_config(str(home.dagster_dir)) as instance:
        runs = instance.get_runs_count()
    return Units(
        images,
        len(folders),
        runs,
        {table: size_mib(home.root / "lake" / table) * MIB / images for table in used},
        size_mib(home.proxies_dir) * MIB / images,
        size_mib(home.root / "indexes") * MIB / images,
        (size_mib(home.root / "regions") + size_mib(home.reports_dir)) * MIB / images,
        len(used),
        size_mib(home.dagster_dir) / len(folders) / max(1, runs),
    )


def of_many(units: Units, images: int, images_per_folder: int) -> dict[str, float]:
    """The same library, that many images large, in folders of that size; sizes in GiB."""
    folders = math.ceil(images / images_per_folder)
    gib = images / 1024**3
    return {
        "folders": folders,
        "files of the lake": folders * units.tables,
        "lake GiB": gib * units.lake_bytes,
        "proxies GiB": gib * units.proxy_bytes,
        "indexes GiB": gib * units.index_bytes,
        "regions and pages GiB": gib * units.other_bytes,
        "database GiB a run of all": folders * units.database_mib / 1024,
        "requests of a store, all new": folders * units.tables * (READ_REQUESTS + WRITE_REQUESTS),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=None, help="a home that runs have finished in")
    parser.add_argument("--images", type=float, nargs="*", default=[1e6, 1e8, 1e9])
    options = parser.parse_args(arguments)
    units = measure(Home.resolve(options.home))
    print(f"{units.images:,} images in {units.folders:,} folders, {units.runs} runs\n")
    print("| table | bytes an image |\n|---|---|")
    for table, size in sorted(units.table_bytes.items(), key=lambda item: -item[1]):
        print(f"| `{table}` | {size:,.0f} |")
    print(f"| all of the lake | {units.lake_bytes:,.0f} |")
    for what, size in (
        ("proxies", units.proxy_bytes),
        ("indexes", units.index_bytes),
        ("pages", units.other_bytes),
    ):
        print(f"| {what} | {size:,.0f} |")
    print(f"\n{units.tables} files a folder; Dagster {units.database_mib:.3f} MiB a folder and run\n")
    scaled = {}
    for images in map(int, options.images):
        # a partition is a folder while there are few enough of them
        scaled[images] = of_many(units, images, max(1000, math.ceil(images / MOST_PARTITIONS)))
    print("| | " + " | ".join(f"{images:.0e}" for images in scaled) + " |\n|---" + "|---" * len(scaled) + "|")
    for what in next(iter(scaled.values())):
        print(f"| {what} | " + " | ".join(f"{of[what]:,.0f}" for of in scaled.values()) + " |")


if __name__ == "__main__":
    main()
