"""Small detection data for lvis-api and pycocotools, and for vistag: the same data to all."""

import contextlib
import io
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from evaluation.metrics.matching import Cap, Matching, match_regions

Box = tuple[float, float, float, float]
TrueRegion = tuple[str, str, Box]
Region = tuple[str, str, str | None, Box, float]
Pairs = Collection[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Case:
    """Images are whole numbers as text. Region ids ascend as the rows do, as the references break ties by row."""

    truth: Sequence[TrueRegion]
    regions: Sequence[Region]
    negatives: Pairs = ()
    not_exhaustive: Pairs = ()
    crowd: Sequence[bool] = ()  # of `truth`; empty: none

    @property
    def images(self) -> list[str]:
        """Those that the truth or the negatives name; what is said about others is for nobody."""
        return sorted({row[0] for row in [*self.truth, *self.negatives]}, key=int)

    @property
    def concepts(self) -> list[str]:
        return sorted({row[1] for row in self.truth})

    def match(self, cap: Cap, federated: bool) -> Matching:
        return match_regions(
            truth_table(self.truth, self.crowd),
            region_table(self.regions),
            negatives=pair_table(self.negatives) if federated else None,
            not_exhaustive=pair_table(self.not_exhaustive) if federated else None,
            images=self.images,
            cap=cap,
        )


def truth_table(rows: Sequence[TrueRegion], crowd: Sequence[bool] = ()) -> pa.Table:
    table = pa.table(
        {
            "id": pa.array([row[0] for row in rows], pa.string()),
            "concept_id": pa.array([row[1] for row in rows], pa.string()),
            "bbox": pa.array([row[2] for row in rows], pa.list_(pa.float64(), 4)),
        }
    )
    return table.append_column("crowd", pa.array(crowd, pa.bool_())) if crowd else table


def region_table(rows: Sequence[Region]) -> pa.Table:
    return pa.table(
        {
            "id": pa.array([row[0] for row in rows], pa.string()),
            "region_id": pa.array([row[1] for row in rows], pa.string()),
            "concept_id": pa.array([row[2] for row in rows], pa.string()),
            "bbox": pa.array([row[3] for row in rows], pa.list_(pa.float64(), 4)),
            "score": pa.array([row[4] for row in rows], pa.float64()),
        }
    )


def pair_table(pairs: Pairs) -> pa.Table:
    return pa.table(
        {
            "id": pa.array([pair[0] for pair in pairs], pa.string()),
            "concept_id": pa.array([pair[1] for pair in pairs], pa.string()),
        }
    )


def lvis_evaluation(case: Case, frequency: Mapping[str, str]) -> Any:
    """LVISEval after `run`; `frequency` is r, c or f of each concept."""
    from lvis import LVIS, LVISEval, LVISResults

    ground_truth = LVIS.__new__(LVIS)
    ground_truth.logger = logging.getLogger("lvis")
    ground_truth.dataset = _dataset(case, frequency)
    ground_truth._create_index()
    evaluation = LVISEval(ground_truth, LVISResults(ground_truth, _results(case)), iou_type="bbox")
    evaluation.run()
    return evaluation


def coco_evaluation(case: Case) -> Any:
    """COCOeval after `summarize`."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO()
        ground_truth.dataset = _dataset(case, dict.fromkeys(case.concepts, "c"))
        ground_truth.createIndex()
        evaluation = COCOeval(ground_truth, ground_truth.loadRes(_results(case)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _dataset(case: Case, frequency: Mapping[str, str]) -> dict[str, Any]:
    crowd = case.crowd or [False] * len(case.truth)
    return {
        "images": [
            {
                "id": int(image),
                "neg_category_ids": _categories(case, image, case.negatives),
                "not_exhaustive_category_ids": _categories(case, image, case.not_exhaustive),
            }
            for image in case.images
        ],
        "categories": [
            {"id": n + 1, "name": name, "frequency": frequency[name], "image_count": 1}
            for n, name in enumerate(case.concepts)
        ],
        "annotations": [
            {
                "id": n + 1,
                "image_id": int(image),
                "category_id": case.concepts.index(concept) + 1,
                "bbox": list(box),
                "area": box[2] * box[3],
                "iscrowd": int(crowd[n]),
            }
            for n, (image, concept, box) in enumerate(case.truth)
        ],
    }


def _categories(case: Case, image: str, pairs: Pairs) -> list[int]:
    return [
        case.concepts.index(concept) + 1 for of, concept in pairs if of == image and concept in case.concepts
    ]


def _results(case: Case) -> list[dict[str, Any]]:
    return [
        {
            "image_id": int(image),
            # a category that the ground truth does not know still takes a place under the cap
            "category_id": case.concepts.index(concept) + 1 if concept in case.concepts else 99,
            "bbox": list(box),
            "score": score,
        }
        for image, _, concept, box, score in case.regions
        if image in case.images
    ]


def random_case(seed: int, images: int = 12) -> Case:
    """Crowded pictures: several true boxes of a concept overlap, scores tie, some regions are elsewhere."""
    rng = np.random.default_rng(seed)
    truth: list[TrueRegion] = []
    regions: list[Region] = []
    for i in range(images):
        image = str(i + 1)
        for concept in ("anchor", "bowl", "chair"):
            for _ in range(rng.integers(0, 5)):
                x, y, w, h = (float(v) for v in rng.uniform((0, 0, 10, 10), (50, 50, 50, 50)))
                truth.append((image, concept, (x, y, w, h)))
                for _ in range(rng.integers(0, 3)):
                    name: Any = rng.choice(["anchor", "bowl", "chair", "stranger"], p=[0.3, 0.3, 0.3, 0.1])
                    said = concept if rng.random() < 0.7 else str(name)
                    place = _near((x, y, w, h), rng, rng.choice([0, 2, 8]))
                    score = float(rng.choice([0.2, 0.5, rng.random()]))
                    regions.append((image, f"r{len(regions)}", said, place, score))
    truth = truth or [("1", "bowl", (0, 0, 10, 10))]
    every = [(str(i + 1), concept) for i in range(images) for concept in ("anchor", "bowl", "chair")]
    present = {row[:2] for row in truth}
    return Case(
        truth,
        regions or [("1", "r0", "bowl", (0, 0, 9, 9), 0.5)],
        negatives=[pair for pair in every if pair not in present and rng.random() < 0.5],
        not_exhaustive=[pair for pair in every if rng.random() < 0.3],
        crowd=[bool(rng.random() < 0.2) for _ in truth],
    )


def _near(box: Box, rng: np.random.Generator, spread: float) -> Box:
    x, y, w, h = np.array(box) + rng.normal(0, spread, 4)
    return float(x), float(y), float(max(w, 1)), float(max(h, 1))
