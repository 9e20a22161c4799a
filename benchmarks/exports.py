"""What exports of a large home cost: python -m benchmarks.exports --images 100000 --folders 50.

Each format is written three times, each time by a process of its own: all of it, nothing new, and one folder changed.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image
from pycocotools import mask as coco

from benchmarks.measuring import VISTAG, cost_of
from resources.home import FolderRef, Home, Settings, folder_key, write_settings
from resources.workspace import open_workspace
from vistag_assets.exports.formats import FORMATS

WIDTH, HEIGHT = 640, 480
TAGS, REGIONS = 5, 2
"""Of each image."""
_LIBRARY = "library"
_STAMP = "0" * 16


def make_home(root: Path, images: int, folders: int) -> Home:
    """A home of `images` images in `folders` folders, each with tags, two regions, one of them with a mask, and texts."""
    home = Home(root)
    write_settings(home, Settings())
    concepts = [concept.id for concept in open_workspace(home).taxonomy.concepts]
    for folder in range(folders):
        count = images // folders + (folder < images % folders)
        ref = FolderRef(folder_key(_LIBRARY, f"{folder:05}"), _LIBRARY, str(root / _LIBRARY), f"{folder:05}")
        home.register(ref)
        write_folder(home, ref, count, concepts, np.random.default_rng(folder))
    return home


def write_folder(
    home: Home, folder: FolderRef, images: int, concepts: Sequence[str], rng: np.random.Generator
) -> None:
    """The rows of one folder; all its images share one picture."""
    picture = home.root / "proxies" / f"{folder.key}.jpg"
    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 255, (48, 64, 3), np.uint8)).save(picture)
    ids = [rng.bytes(16).hex() for _ in range(images)]
    named = rng.integers(len(concepts), size=(images, TAGS)).tolist()
    boxes = (rng.random((images, REGIONS, 4)) / 2).round(4)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[100:300, 200:400] = 1
    counts = coco.encode(mask)["counts"].decode("ascii")
    regions = [f"{id_[:12]}-r{n}" for id_ in ids for n in range(REGIONS)]
    of_regions = [id_ for id_ in ids for _ in range(REGIONS)]
    found = [concepts[named[n][r]] for n in range(images) for r in range(REGIONS)]
    of_tags = [id_ for id_ in ids for _ in range(TAGS)]
    tags = [concepts[number] for of_image in named for number in of_image]
    box = pa.FixedSizeListArray.from_arrays(pa.array(boxes.ravel(), pa.float32()), 4)
    tables = {
        "images": {
            "id": ids,
            "path": [f"{folder.relative}/{n:06}.jpg" for n in range(images)],
            "also_at": pa.array([[]] * images, pa.list_(pa.string())),
            "width": [WIDTH] * images,
            "height": [HEIGHT] * images,
        },
        "proxies": {
            "id": ids,
            "path": [str(picture.relative_to(home.root))] * images,
            "width": [WIDTH] * images,
            "height": [HEIGHT] * images,
        },
        "captions": {"id": ids, "caption": [f"a scene of {id_[:6]} on a table" for id_ in ids]},
        "descriptions": {
            "id": ids,
            "title": [f"Scene {id_[:6]}" for id_ in ids],
            "description": [f"Scene {id_}. " + "The light falls from the left. " * 10 for id_ in ids],
        },
        "tags": {
            "id": of_tags,
            "concept_id": tags,
            "phrase": tags,
            "rank": [1 + n for _ in ids for n in range(TAGS)],
            "probability": rng.random(images * TAGS) / 2 + 0.5,
            "region_ids": pa.array([[]] * images * TAGS, pa.list_(pa.string())),
            "state": ["machine"] * images * TAGS,
            "needs_review": [False] * images * TAGS,
        },
        "grounded_regions": {
            "id": of_regions,
            "region_id": regions,
            "concept_id": found,
            "phrase": found,
            "bbox": box,
            "score": rng.random(len(regions)),
        },
        "region_masks": {
            "id": of_regions[::REGIONS],
            "region_id": regions[::REGIONS],
            "height": [HEIGHT] * images,
            "width": [WIDTH] * images,
            "counts": [counts] * images,
        },
    }
    for name, columns in tables.items():
        rows = pa.table(columns)
        home.lake.write(
            name, rows.append_column("fingerprint", pa.array([_STAMP] * rows.num_rows)), folder.key
        )


def change(home: Home, key: str) -> None:
    """Another caption for each image of a folder."""
    rows = home.lake.read("captions", key)
    place = rows.column_names.index("caption")
    captions = pa.array([f"{caption} again" for caption in rows["caption"].to_pylist()])
    home.lake.write("captions", rows.set_column(place, "caption", captions), key)


def told_cost(home: Home, name: str, to: Path) -> str:
    """Seconds and peak memory of one `vistag export`. Raises CalledProcessError where it fails."""
    cost = cost_of([*VISTAG, "export", name, "--to", str(to), "--home", str(home.root)])
    return f"{cost.seconds:.1f} s ({cost.processor_seconds:.1f} s of processors), at most {cost.peak_mib:,.0f} MiB"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--folders", type=int, default=50)
    parser.add_argument("--formats", default=",".join(FORMATS), help="which, parted by commas")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        home = make_home(Path(directory) / "home", chosen.images, chosen.folders)
        print(
            f"{chosen.images:,} images in {chosen.folders:,} folders, each {TAGS} tags and {REGIONS} regions"
        )
        for name in chosen.formats.split(","):
            to = Path(directory) / name
            print(f"{name}, all new: {told_cost(home, name, to)}", flush=True)
            print(f"{name}, nothing new: {told_cost(home, name, to)}", flush=True)
            change(home, home.lake.folders("images")[0])
            print(f"{name}, one folder changed: {told_cost(home, name, to)}", flush=True)
            subprocess.run(["rm", "-rf", str(to)], check=True)


if __name__ == "__main__":
    main()
