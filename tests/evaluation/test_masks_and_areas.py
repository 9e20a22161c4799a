"""Masks, areas and figures by tag of `vistag evaluate`, against pycocotools and LVISEval."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_files import Row, write
from numpy.typing import NDArray
from typer.testing import CliRunner

from vistag_assets.cli import app

SIDE = 240


def drawn(seed: int) -> tuple[Row, list[Row]]:
    """Images of rectangles and triangles of all sizes with masks, some of them crowds; results that lie near them."""
    from pycocotools import mask as coco

    rng = np.random.default_rng(seed)

    def polygon(x: float, y: float, w: float, h: float) -> list[float]:
        return (
            [x, y, x + w, y, x + w, y + h] if rng.random() < 0.4 else [x, y, x + w, y, x + w, y + h, x, y + h]
        )

    def box() -> list[float]:
        sides = rng.choice([20, 60, 120], 2) * rng.uniform(0.7, 1.3, 2)
        return [*(rng.random(2) * (SIDE - sides)).round(1).tolist(), *sides.round(1).tolist()]

    annotations: list[Row] = []
    results: list[Row] = []
    for n in range(1, 61):
        image, category, shape = int(rng.integers(1, 11)), int(rng.integers(1, 4)), box()
        points = polygon(*shape)
        rle = coco.merge(coco.frPyObjects([points], SIDE, SIDE))
        crowd = int(n % 9 == 0)
        segmentation: Any = {"size": [SIDE, SIDE], "counts": rle["counts"].decode()} if crowd else [points]
        annotation = {"id": n, "image_id": image, "category_id": category, "bbox": shape, "iscrowd": crowd}
        annotations.append({**annotation, "area": float(coco.area(rle)), "segmentation": segmentation})
        for _ in range(3):
            x, y, w, h = (v + rng.normal(0, 4) for v in shape)
            near = coco.merge(coco.frPyObjects([polygon(x, y, max(w, 3), max(h, 3))], SIDE, SIDE))
            found = {"image_id": image, "category_id": category if rng.random() < 0.8 else 1 + category % 3}
            mask = {"size": [SIDE, SIDE], "counts": near["counts"].decode()}
            results.append({**found, "segmentation": mask, "score": float(rng.random().__round__(3))})
    truth = {
        "info": {},
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": SIDE, "height": SIDE} for n in range(1, 11)],
        "categories": [{"id": n, "name": f"c{n}"} for n in range(1, 4)],
        "annotations": annotations,
    }
    return truth, results


def evaluate(truth: Path, found: Path, *options: str) -> Row:
    arguments = ["evaluate", "--ground-truth", str(truth), "--predictions", str(found), "--json", *options]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["segm", "bbox"])
def test_masks_and_areas_are_those_of_pycocotools(tmp_path: Path, seed: int, kind: str) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, results = drawn(seed)
    files = write(tmp_path / "t.json", truth), write(tmp_path / "p.json", results)
    options = ["--cap", "coco", "--areas", "--boxes", "xywh", *(["--masks"] if kind == "segm" else [])]
    found = evaluate(*files, *options)
    annotations = COCO(str(files[0]))
    reference = COCOeval(annotations, annotations.loadRes(str(files[1])), kind)
    if kind == "bbox":  # pycocotools takes the area of a result's mask, whatever is compared
        for row in reference.cocoDt.dataset["annotations"]:
            row["area"] = row["bbox"][2] * row["bbox"][3]
    for step in (reference.evaluate, reference.accumulate, reference.summarize):
        step()
    overall = found["grounding_map"]["overall"]
    assert [overall[iou] for iou in ("0.5:0.95", "0.5", "0.75")] == pytest.approx(
        reference.stats[:3], abs=1e-9
    )
    areas = found["grounding_by_area"]
    assert [areas[name]["map"] for name in ("small", "medium", "large")] == pytest.approx(
        reference.stats[3:6], abs=1e-9
    )
    assert [areas[name]["recall"] for name in areas] == pytest.approx(reference.stats[9:12], abs=1e-9)


def near_the_edge(mask: Any) -> NDArray[np.uint8]:
    """Pixels of a mask from which another pixel within the boundary's width lies outside; what is beyond the image is."""
    from pycocotools import mask as coco

    width_px = round(0.02 * float(np.hypot(SIDE, SIDE)))
    inside = np.pad(coco.decode(mask), width_px)
    steps = range(2 * width_px + 1)
    everywhere = np.min([inside[y : y + SIDE, x : x + SIDE] for y in steps for x in steps], axis=0)
    return np.asarray(coco.decode(mask) - everywhere, np.uint8)


