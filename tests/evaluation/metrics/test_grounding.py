"""Recall of regions and phrases by band, by hand."""

from collections.abc import Sequence

import numpy as np
import pytest
from detection_references import Region, TrueRegion, random_case, region_table, truth_table
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.metrics.bands import frequency_bands
from evaluation.metrics.grounding import (
    GROUNDING_CONCEPTS_SCHEMA,
    GroundingEvaluation,
    grounding_recall,
    recall_by_concept,
)
from evaluation.metrics.matching import LVIS_CAP, match_regions
from evaluation.metrics.phrase_grounding import (
    grounded_phrases,
    phrase_grounding,
)
from evaluation.metrics.rows import figure_table
from resources.boxes import iou
from resources.tables import GROUNDING_RECALL, PHRASE_GROUNDING


def evaluate(truth: Sequence[TrueRegion], regions: Sequence[Region]) -> GroundingEvaluation:
    table = truth_table(truth)
    bands = frequency_bands(table, sorted({row[1] for row in truth} | {"boxless"}))
    return grounding_recall(match_regions(table, region_table(regions)), bands)


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
    rows = figure_table(evaluation.recall, GROUNDING_RECALL.schema)
    assert rows.schema.equals(GROUNDING_RECALL.schema)
    assert rows.num_rows == 15  # five bands, rare among them


def test_average_precision_by_hand() -> None:
    """bowl: right, wrong, right of four: precision 1 up to recall 1/4, then 2/3 up to 1/2. chair: 1 up to 1/2."""
    square = (0.0, 0.0, 10.0, 10.0)
    truth = [(image, "bowl", square) for image in "abcd"] + [("a", "chair", square), ("b", "chair", square)]
    regions: list[Region] = [
        ("a", "r1", "bowl", square, 0.9),
        ("a", "r2", "bowl", square, 0.8),
        ("b", "r1", "bowl", square, 0.7),
        ("b", "r2", "chair", square, 0.7),
    ]
    matching = match_regions(truth_table(truth), region_table(regions))
    table = recall_by_concept(matching)
    assert table.schema.equals(GROUNDING_CONCEPTS_SCHEMA)
    bowl, chair = table.to_pylist()
    assert (bowl["concept_id"], bowl["support"], bowl["recall@0.5"]) == ("bowl", 4, 0.5)
    assert (chair["concept_id"], chair["support"], chair["recall@0.75"]) == ("chair", 2, 0.5)
    assert bowl["average_precision@0.5"] == pytest.approx((26 + 25 * 2 / 3) / 101)
    assert chair["average_precision@0.5:0.95"] == pytest.approx(51 / 101)
    overall = evaluate(truth, regions).figure("overall")
    assert overall is not None
    assert overall.mean_average_precision == pytest.approx((26 + 25 * 2 / 3 + 51) / 101 / 2)


def test_nobody_has_to_find_a_crowd_and_nothing_in_it_is_wrong() -> None:
    square, crowd = (0.0, 0.0, 10.0, 10.0), (50.0, 0.0, 100.0, 100.0)
    truth = truth_table(
        [("a", "bowl", square), ("a", "bowl", crowd), ("b", "cup", crowd)], [False, True, True]
    )
    regions: list[Region] = [
        *(("a", f"r{n}", "bowl", (60.0 + n, 10.0, 10.0, 10.0), 0.9) for n in range(5)),
        ("a", "r5", "bowl", square, 0.5),
    ]
    matching = match_regions(truth, region_table(regions))
    assert matching.region[0].tolist() == [5, -1, -1]
    (bowl,) = recall_by_concept(matching).to_pylist()
    assert (bowl["concept_id"], bowl["support"], bowl["recall@0.5:0.95"]) == ("bowl", 1, 1.0)
    assert bowl["average_precision@0.5"] == pytest.approx(1.0)
    evaluation = grounding_recall(matching, frequency_bands(truth, ["bowl", "cup"]))
    assert evaluation.images == 1
    assert [f.support for f in evaluation.recall if f.iou == "0.5" and f.band == "overall"] == [1]
    exhaustive = match_regions(truth.drop_columns("crowd"), region_table(regions))
    assert recall_by_concept(exhaustive)["average_precision@0.5"][0].as_py() < 0.2


