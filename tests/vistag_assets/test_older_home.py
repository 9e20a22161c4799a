"""A home of the last release: what its rows were computed by is what rows are computed by now, so none is made again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from resources.home import Home, Settings, write_settings
from resources.images.describing import COLUMNS as DESCRIBED
from resources.lake import empty_ids
from resources.tables import TABLES
from resources.workspace import open_workspace
from vistag_assets.ingest.files import ingest_files
from vistag_assets.progress import Meter
from vistag_assets.runs import find_library, tag_folders

PICTURES = "169de78a14162f0c"
"""Of images and proxies, by commit 6e4b1f9."""
FINGERPRINTS = {
    "proxies": PICTURES,
    "global_embeddings": "542879d71241da8c",
    "tag_scores": "9573e2a2a87e358a",
    "ocr_text": "eab66cdcba876faa",
    "captions": "663764e1f1d4cf72",
    "candidates": "57ffc9890003cbe4",
}
"""By the same commit, of two pictures under the tier demo; what depends on the words of a model is left out.

They may change with a stage's version only, or with a bundled model: then every home computes that table again.
"""
COLUMNS = ("pixel_hash", "colour", "notes", "changed_at", "inode", *DESCRIBED)
"""of `images`, which that release did not know"""


@pytest.mark.slow
def test_rows_of_the_last_release_are_not_made_again(tmp_path: Path) -> None:
    home, library = Home(tmp_path / "home"), tmp_path / "library"
    (library / "a").mkdir(parents=True)
    for seed in (14, 25):  # of noise that the tier takes for drawings
        pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(library / "a" / f"{seed}.png")
    write_settings(home, Settings(tier="demo"))
    folders = find_library(library, "lib", home)
    (folder,) = folders
    home.register(folder)
    ingest_files(open_workspace(home), folder, Meter("as the last release left it"))
    for table in ("images", "proxies"):
        rows = [
            {name: value for name, value in row.items() if name not in COLUMNS} | {"fingerprint": PICTURES}
            for row in home.lake.read(table, folder.key).to_pylist()
        ]
        for row in rows if table == "proxies" else ():
            path = home.root / row["path"]
            row["path"] = f"proxies/{row['id'][:2]}/{row['id']}-{PICTURES}.jpg"
            path.rename(home.root / row["path"])
        columns = TABLES[table].select(*rows[0])
        home.lake.write(table, pa.Table.from_pylist(rows, columns), folder.key)

    tag_folders(home, folders, lambda stage, done, total: None)
    for table, expected in FINGERPRINTS.items():
        rows = home.lake.read(table, folder.key)
        assert {*rows["fingerprint"].to_pylist(), *empty_ids(rows).values()} == {expected}, table
    assert set(home.lake.read("concept_embeddings")["fingerprint"].to_pylist()) == {"642235de80a55683"}

    before = {table: home.lake.data_file(table, folder.key).stat().st_mtime_ns for table in FINGERPRINTS}
    outcome = tag_folders(home, folders, lambda stage, done, total: None)
    assert outcome.computed == {}
    assert before == {table: home.lake.data_file(table, folder.key).stat().st_mtime_ns for table in before}
