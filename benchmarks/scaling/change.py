"""Whether cost follows change: python -m benchmarks.scaling.change --folders 200 --images 500 --one-folder 500 5000 50000.

A library of tiny images is tagged once; then the same with nothing new, and with one image more. The figures that matter
are those of the second and third run: seconds of processors, and memory.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring import Cost
from benchmarks.scale import make_home, make_library, run_vistag, size_mib, tiny_jpegs


def measure(folders: int, images: int) -> list[tuple[str, Cost, float]]:
    """(what, cost, MiB that Dagster's databases grew by) of each run of a library of `folders` folders of `images` images."""
    with tempfile.TemporaryDirectory() as directory:
        library, home, jpegs = Path(directory) / "library", make_home(Path(directory)), tiny_jpegs()
        make_library(library, folders, images, jpegs)
        runs = []
        for what in ("all new", "nothing new", "one image more"):
            if what == "one image more":
                (library / "000000" / "one more.jpg").write_bytes(next(jpegs))
            before = size_mib(home.dagster_dir) if home.dagster_dir.exists() else 0.0
            cost = run_vistag(home, library)
            runs.append((what, cost, size_mib(home.dagster_dir) - before))
        return runs


def show(folders: int, images: int) -> None:
    print(f"\n{folders:,} folders of {images:,} images")
    print("| run | s of processors | s by the clock | peak MiB | Dagster MiB more |\n|---|---|---|---|---|")
    for what, cost, grown in measure(folders, images):
        figures = f"{cost.processor_seconds:.1f} | {cost.seconds:.1f} | {cost.peak_mib:,.0f} | {grown:.2f}"
        print(f"| {what} | {figures} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folders", type=int, default=200, help="0: leave it out")
    parser.add_argument("--images", type=int, default=500, help="of each folder")
    parser.add_argument(
        "--one-folder", type=int, nargs="*", default=[500, 5_000, 50_000], help="images of the only folder"
    )
    options = parser.parse_args(arguments)
    if options.folders:
        show(options.folders, options.images)
    for images in options.one_folder:
        show(1, images)


if __name__ == "__main__":
    main()