def test_the_interval_holds_the_figure_and_is_that_of_images() -> None:
    case = random_case(3, images=40)
    table = truth_table(case.truth)
    bands = frequency_bands(table, case.concepts)
    matching = match_regions(table, region_table(case.regions), cap=LVIS_CAP)
    evaluation = grounding_recall(matching, bands)
    for figure in evaluation.recall:
        assert figure.ci95 is not None
        assert figure.ci95.low < figure.micro < figure.ci95.high
    found = (matching.region[0] >= 0).astype(float)
    generator = np.random.default_rng(1)
    by_hand = []
    for _ in range(2000):
        drawn = generator.integers(40, size=40)
        rows = np.concatenate([np.flatnonzero(matching.image == image) for image in drawn])
        by_hand.append(found[rows].mean())
    overall = evaluation.figure("overall")
    assert overall is not None
    assert overall.ci95 is not None
    assert [overall.ci95.low, overall.ci95.high] == pytest.approx(
        np.percentile(by_hand, [2.5, 97.5]), abs=0.02
    )


def test_a_phrase_is_grounded_where_its_best_region_is_on_a_true_box() -> None:
    square, elsewhere = (0.0, 0.0, 10.0, 10.0), (30.0, 30.0, 10.0, 10.0)
    truth = truth_table(
        [("a", "bowl", square), ("a", "bowl", elsewhere), ("a", "cup", square), ("b", "bowl", square)]
    )
    regions: list[Region] = [
        ("a", "r1", "bowl", (30, 30, 10, 8), 0.9),  # on the second bowl, IoU 0.8
        ("a", "r2", "bowl", square, 0.8),
        ("a", "r10", "cup", square, 0.7),  # as good as r9, but behind it
        ("a", "r9", "cup", elsewhere, 0.7),
        ("a", "r3", None, square, 1.0),
        ("c", "r4", "bowl", square, 1.0),
    ]
    phrases = grounded_phrases(truth, region_table(regions))
    assert [tuple(row.values()) for row in phrases.to_pylist()] == [
        ("a", "cup", 0.0, False),
        ("a", "bowl", pytest.approx(0.8), True),
        ("b", "bowl", 0.0, False),
    ]
    bands = frequency_bands(truth, ["bowl", "cup"])
    figures = {figure.band: figure for figure in phrase_grounding(phrases, bands)}
    assert figures["overall"].micro == pytest.approx(1 / 3)
    assert figures["overall"].macro == pytest.approx(1 / 4)
    assert [figures[band].support for band in ("overall", "head", "body", "rare")] == [3, 2, 1, 3]
    assert figures["body"].ci95 is None  # stands on one image
    assert figure_table(figures.values(), PHRASE_GROUNDING.schema).schema.equals(PHRASE_GROUNDING.schema)
    strict = grounded_phrases(truth, region_table(regions), min_iou=0.81)
    assert not any(strict["grounded"].to_pylist())


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_phrases_equal_those_found_one_by_one(seed: int) -> None:
    case = random_case(seed, images=4)
    phrases = grounded_phrases(truth_table(case.truth), region_table(case.regions))
    assert phrases.num_rows == len({row[:2] for row in case.truth})
    for row in phrases.to_pylist():
        own = [r for r in case.regions if (r[0], r[2]) == (row["id"], row["concept_id"])]
        best = min(own, key=lambda r: (-r[4], len(r[1]), r[1]), default=None)
        true = [t[2] for t in case.truth if t[:2] == (row["id"], row["concept_id"])]
        expected = iou(np.array([best[3]]), np.array(true)).max() if best else 0.0
        assert row["iou"] == expected
        assert row["grounded"] == (expected >= 0.5)
