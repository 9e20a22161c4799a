"""Matching, recall and average precision against lvis-api and pycocotools."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from detection_references import (
    Case,
    Region,
    TrueRegion,
    coco_evaluation,
    lvis_evaluation,
    random_case,
    region_table,
    truth_table,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.metrics.bands import LVIS_BANDS, frequency_bands
from evaluation.metrics.detection_ap import average_precision
from evaluation.metrics.grounding import IOU_NAMES, grounding_recall
from evaluation.metrics.matching import COCO_CAP, IOU_THRESHOLDS, LVIS_CAP, Cap, match_regions
from evaluation.metrics.region_tables import equal_keys

EXACT = {"rtol": 0, "atol": 1e-9}


@pytest.fixture(autouse=True)
def _old_numpy_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """lvis 0.5.3 still says np.float."""
    monkeypatch.setattr(np, "float", float, raising=False)


def assert_equals_lvis(case: Case) -> None:
    """Each concept at each threshold, and all that LVISEval sums up, with bands drawn from a hat."""
    case = replace(case, crowd=())  # LVIS has none
    bands = frequency_bands(
        truth_table(case.truth),
        case.concepts,
        lvis_bands=dict(zip(case.concepts, LVIS_BANDS * 9, strict=False)),
    )
    lvis_band = dict(zip(bands["concept_id"].to_pylist(), bands["lvis_band"].to_pylist(), strict=True))
    reference = lvis_evaluation(case, {name: band[0] for name, band in lvis_band.items()})

    matching = case.match(LVIS_CAP, federated=True)
    assert matching.concepts.to_pylist() == case.concepts
    recall = (
        np.array([np.bincount(matching.concept, found) for found in matching.region >= 0]) / matching.support
    )
    np.testing.assert_allclose(recall, reference.eval["recall"][:, :, 0], **EXACT)
    precision = reference.eval["precision"][..., 0].mean(axis=1)
    np.testing.assert_allclose(average_precision(matching), precision, **EXACT)

    evaluation = grounding_recall(matching, bands)
    assert evaluation.over_the_cap == len(reference.lvis_dt.dataset["annotations"]) * -1 + sum(
        row[0] in case.images for row in case.regions
    )
    for iou, key in zip(IOU_NAMES, ("AP50", "AP75", "AP"), strict=True):
        found = evaluation.figure("overall", iou)
        assert found is not None
        assert found.mean_average_precision == pytest.approx(reference.results[key], abs=1e-9)
    for band, key in zip(LVIS_BANDS, ("APr", "APc", "APf"), strict=True):
        members = [lvis_band[name] == band for name in case.concepts]
        for iou, rows in IOU_NAMES.items():
            found = evaluation.figure(band, iou)
            assert (found is not None) == any(members)
            if found is not None:
                expected = reference.eval["recall"][list(rows)][:, members, 0].mean()
                assert found.macro == pytest.approx(expected, abs=1e-9)
        if found is not None:
            assert found.mean_average_precision == pytest.approx(reference.results[key], abs=1e-9)


def assert_equals_coco(case: Case) -> None:
    """Each concept at each threshold, and AR at 1, 10 and 100 regions; a concept with crowds alone is none."""
    if all(case.crowd) and case.crowd:
        return
    reference = coco_evaluation(case)
    for a, most in enumerate((1, 10, COCO_CAP.regions)):
        matching = case.match(Cap(most, each_concept=True), federated=False)
        known = matching.support > 0
        found = [np.bincount(matching.concept, at >= 0, len(known)) for at in matching.region]
        recall = (np.array(found)[:, known]) / matching.support[known]
        np.testing.assert_allclose(recall, reference.eval["recall"][:, known, 0, a], **EXACT)
        assert (reference.eval["recall"][:, ~known, 0, a] == -1).all()
        precision = reference.eval["precision"][..., 0, a].mean(axis=1)
        np.testing.assert_allclose(average_precision(matching)[:, known], precision[:, known], **EXACT)

        bands = frequency_bands(truth_table(case.truth), case.concepts)
        macro = grounding_recall(matching, bands).figure("overall", "0.5:0.95")
        assert macro is not None
        assert macro.macro == pytest.approx(reference.stats[6 + a], abs=1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_crowded_pictures(seed: int) -> None:
    assert_equals_lvis(random_case(seed))
    assert_equals_coco(random_case(seed))


grid = st.tuples(*(st.integers(0, 12) for _ in range(2)), *(st.integers(1, 12) for _ in range(2)))
image_names, concept_names = st.sampled_from(["2", "10", "9"]), st.sampled_from("wxy")
some_pairs = st.sets(st.tuples(image_names, concept_names), max_size=6)


@st.composite
def cases(draw: Any) -> Case:
    """Small whole numbers make equal overlaps, equal scores and overlaps that are a threshold exactly."""
    rows = draw(st.lists(st.tuples(image_names, concept_names, grid, st.booleans()), min_size=1, max_size=10))
    said = st.tuples(image_names, st.sampled_from("wxyz"), grid, st.sampled_from([0.1, 0.5, 0.9]))
    regions = draw(st.lists(said, min_size=1, max_size=14))
    present = {row[:2] for row in rows}
    return Case(
        truth=[row[:3] for row in rows],
        regions=[(image, f"r{n}", *rest) for n, (image, *rest) in enumerate(regions)],
        negatives=sorted(draw(some_pairs) - present),
        not_exhaustive=sorted(draw(some_pairs)),
        crowd=[row[3] for row in rows],
    )


@settings(max_examples=50)
@given(cases())
def test_ties_empty_images_negatives_and_crowds(case: Case) -> None:
    if any(row[0] in case.images for row in case.regions):
        assert_equals_lvis(case)
        assert_equals_coco(case)


def test_the_caps_of_300_an_image_and_100_a_concept() -> None:
    rng = np.random.default_rng(7)
    case = random_case(7, images=2)
    small: list[Region] = [
        ("1", f"s{n:05}", "stranger" if n % 2 else "bowl", (0.0, 0.0, 3.0, 3.0), float(rng.random()))
        for n in range(700)
    ]
    crowded = replace(case, regions=[*case.regions, *small])
    assert_equals_lvis(crowded)
    assert_equals_coco(crowded)
    in_first = sum(row[0] == "1" for row in case.regions)
    capped = crowded.match(LVIS_CAP, federated=True)
    assert capped.over_the_cap == in_first + 700 - 300
    assert (capped.region >= 0).sum() < (case.match(LVIS_CAP, federated=True).region >= 0).sum()


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_the_order_of_regions_changes_nothing_and_no_region_is_used_twice(seed: int, random: Any) -> None:
    case = random_case(seed, images=3)
    shuffled = list(case.regions)
    random.shuffle(shuffled)
    one = case.match(LVIS_CAP, federated=False)
    other = replace(case, regions=shuffled).match(LVIS_CAP, federated=False)
    name = [*(row[1] for row in case.regions), "none"]
    other_name = [*(row[1] for row in shuffled), "none"]
    for t in range(len(IOU_THRESHOLDS)):
        assert [name[r] for r in one.region[t]] == [other_name[r] for r in other.region[t]]
        used = one.region[t][one.region[t] >= 0]
        assert len(set(used)) == len(used)
    assert [name[r] for r in one.counted] == [other_name[r] for r in other.counted]
    assert ((one.region >= 0).sum(axis=1)[:-1] >= (one.region >= 0).sum(axis=1)[1:]).all()


def test_of_two_that_overlap_alike_the_last_is_taken() -> None:
    """Were it the first, the second region would find nothing."""
    truth: list[TrueRegion] = [("1", "bowl", (0, 0, 10, 10)), ("1", "bowl", (4, 0, 10, 10))]
    regions: list[Region] = [
        ("1", "r0", "bowl", (2, 0, 10, 10), 0.9),
        ("1", "r1", "bowl", (0, 0, 10, 10), 0.5),
    ]
    case = Case(truth, regions)
    assert case.match(LVIS_CAP, federated=True).region[0].tolist() == [1, 0]
    assert_equals_lvis(case)
    assert_equals_coco(case)


def test_equal_scores_go_by_region_id() -> None:
    truth: list[TrueRegion] = [("a", "bowl", (0, 0, 10, 10))]
    regions: list[Region] = [
        ("a", "r10", "bowl", (0, 0, 10, 10), 0.5),
        ("a", "r9", "bowl", (0, 0, 10, 8), 0.5),
    ]
    matching = match_regions(truth_table(truth), region_table(regions))
    assert matching.region[0, 0] == 1  # r9, although r10 fits better
    assert matching.region[-1, 0] == 0  # at 0.95 only r10 fits


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
    assert (average_precision(nothing) == 0).all()


def test_what_cannot_be_matched_is_refused() -> None:
    truth, regions = [("a", "bowl", (0.0, 0.0, 10.0, 10.0))], [("a", "r1", "bowl", (0.0, 0.0, 9.0, 9.0), 0.5)]
    with pytest.raises(ValueError, match="no regions"):
        match_regions(truth_table([]), region_table([]))
    with pytest.raises(ValueError, match="no regions"):
        match_regions(truth_table(truth, [True]), region_table(regions))
    with pytest.raises(ValueError, match="image 'a', which is not evaluated"):
        match_regions(truth_table(truth), region_table(regions), images=["b"])
    with pytest.raises(ValueError, match="score of row 0 of the regions"):
        match_regions(truth_table(truth), region_table([(*regions[0][:4], float("nan"))]))
    with pytest.raises(ValueError, match="bbox of row 0 of the ground truth"):
        match_regions(truth_table([("a", "bowl", (0.0, float("nan"), 1.0, 1.0))]), region_table(regions))


@settings(max_examples=60)
@given(st.lists(st.integers(0, 5), max_size=30), st.lists(st.integers(0, 5), max_size=30), st.integers(1, 40))
def test_pairs_of_equal_keys_come_whole_and_in_order(left: list[int], right: list[int], block: int) -> None:
    blocks = list(equal_keys(np.array(left, np.int64), np.array(right, np.int64), block))
    pairs = [(int(i), int(j)) for ones, others in blocks for i, j in zip(ones, others, strict=True)]
    assert pairs == [(i, j) for i, a in enumerate(left) for j, b in enumerate(right) if a == b]
    seen = [set(ones.tolist()) for ones, _ in blocks]
    assert sum(len(rows) for rows in seen) == len(set().union(*seen))
