"""What the update of one partition holds and costs: python -m benchmarks.scaling.partition --images 500 5000 50000 --rows 200.

A table as `tag_scores` is made by `update_partition` alone, each update in a process of its own: all of it new, nothing
new, one image more, every image anew. No image and no model is needed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.measuring import peak_mib
from resources.lake import Lake, update_partition
from resources.tables import TAG_SCORES

TABLE, FOLDER = TAG_SCORES.name, "folder"
_IMAGES_AT_A_TIME = 2048
_CONCEPTS = 1200
_STEPS = (("all new", 0, "1"), ("nothing new", 0, "1"), ("one image more", 1, "1"), ("all anew", 1, "2"))
"""(what, images more, fingerprint)"""


def rows_of(ids: Sequence[str], count: int, fingerprint: str) -> pa.Table:
    """`count` rows of `tag_scores` of each id, of numbers by chance."""
    rng, size = np.random.default_rng(len(ids)), len(ids) * count
    names = pa.array([f"concept_{number:04d}" for number in range(_CONCEPTS)])
    scores = rng.random((4, size), np.float32)
    columns = {
        "id": pa.array(ids, pa.string()).take(pa.array(np.repeat(np.arange(len(ids)), count))),
        "concept_id": names.take(pa.array(rng.integers(0, _CONCEPTS, size))),
        "rank": pa.array(np.tile(np.arange(1, count + 1, dtype=np.int16), len(ids))),
        **dict(zip(("cosine", "logit", "score", "probability"), scores, strict=True)),
        "inherited_from": names.take(pa.array(rng.integers(0, _CONCEPTS, size), mask=rng.random(size) < 0.9)),
        "fingerprint": pa.repeat(fingerprint, size),
    }
    return pa.table([columns[name] for name in TAG_SCORES.schema.names], schema=TAG_SCORES.schema)


def update(home: Path, images: int, rows: int, fingerprint: str) -> dict[str, float]:
    """Brings the partition to so many images under a fingerprint: seconds, seconds of processors, MiB at the peak."""

    def compute(ids: list[str]) -> Iterator[pa.Table]:
        for start in range(0, len(ids), _IMAGES_AT_A_TIME):
            yield rows_of(ids[start : start + _IMAGES_AT_A_TIME], rows, fingerprint)

    ids = sorted(np.random.default_rng(number).bytes(16).hex() for number in range(images))
    wanted = pa.table({"id": ids, "fingerprint": pa.repeat(fingerprint, images)})
    started, worked = time.perf_counter(), time.process_time()
    update_partition(Lake(home / "lake", home / "pending"), TABLE, FOLDER, wanted, TAG_SCORES.schema, compute)
    return {
        "seconds": time.perf_counter() - started,
        "processor_seconds": time.process_time() - worked,
        "peak_mib": peak_mib(),
    }


def measure(images: int, rows: int) -> None:
    print(f"\n{images:,} images with {rows} rows each")
    print("| update | s of processors | s by the clock | peak MiB |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as home:
        for what, more, fingerprint in _STEPS:
            command = [sys.executable, "-m", __spec__.name, "--home", home, "--fingerprint", fingerprint]
            command += ["--images", str(images + more), "--rows", str(rows)]
            cost = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            figures = f"{cost['processor_seconds']:.1f} | {cost['seconds']:.1f} | {cost['peak_mib']:,.0f}"
            print(f"| {what} | {figures} |", flush=True)
        size = (Path(home) / "lake" / TABLE / f"folder={FOLDER}" / "data.parquet").stat().st_size
    print(f"{size / 2**20:.1f} MiB on the disk")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="*", default=[500, 5_000, 50_000])
    parser.add_argument("--rows", type=int, default=200, help="of each image")
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--fingerprint", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.home:  # the process that is measured
        print(json.dumps(update(options.home, options.images[0], options.rows, options.fingerprint)))
        return
    for images in options.images:
        measure(images, options.rows)


if __name__ == "__main__":
    main()
