"""A seeded workload of the size of LVIS' validation set, in the files that every peer reads."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.evaluation import DETECTIONS_AN_IMAGE, PREDICTED_TAGS, RESULTS, TRUE_TAGS, TRUTH
from evaluation.metrics.bands import LVIS_COMMON_MAX_IMAGES, LVIS_RARE_MAX_IMAGES

CATEGORIES = 1203
BOXES_AN_IMAGE = 12
SIDE_PIXELS = 640
TAGS = 5_000
TAGS_KEPT = 50
TRUE_TAGS_AN_IMAGE = 10


def write_regions(folder: Path, images: int, seed: int) -> None:
    """TRUTH in LVIS' format and RESULTS as the list of detections that every peer takes.

    Categories are Zipf-distributed, with the frequency that they have here. A third of the detections lie near a true
    box, half are called as one of the picture, the rest are drawn anew. Scores have five decimals, so some tie.
    """
    rng = np.random.default_rng(seed)
    boxes = images * BOXES_AN_IMAGE
    image, category = np.repeat(np.arange(images), BOXES_AN_IMAGE), _zipf(rng, CATEGORIES, boxes)
    box = _boxes(rng, boxes)
    detections = images * DETECTIONS_AN_IMAGE
    of_image = np.repeat(np.arange(images), DETECTIONS_AN_IMAGE)
    source = of_image * BOXES_AN_IMAGE + rng.integers(BOXES_AN_IMAGE, size=detections)
    shift = rng.normal(0, 0.16, (detections, 4)) * rng.random((detections, 1)) * box[source][:, [2, 3, 2, 3]]
    near = (box[source] + shift).clip(min=1)
    found = np.where(rng.random((detections, 1)) < 1 / 3, near, _boxes(rng, detections)).round(2)
    answer = np.where(rng.random(detections) < 0.5, category[source], _zipf(rng, CATEGORIES, detections))
    score = rng.random(detections).round(5)

    truth = {
        "images": [_image(n, rng) for n in range(images)],
        "categories": [
            {"id": n + 1, "name": f"category {n + 1}", "image_count": count, "frequency": _frequency(count)}
            for n, count in enumerate(_carriers(image, category))
        ],
        "annotations": [
            {
                "id": n + 1,
                "image_id": i + 1,
                "category_id": c + 1,
                "bbox": b,
                "area": b[2] * b[3],
                "iscrowd": 0,
            }
            for n, (i, c, b) in enumerate(zip(image.tolist(), category.tolist(), box.tolist(), strict=True))
        ],
    }
    (folder / TRUTH).write_text(json.dumps(truth))
    rows = zip((of_image + 1).tolist(), (answer + 1).tolist(), found.tolist(), score.tolist(), strict=True)
    results = ({"image_id": i, "category_id": c, "bbox": b, "score": s} for i, c, b, s in rows)
    with (folder / RESULTS).open("w") as file:
        file.write("[" + ",\n".join(map(json.dumps, results)) + "]")


def write_tags(folder: Path, images: int, seed: int) -> None:
    """TRUE_TAGS and, of each image, the TAGS_KEPT best of PREDICTED_TAGS: Zipf-distributed, most true ones high."""
    rng = np.random.default_rng(seed)
    true = np.unique(_pairs(rng, images, TRUE_TAGS_AN_IMAGE))
    suggested = true[rng.random(len(true)) < 0.7]
    pairs, first = np.unique(
        np.concatenate([suggested, _pairs(rng, images, 2 * TAGS_KEPT)]), return_index=True
    )
    draw = rng.random(len(pairs))
    score = np.where(first < len(suggested), 1 - 0.9 * draw**2, draw).round(4)
    order = np.lexsort((-score, pairs // TAGS))
    image = pairs[order] // TAGS
    kept = order[np.arange(len(order)) - np.searchsorted(image, image) < TAGS_KEPT]
    for name, chosen, columns in (
        (TRUE_TAGS, true, {}),
        (PREDICTED_TAGS, pairs[kept], {"score": score[kept]}),
    ):
        ids = {"id": _names("image", chosen // TAGS), "concept_id": _names("tag", chosen % TAGS)}
        pq.write_table(pa.table({**ids, **columns}), folder / name)


def tag_names() -> list[str]:
    return _names("tag", np.arange(TAGS)).to_pylist()


def _names(what: str, numbers: NDArray[np.int64]) -> pa.Array:
    names = pa.array([f"{what} {n:06}" for n in range(int(numbers.max()) + 1)])
    return names.take(pa.array(numbers))


def _pairs(rng: np.random.Generator, images: int, of_each: int) -> NDArray[np.int64]:
    """(image, tag) pairs as one number."""
    return np.repeat(np.arange(images), of_each) * TAGS + _zipf(rng, TAGS, images * of_each)


def _zipf(rng: np.random.Generator, kinds: int, size: int) -> NDArray[np.int64]:
    weights = 1 / np.arange(1, kinds + 1)
    return rng.choice(kinds, size, p=weights / weights.sum())


def _boxes(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    sides = rng.uniform(16, 200, (size, 2))
    return np.concatenate([rng.uniform(0, SIDE_PIXELS - sides), sides], axis=1).round(2)


def _image(number: int, rng: np.random.Generator) -> dict[str, object]:
    looked_for = (rng.integers(CATEGORIES, size=12) + 1).tolist()
    return {
        "id": number + 1,
        "width": SIDE_PIXELS,
        "height": SIDE_PIXELS,
        "neg_category_ids": looked_for[:10],
        "not_exhaustive_category_ids": looked_for[10:],
    }


def _carriers(image: NDArray[np.int64], category: NDArray[np.int64]) -> list[int]:
    """On how many images each category stands."""
    pairs = np.unique(image * CATEGORIES + category)
    return np.bincount(pairs % CATEGORIES, minlength=CATEGORIES).tolist()


def _frequency(images: int) -> str:
    return "r" if images <= LVIS_RARE_MAX_IMAGES else "c" if images <= LVIS_COMMON_MAX_IMAGES else "f"
