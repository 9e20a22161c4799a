"""Recall@IoU against the LVIS evaluation, and by hand."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.bands import frequency_bands
from evaluation.grounding import (
    GROUNDING_RECALL_SCHEMA,
    IOU_THRESHOLDS,
    GroundingEvaluation,
    box_iou,
    grounding_recall,
    match_regions,
)

SIDE = 100
Box = tuple[float, float, float, float]
TrueRegion = tuple[str, str, Box]
Region = tuple[str, str, str | None, Box, float]


def truth_table(rows: Sequence[TrueRegion]) -> pa.Table:
    return pa.table(
        {
            "id": pa.array([row[0] for row in rows], pa.string()),
            "concept_id": pa.array([row[1] for row in rows], pa.string()),
            "bbox": pa.array([row[2] for row in rows], pa.list_(pa.float64(), 4)),
        }
    )


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


def evaluate(truth: Sequence[TrueRegion], regions: Sequence[Region]) -> GroundingEvaluation:
    table = truth_table(truth)
    bands = frequency_bands(table, sorted({row[1] for row in truth} | {"boxless"}))
    return grounding_recall(match_regions(table, region_table(regions)), bands, resamples=50)


def lvis_recall(truth: Sequence[TrueRegion], regions: Sequence[Region]) -> tuple[np.ndarray, list[str]]:
    """LVISEval's recall [thresholds, concepts] over all areas."""
    from lvis import LVIS, LVISEval, LVISResults

    images = sorted({row[0] for row in truth})
    concepts = sorted({row[1] for row in truth})
    ground_truth = LVIS.__new__(LVIS)
    ground_truth.logger = logging.getLogger("lvis")
    ground_truth.dataset = {
        "images": [
            {"id": n + 1, "neg_category_ids": [], "not_exhaustive_category_ids": []}
            for n in range(len(images))
        ],
        "categories": [
            {"id": n + 1, "name": name, "frequency": "c", "image_count": 1} for n, name in enumerate(concepts)
        ],
        "annotations": [
            {
                "id": n + 1,
                "image_id": images.index(image) + 1,
                "category_id": concepts.index(concept) + 1,
                "bbox": list(box),
                "area": box[2] * box[3],
            }
            for n, (image, concept, box) in enumerate(truth)
        ],
    }
    ground_truth._create_index()
    results: list[dict[str, Any]] = [
        {
            "image_id": images.index(image) + 1,
            # a category that the ground truth does not know still takes a place among the 300
            "category_id": concepts.index(concept) + 1 if concept in concepts else 99,
            "bbox": list(box),
            "score": score,
        }
        for image, _, concept, box, score in sorted(regions, key=lambda row: row[1])
        if image in images
    ]
    evaluation = LVISEval(ground_truth, LVISResults(ground_truth, results), iou_type="bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation.eval["recall"][:, :, 0], concepts


@pytest.fixture
def _old_numpy_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """lvis 0.5.3 still says np.float."""
    monkeypatch.setattr(np, "float", float, raising=False)


def assert_equals_lvis(truth: Sequence[TrueRegion], regions: Sequence[Region]) -> None:
    expected, concepts = lvis_recall(truth, regions)
    matching = match_regions(truth_table(truth), region_table(regions))
    assert matching.concepts.to_pylist() == concepts
    for c in range(len(concepts)):
        ours = (matching.region[:, matching.concept == c] >= 0).mean(axis=1)
        np.testing.assert_allclose(ours, expected[:, c], rtol=0, atol=1e-9)
    macro = evaluate(truth, regions).figure("overall", "0.5:0.95")
    assert macro is not None
    assert macro.macro == pytest.approx(expected.mean(), abs=1e-9)


def near(box: Box, rng: np.random.Generator, spread: float) -> Box:
    x, y, w, h = np.array(box) + rng.normal(0, spread, 4)
    return float(x), float(y), float(max(w, 1)), float(max(h, 1))


def random_case(seed: int, images: int = 8) -> tuple[list[TrueRegion], list[Region]]:
    """Crowded pictures: several true boxes of a concept overlap, scores tie, some regions are elsewhere."""
    rng = np.random.default_rng(seed)
    truth: list[TrueRegion] = []
    regions: list[Region] = []
    for i in range(images):
        image = f"i{i:02}"
        for concept in ("anchor", "bowl", "chair"):
            for _ in range(rng.integers(0, 5)):
                x, y, w, h = (float(v) for v in rng.uniform((0, 0, 10, 10), (50, 50, 50, 50)))
                truth.append((image, concept, (x, y, w, h)))
                for _ in range(rng.integers(0, 3)):
                    name: Any = rng.choice(["anchor", "bowl", "chair", "stranger"], p=[0.3, 0.3, 0.3, 0.1])
                    said = concept if rng.random() < 0.7 else str(name)
                    place = near((x, y, w, h), rng, rng.choice([0, 2, 8]))
                    score = float(rng.choice([0.2, 0.5, rng.random()]))
                    regions.append((image, f"r{len(regions):05}", said, place, score))
    return truth or [("i00", "bowl", (0, 0, 10, 10))], regions or [("i00", "r0", "bowl", (0, 0, 9, 9), 0.5)]


@pytest.mark.usefixtures("_old_numpy_name")
@pytest.mark.parametrize("seed", range(12))
def test_recall_equals_that_of_lvis(seed: int) -> None:
    assert_equals_lvis(*random_case(seed))


@pytest.mark.usefixtures("_old_numpy_name")
def test_the_cap_of_300_an_image_equals_that_of_lvis() -> None:
    rng = np.random.default_rng(7)
    truth, regions = random_case(7, images=2)
    crowd: list[Region] = [
        ("i00", f"s{n:05}", "stranger" if n % 2 else "bowl", (0.0, 0.0, 3.0, 3.0), float(rng.random()))
        for n in range(700)
    ]
    assert_equals_lvis(truth, regions + crowd)
    capped = match_regions(truth_table(truth), region_table(regions + crowd))
    in_first = sum(row[0] == "i00" for row in regions)
    assert capped.over_the_cap == in_first + 700 - 300
    free = match_regions(truth_table(truth), region_table(regions))
    assert (capped.region >= 0).sum() < (free.region >= 0).sum()


grid = st.tuples(*(st.integers(0, 12) for _ in range(2)), *(st.integers(1, 12) for _ in range(2)))


@pytest.mark.usefixtures("_old_numpy_name")
@settings(max_examples=60, deadline=None)
@given(
    true_boxes=st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), grid), min_size=1, max_size=8
    ),
    found=st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), grid, st.sampled_from([0.1, 0.5, 0.9])),
        min_size=1,
        max_size=12,
    ),
)
def test_recall_equals_that_of_lvis_where_boxes_and_scores_tie(
    true_boxes: list[Any], found: list[Any]
) -> None:
    """Small whole numbers make equal overlaps, equal scores and overlaps that are a threshold exactly."""
    truth = [(image, concept, box) for image, concept, box in true_boxes]
    pictures = {row[0] for row in truth}
    regions: list[Region] = [
        (image, f"r{n:03}", concept, box, score)
        for n, (image, concept, box, score) in enumerate(found)
        if image in pictures
    ]
    if regions:
        assert_equals_lvis(truth, regions)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing_and_no_region_is_used_twice(seed: int, random: Any) -> None:
    truth, regions = random_case(seed, images=3)
    shuffled = regions.copy()
    random.shuffle(shuffled)
    one = match_regions(truth_table(truth), region_table(regions))
    other = match_regions(truth_table(truth), region_table(shuffled))
    name = [*(row[1] for row in regions), "none"]
    other_name = [*(row[1] for row in shuffled), "none"]
    for t in range(len(IOU_THRESHOLDS)):
        assert [name[r] for r in one.region[t]] == [other_name[r] for r in other.region[t]]
        used = one.region[t][one.region[t] >= 0]
        assert len(set(used)) == len(used)
    assert ((one.region >= 0).sum(axis=1)[:-1] >= (one.region >= 0).sum(axis=1)[1:]).all()