@pytest.mark.parametrize("seed", range(2))
def test_boundaries_are_compared_as_the_paper_says(tmp_path: Path, seed: int) -> None:
    from pycocotools import mask as coco
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    class OfBoundaries(COCOeval):  # type: ignore[misc]
        def computeIoU(self, image: int, category: int) -> Any:  # noqa: N802
            of_masks = super().computeIoU(image, category)
            if len(of_masks) == 0:
                return of_masks
            true, found = self._gts[image, category], self._dts[image, category]
            found = [found[i] for i in np.argsort([-row["score"] for row in found], kind="mergesort")]
            edges = [
                [coco.encode(np.asfortranarray(near_the_edge(row["segmentation"]))) for row in rows]
                for rows in (found[: self.params.maxDets[-1]], true)
            ]
            return np.minimum(of_masks, coco.iou(*edges, [row["iscrowd"] for row in true]))

    truth, results = drawn(seed)
    files = write(tmp_path / "t.json", truth), write(tmp_path / "p.json", results)
    options = ["--cap", "coco", "--boxes", "xywh"]
    annotations = COCO(str(files[0]))
    reference = OfBoundaries(annotations, annotations.loadRes(str(files[1])), "segm")
    for step in (reference.evaluate, reference.accumulate, reference.summarize):
        step()
    found = evaluate(*files, *options, "--boundary")["grounding_map"]["overall"]
    assert [found[iou] for iou in ("0.5:0.95", "0.5", "0.75")] == pytest.approx(reference.stats[:3], abs=1e-9)
    assert found["0.5:0.95"] < evaluate(*files, *options, "--masks")["grounding_map"]["overall"]["0.5:0.95"]


@pytest.mark.parametrize("seed", range(2))
def test_masks_of_lvis_are_those_of_lvis_api(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lvis import LVIS, LVISEval, LVISResults

    monkeypatch.setattr(np, "float", float, raising=False)  # lvis 0.5.3 still says np.float
    rng = np.random.default_rng(seed)
    truth, results = drawn(seed)
    truth["annotations"] = [row for row in truth["annotations"] if not row.pop("iscrowd")]
    for image in truth["images"]:
        for key in ("neg_category_ids", "not_exhaustive_category_ids"):
            image[key] = rng.choice([1, 2, 3], 1).tolist()
    for category in truth["categories"]:
        category["frequency"] = "rcf"[category["id"] % 3]
    files = write(tmp_path / "t.json", truth), write(tmp_path / "p.json", results)
    found = evaluate(*files, "--masks", "--areas")
    annotations = LVIS(str(files[0]))
    reference = LVISEval(annotations, LVISResults(annotations, str(files[1])), iou_type="segm")
    reference.run()
    assert found["grounding_map"]["overall"]["0.5:0.95"] == pytest.approx(reference.results["AP"], abs=1e-9)
    for name, key in (("small", "APs"), ("medium", "APm"), ("large", "APl")):
        assert found["grounding_by_area"][name]["map"] == pytest.approx(reference.results[key], abs=1e-9)


def test_every_tag_has_its_figures_in_the_json_and_as_csv(tmp_path: Path) -> None:
    truth, results = drawn(0)
    files = write(tmp_path / "t.json", truth), write(tmp_path / "p.json", results)
    table = tmp_path / "tags.csv"
    found = evaluate(*files, "--boxes", "xywh", "--classes", str(table))
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["concept_id"] for row in rows] == [row["concept_id"] for row in found["classes"]]
    mean = np.mean([float(row["average_precision@0.5"]) for row in rows])
    assert mean == pytest.approx(found["grounding_map"]["overall"]["0.5"])
    assert {"band", "images", "recall", "average_precision", "support"} <= set(rows[0])


def test_regions_without_a_mask_are_refused(tmp_path: Path) -> None:
    truth, results = drawn(0)
    del results[3]["segmentation"]
    results[3]["bbox"] = [1, 1, 5, 5]
    files = write(tmp_path / "t.json", truth), write(tmp_path / "p.json", results)
    arguments = ["evaluate", "--ground-truth", str(files[0]), "--predictions", str(files[1]), "--masks"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "1 of 180 regions have no mask" in " ".join(result.stderr.split())
