"""Many tiny images in one folder: none is lost, and memory stays within bounds. `make bench-scale` takes more."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.scale import make_home, make_library, run_vistag, tiny_jpegs
from resources.home import Home
from vistag_assets.automation.verify import verify_home

IMAGES = 5_000
PEAK_MIB = 3_000
"""Of the process of a run: torch and the encoder alone take 1,000, all of it 1,600 to 2,100, as the allocators please."""


def rows(home: Home, table: str) -> int:
    return home.lake.read_all(table, ["id"]).num_rows


@pytest.mark.slow
def test_five_thousand_images_in_one_folder(tmp_path: Path) -> None:
    home, library = make_home(tmp_path), tmp_path / "library"
    jpegs = tiny_jpegs()
    make_library(library, 1, IMAGES, jpegs)
    cost = run_vistag(home, library)
    assert cost.peak_mib < PEAK_MIB, cost
    assert rows(home, "images") == rows(home, "proxies") == rows(home, "global_embeddings") == IMAGES
    assert len(home.lake.read_all("tag_scores", ["id"])["id"].unique()) == IMAGES
    assert len(list((home.reports_dir / "gallery" / "thumbnails").glob("*.jpg"))) == IMAGES
    assert verify_home(home).findings == ()
