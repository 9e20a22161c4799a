"""How quick the application is over a large library: python -m benchmarks.library --images 100000 --folders 200.

The lake is made up: rows of images, proxies, captions, tags and regions, of which only the form counts.
"""

from __future__ import annotations

import argparse
import http.client
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
from PIL import Image

from benchmarks.decisions import HOST, served
from resources.home import FolderRef, Home, Settings, write_settings
from resources.tables import TABLES
from taxonomy import starter_taxonomy

TAGS_AN_IMAGE, REGIONS_AN_IMAGE = 20, 5
_PROXY = "proxies/sample.jpg"


def make_home(root: Path, images: int, folders: int) -> Home:
    """A home whose lake says that so many images were tagged."""
    home = Home(root / "home")
    home.root.mkdir(mode=0o700)
    write_settings(home, Settings(tier="demo"))
    (home.root / "proxies").mkdir()
    Image.new("RGB", (640, 480), "grey").save(home.root / _PROXY)
    concepts = [concept.id for concept in starter_taxonomy().concepts]
    rng = np.random.default_rng(0)
    sizes = [images // folders + (number < images % folders) for number in range(folders)]
    for number, size in enumerate(sizes):
        folder = FolderRef(f"library--{number:05d}", "library", str(root / "library"), f"{number:05d}")
        home.register(folder)
        for table, rows in _tables(number, size, concepts, rng).items():
            home.lake.write(table, rows, folder.key)
    return home


def _tables(number: int, size: int, concepts: list[str], rng: np.random.Generator) -> Mapping[str, pa.Table]:
    ids = [f"{number:08x}{image:024x}" for image in range(size)]
    of_tags = np.repeat(np.arange(size), TAGS_AN_IMAGE)
    of_regions = np.repeat(np.arange(size), REGIONS_AN_IMAGE)
    # a few concepts are on most images, most on few
    drawn = (len(concepts) * rng.random(len(of_tags)) ** 3).astype(int)
    names = np.array(ids)
    region_ids = [
        f"{ids[image][:12]}-r{place % REGIONS_AN_IMAGE + 1}" for place, image in enumerate(of_regions)
    ]
    return {
        "images": _filled("images", size, id=ids, path=[f"{number:05d}/{image:06d}.jpg" for image in range(size)]),
        "proxies": _filled(
            "proxies", size, id=ids, path=[_PROXY] * size, width=[640] * size, height=[480] * size
        ),
        "captions": _filled("captions", size, id=ids, caption=[f"A vase numbered {image}." for image in range(size)]),
        "tags": _filled(
            "tags", len(of_tags), id=names[of_tags], concept_id=[concepts[place] for place in drawn],
            phrase=[concepts[place] for place in drawn], rank=np.tile(np.arange(1, TAGS_AN_IMAGE + 1), size),
            probability=rng.random(len(of_tags)), state=["machine"] * len(of_tags),
            needs_review=rng.random(len(of_tags)) < 0.02, ungrounded=np.zeros(len(of_tags), bool),
        ),
        "grounded_regions": _filled(
            "grounded_regions", len(of_regions), id=names[of_regions], region_id=region_ids,
            concept_id=[concepts[place % len(concepts)] for place in range(len(of_regions))],
            phrase=["vase"] * len(of_regions), bbox=[[0.1, 0.1, 0.5, 0.5]] * len(of_regions),
            score=rng.random(len(of_regions)),
        ),
    }  # fmt: skip


def _filled(table: str, rows: int, **columns: object) -> pa.Table:
    """Rows of a table of the lake with some of its columns; the others are null."""
    schema = TABLES[table].schema
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(rows, field.type)
        for field in schema
    ]
    return pa.table(arrays, schema=schema)


def timed(home: Home, paths: Mapping[str, str]) -> Iterator[tuple[str, float, int]]:
    """(what, seconds until the last byte, bytes) of pages, each asked for once, of a server that was just started."""
    with served(home.root) as server:
        for what, path in paths.items():
            began = time.perf_counter()
            connection = http.client.HTTPConnection(HOST, server.port, timeout=300)
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            if answer.status != 200:
                raise RuntimeError(f"{path}: {answer.status} {body[:500]!r}")
            yield what, time.perf_counter() - began, len(body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--folders", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        home = make_home(Path(directory), options.images, options.folders)
        key = home.lake.folders("images")[-1]
        image = home.lake.read("images", key, ["id"])["id"][0].as_py()
        rare = starter_taxonomy().concepts[-1].id
        pages = {
            "the first page": "/",
            "the first page again": "/",
            "a page in the middle": f"/?page={options.images // 120}",
            "one folder": f"/?folder={quote(key)}",
            "a rare tag": f"/?tag={quote(rare)}",
            "words of captions": "/?words=vase+17",
            "what needs review": "/?review=on",
            "one picture": f"/image/{quote(key)}/{image}",
        }
        print(f"{options.images:,} images in {options.folders:,} folders")
        for what, seconds, size in timed(home, pages):
            print(f"{what}: {seconds:.2f} s, {size / 1024:,.0f} KiB", flush=True)


if __name__ == "__main__":
    main()
