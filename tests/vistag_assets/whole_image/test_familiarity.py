"""Pictures unlike those that a tier was made for: they are told, and their probabilities are no longer confident."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import skimage
from PIL import Image
from small_library import tag, tiny_home, use_tier
from tiny_checkpoint import save_tiny_siglip

from demo.world.render import render
from demo.world.scene import SceneSampler, Split
from resources.models.familiarity import FILE, REASONS, World, tempered, texture, the_line
from vistag_assets.gallery.pages import gallery_page
from vistag_assets.whole_image.familiarity import stamped, what_is_unfamiliar, with_tempered

PHOTOGRAPHS = [
    Path(skimage.__file__).parent / "data" / name
    for name in ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
]
DRAWN_SCENES = range(900_000, 900_004)


def strangeness(pictures: list[Image.Image], made_for: World) -> list[float]:
    return the_line().strangeness(np.stack([texture(one) for one in pictures]), made_for).tolist()


def test_photographs_are_unlike_drawings_and_drawings_unlike_photographs() -> None:
    photographs = [Image.open(path).convert("RGB") for path in PHOTOGRAPHS]
    sampler = SceneSampler(Split.VALIDATE)
    drawings = [Image.fromarray(render(sampler.scene(number), 512).pixels) for number in DRAWN_SCENES]
    assert min(strangeness(photographs, "drawn")) > 0
    assert max(strangeness(photographs, "photographs")) <= 0
    assert min(strangeness(drawings, "photographs")) > 0
    assert max(strangeness(drawings, "drawn")) <= 0


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (3, 2), (2000, 5)])
def test_any_size_has_a_texture(size: tuple[int, int]) -> None:
    assert np.isfinite(texture(Image.new("RGB", size, "red"))).all()


def test_the_line_has_no_picture_in_it() -> None:
    assert FILE.stat().st_size < 10_000


def test_tempering_keeps_the_order_and_no_confidence() -> None:
    given = np.array([0.999, 0.6, 0.3, 0.001])
    after = tempered(given, prior=0.01)
    assert (np.diff(after) < 0).all()
    assert after.max() < 0.3


def test_rows_of_familiar_images_stay_as_they_were() -> None:
    rows = pa.table({"id": ["a", "b"], "probability": pa.array([0.9, 0.9], pa.float32())})
    after = with_tempered(rows, {"b": "why"}, 100)
    assert after.schema == rows.schema
    assert after["probability"].to_pylist()[0] == rows["probability"].to_pylist()[0]
    assert after["probability"].to_pylist()[1] < 0.5
    wanted = pa.table({"id": ["a", "b"], "fingerprint": ["1", "2"]})
    assert stamped(wanted, {}).equals(wanted)
    assert stamped(wanted, {"b": "why"})["fingerprint"].to_pylist()[0] == "1"
    assert stamped(wanted, {"b": "why"})["fingerprint"].to_pylist()[1] != "2"


@pytest.mark.slow
def test_a_run_says_which_pictures_are_unfamiliar_everywhere_they_are_shown(tmp_path: Path) -> None:
    home = tiny_home(tmp_path, checkpoint := save_tiny_siglip(tmp_path / "tiny"))
    shutil.rmtree(tmp_path / "library")
    (tmp_path / "library").mkdir()
    for path in PHOTOGRAPHS[:2]:
        shutil.copy(path, tmp_path / "library")
    use_tier(home, tmp_path, checkpoint, made_for="drawn")
    tag(home, tmp_path / "library")
    (folder,) = home.folders()
    with home.lake.connect() as sql:
        told = sql.sql("select path, unfamiliar from images order by path").fetchall()
        [(likeliest,)] = sql.sql("select max(probability) from tags").fetchall()
    assert told == [("astronaut.png", REASONS["drawn"]), ("chelsea.png", REASONS["drawn"])]
    assert likeliest < 0.5
    assert what_is_unfamiliar(home.lake, [folder.key]) == [
        "2 of 2 pictures are unlike what this tier was made for: read ranks, not probabilities."
    ]
    pages = "".join(page.read_text() for page in gallery_page(home).parent.rglob("*.html"))
    assert f"{REASONS['drawn']}: read ranks, not probabilities" in pages

    use_tier(home, tmp_path, checkpoint)  # of a tier that does not say what it was made for
    tag(home, tmp_path / "library")
    assert what_is_unfamiliar(home.lake, [folder.key]) == []
