"""What many tiny images cost: python -m benchmarks.scale --images 100000 --folders 200 --one-folder 50000."""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
from PIL import Image

from benchmarks.measuring import VISTAG, Cost, cost_of
from benchmarks.tiny_checkpoint import save_tiny_siglip
from resources.home import Home, Settings, write_settings
from vistag_assets.automation.verify import verify_home

MIB = 1024 * 1024
ADDED_FILES = 10
_SIZE_PX = (24, 32)


def tiny_jpegs() -> Iterator[bytes]:
    """JPEG files of noise, no two of the same pixels, so that none is taken for a copy of another; without end."""
    rng = np.random.default_rng(0)
    while True:
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (*_SIZE_PX, 3), np.uint8)).save(file, "JPEG", quality=50)
        yield file.getvalue()


def make_library(root: Path, folders: int, images: int, jpegs: Iterator[bytes]) -> None:
    """`folders` folders of `images` images each."""
    for folder in range(folders):
        directory = root / f"{folder:06d}"
        directory.mkdir(parents=True)
        for number in range(images):
            (directory / f"{number:06d}.jpg").write_bytes(next(jpegs))


def make_home(root: Path) -> Home:
    """A home whose tier has a tiny encoder of random weights and no other model."""
    checkpoint = str(save_tiny_siglip(root / "encoder"))
    encoder = {"family": "siglip", "model": checkpoint, "batch_size": 64, "licence": "own"}
    tier = root / "tiny.yaml"
    tier.write_text(json.dumps({"description": "tiny", "device": "cpu", "encoder": encoder}))  # JSON is YAML
    home = Home(root / "home")
    write_settings(home, Settings(tier=str(tier)))
    return home


def run_vistag(home: Home, library: Path) -> Cost:
    """`vistag run`, in a process of its own. Raises CalledProcessError where it fails."""
    cost = cost_of([*VISTAG, "run", str(library), "--home", str(home.root)])
    with dg.DagsterInstance.from_config(str(home.dagster_dir)) as instance:
        (run,) = instance.get_runs(limit=1)
        steps = instance.get_run_step_stats(run.run_id)
    return replace(
        cost, step_seconds={step.step_key: (step.end_time or 0) - (step.start_time or 0) for step in steps}
    )


def measure(folders: int, images: int) -> None:
    """Tag a library of `folders` folders of `images` images, look for faults, tag again; print what it took."""
    with tempfile.TemporaryDirectory() as directory:
        library, home, jpegs = Path(directory) / "library", make_home(Path(directory)), tiny_jpegs()
        make_library(library, folders, images, jpegs)
        print(f"\n{folders:,} folders of {images:,} images")
        _print("all new", run_vistag(home, library))
        started = time.perf_counter()
        found = verify_home(home)
        print(
            f"verify: {time.perf_counter() - started:.1f} s, {found.rows:,} rows in {found.partitions:,} files, "
            f"{len(found.findings)} findings"
        )
        if found.findings:
            raise SystemExit("\n".join(finding.sentence for finding in found.findings))
        print(
            f"Dagster: {size_mib(home.dagster_dir):.1f} MiB, {_events(home):,} events; lake {size_mib(home.root / 'lake'):.1f} MiB"
        )
        _print("nothing new", run_vistag(home, library))
        for number in range(ADDED_FILES):
            (library / "000000" / f"one more {number}.jpg").write_bytes(next(jpegs))
        _print(f"{ADDED_FILES} files added", run_vistag(home, library))
        rows = home.lake.read_all("images", ["id"]).num_rows
        print(f"{rows:,} images, Dagster: {size_mib(home.dagster_dir):.1f} MiB")


def _print(what: str, cost: Cost) -> None:
    steps = ", ".join(
        f"{step} {seconds:.1f}"
        for step, seconds in sorted(cost.step_seconds.items(), key=lambda item: -item[1])
        if seconds >= 1
    )
    print(
        f"{what}: {cost.seconds:.1f} s ({cost.processor_seconds:.1f} s of processors), "
        f"at most {cost.peak_mib:,.0f} MiB; steps in s: {steps}",
        flush=True,
    )


def size_mib(directory: Path) -> float:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) / MIB


def _events(home: Home) -> int:
    with dg.DagsterInstance.from_config(str(home.dagster_dir)) as instance:
        return sum(len(instance.all_logs(run.run_id)) for run in instance.get_runs())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000, help="in all of the folders; 0: leave it out")
    parser.add_argument("--folders", type=int, default=200)
    parser.add_argument(
        "--one-folder", type=int, default=50_000, help="images of one folder; 0: leave it out"
    )
    options = parser.parse_args(arguments)
    if options.images:
        measure(options.folders, options.images // options.folders)
    if options.one_folder:
        measure(1, options.one_folder)


if __name__ == "__main__":
    main()
