"""COCO's and LVIS's JSON, as pycocotools and lvis-api read them."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exporting import export
from hand_made_lake import HEIGHT, WIDTH, make_home, tables, write
from lvis import LVIS, LVISEval, LVISResults
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from resources.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """The originals are twice as large as their proxies, of which the masks are."""
    home = make_home(tmp_path / "home")
    twice = {"width": 2 * WIDTH, "height": 2 * HEIGHT}
    write(home, "images", [row | twice for row in tables()["images"]])
    return home


@pytest.mark.parametrize("masks", ["rle", "polygon", "none"])
def test_pycocotools_reads_boxes_and_masks_in_pixels_of_the_original(
    home: Home, tmp_path: Path, masks: str
) -> None:
    out = tmp_path / "out"
    export(home, "coco", out, masks=masks)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = COCO(str(out / "annotations.json"))
    assert sorted(image["file_name"] for image in read.imgs.values()) == [f"lib/a/{n}.jpg" for n in (1, 2, 3)]
    names = {category["id"]: category["name"] for category in read.cats.values()}
    bowl, vase = sorted(read.anns.values(), key=lambda found: names[found["category_id"]])
    assert (names[bowl["category_id"]], names[vase["category_id"]]) == ("bowl", "vase")
    np.testing.assert_allclose(bowl["bbox"], [80, 120, 160, 120], atol=0.01)
    mask = read.annToMask(bowl)
    assert mask.shape == (2 * HEIGHT, 2 * WIDTH)
    expected = np.zeros_like(mask)
    expected[120:240, 80 : 240 if masks == "none" else 160] = 1
    overlap = (mask & expected).sum() / (mask | expected).sum()
    assert overlap == (1 if masks != "polygon" else pytest.approx(1, abs=0.05))
    assert bowl["area"] == pytest.approx(expected.sum(), rel=0.05)


def test_the_results_are_found_in_the_annotations(home: Home, tmp_path: Path) -> None:
    export(home, "coco", tmp_path / "out")
    truth = COCO(str(tmp_path / "out/annotations.json"))
    measured = COCOeval(truth, truth.loadRes(str(tmp_path / "out/results.json")), "segm")
    measured.evaluate()
    measured.accumulate()
    measured.summarize()
    assert measured.stats[0] == pytest.approx(1)


def test_lvis_reads_it_without_a_word_and_finds_the_results(
    home: Home, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(np, "float", float, raising=False)  # lvis 0.5.3 still says np.float
    export(home, "lvis", tmp_path / "out")
    with caplog.at_level(logging.WARNING):
        truth = LVIS(str(tmp_path / "out/annotations.json"))
        measured = LVISEval(truth, LVISResults(truth, str(tmp_path / "out/results.json")), "segm")
        measured.run()
    assert not caplog.records
    assert measured.results["AP"] == pytest.approx(1)
    by_name = {category["name"]: category for category in truth.cats.values()}
    assert (by_name["vase"]["image_count"], by_name["vase"]["instance_count"]) == (2, 1)
    assert {category["frequency"] for category in by_name.values()} == {"r"}
    images = {image["file_name"]: image for image in truth.imgs.values()}
    assert images["lib/a/2.jpg"]["neg_category_ids"] == [by_name["bowl"]["id"]]  # a person rejected it
    assert by_name["vase"]["id"] in images["lib/a/1.jpg"]["not_exhaustive_category_ids"]


def test_image_ids_are_the_same_whatever_else_is_there(home: Home, tmp_path: Path) -> None:
    def ids(name: str) -> dict[str, int]:
        export(home, "coco", tmp_path / name)
        read: dict[str, Any] = json.loads((tmp_path / name / "annotations.json").read_text())
        return {image["file_name"]: image["id"] for image in read["images"]}

    before = ids("one")
    write(home, "images", tables()["images"][1:])
    assert ids("two").items() < before.items()