def test_equal_scores_go_by_region_id() -> None:
    truth: list[TrueRegion] = [("a", "bowl", (0, 0, 10, 10))]
    regions: list[Region] = [
        ("a", "r2", "bowl", (0, 0, 10, 10), 0.5),
        ("a", "r1", "bowl", (0, 0, 10, 8), 0.5),
    ]
    matching = match_regions(truth_table(truth), region_table(regions))
    assert matching.region[0, 0] == 1  # r1, although r2 fits better
    assert matching.region[-1, 0] == 0  # at 0.95 only r2 fits


def test_a_region_without_concept_or_about_another_image_matches_nothing() -> None:
    truth: list[TrueRegion] = [("a", "bowl", (0, 0, 10, 10))]
    regions: list[Region] = [
        ("a", "r1", None, (0, 0, 10, 10), 0.9),
        ("b", "r1", "bowl", (0, 0, 10, 10), 0.9),
        ("a", "r2", "chair", (0, 0, 10, 10), 0.9),
    ]
    assert (match_regions(truth_table(truth), region_table(regions)).region == -1).all()
    nothing = match_regions(truth_table(truth), region_table([]))
    assert (nothing.region == -1).all()


def test_a_worked_example() -> None:
    """bowl on three images (head), chair on two (body), anchor on one (tail)."""
    square = (0.0, 0.0, 10.0, 10.0)
    truth: list[TrueRegion] = [
        *((image, "bowl", square) for image in "abc"),
        ("a", "bowl", (50.0, 50.0, 10.0, 10.0)),
        ("a", "chair", square),
        ("b", "chair", square),
        ("c", "anchor", square),
    ]
    regions: list[Region] = [
        ("a", "r1", "bowl", square, 0.9),
        ("a", "r2", "bowl", (1, 0, 10, 10), 0.8),  # a second one on the same bowl finds nothing
        ("b", "r1", "bowl", (0, 0, 10, 6), 0.7),  # IoU 0.6
        ("b", "r2", "chair", (0, 0, 10, 8), 0.7),  # IoU 0.8
        ("c", "r1", "anchor", (0, 0, 10, 4), 0.7),  # IoU 0.4
    ]
    evaluation = evaluate(truth, regions)
    by_band = {(f.band, f.iou): f for f in evaluation.recall}
    assert by_band["overall", "0.5"].micro == pytest.approx(3 / 7)
    assert by_band["overall", "0.5"].macro == pytest.approx((2 / 4 + 1 / 2 + 0) / 3)
    assert by_band["overall", "0.75"].micro == pytest.approx(2 / 7)
    # bowl a: all ten; bowl b: 0.5, 0.55, 0.6; chair b: seven from 0.5 to 0.8
    assert by_band["overall", "0.5:0.95"].micro == pytest.approx((10 + 3 + 7) / 10 / 7)
    assert [by_band[band, "0.5"].support for band in ("overall", "head", "body", "tail")] == [7, 4, 2, 1]
    assert by_band["tail", "0.5"].ci95 is None  # stands on one image
    assert evaluation.gap is not None
    assert evaluation.gap == (pytest.approx(3 / 7), None)
    rows = evaluation.rows()
    assert rows.schema.equals(GROUNDING_RECALL_SCHEMA)
    assert rows.num_rows == 15  # five bands, rare among them


def test_overlap_of_boxes() -> None:
    boxes = np.array([[0, 0, 10, 10], [20, 20, 5, 5], [3, 3, 0, 0]], np.float64)
    np.testing.assert_allclose(box_iou(boxes, boxes[:2]), [[1, 0], [0, 1], [0, 0]])


def test_a_truth_without_regions_is_refused() -> None:
    with pytest.raises(ValueError, match="no regions"):
        match_regions(truth_table([]), region_table([]))
