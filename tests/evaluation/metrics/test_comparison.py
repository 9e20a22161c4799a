"""Two runs pair by pair, probabilities against what is true, and what was suggested instead."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from evaluation.metrics.calibration import reliability
from evaluation.metrics.comparison import TAG_CHANGES_SCHEMA, compare_ranks
from evaluation.metrics.confusions import confusions
from resources.tables import TAG_CONFUSIONS, TAG_RANKS

BAND_OF = {"t0": "head", "t1": "body", "t2": "tail", "t3": "tail"}
Ranks = dict[tuple[str, str], int | None]
a_run = st.dictionaries(
    st.tuples(st.sampled_from([f"i{n}" for n in range(6)]), st.sampled_from(sorted(BAND_OF))),
    st.none() | st.integers(1, 25),
    max_size=24,
)


def table(ranks: Ranks) -> pa.Table:
    rows = [{"id": i, "concept_id": t, "band": BAND_OF[t], "rank": rank} for (i, t), rank in ranks.items()]
    return pa.Table.from_pylist(rows, schema=TAG_RANKS.schema)


@pytest.mark.slow
@given(a_run, a_run, st.sampled_from([1, 5, 10]))
def test_bands_and_tags_are_compared_over_the_pairs_that_both_runs_have(
    before: Ranks, after: Ranks, k: int
) -> None:
    found = compare_ranks(table(before), table(after), k)
    both = sorted(before.keys() & after.keys())
    hit = {pair: tuple((run[pair] or 99) <= k for run in (before, after)) for pair in both}
    assert found.images == len({id_ for id_, _ in both})
    for change in found.bands:
        chosen = [hit[pair] for pair in both if change.band in ("overall", BAND_OF[pair[1]])]
        assert change.support == len(chosen)
        assert change.has_changed == any(was != now for was, now in chosen)
        assert (change.before, change.after) == pytest.approx(tuple(np.mean(chosen, axis=0)))
    assert {change.band for change in found.bands} == {BAND_OF[t] for _, t in both} | (
        {"overall"} if both else set()
    )
    assert found.tags.schema.equals(TAG_CHANGES_SCHEMA)
    for row in found.tags.to_pylist():
        chosen = [hit[pair] for pair in both if pair[1] == row["concept_id"]]
        lost, gained = chosen.count((True, False)), chosen.count((False, True))
        assert (row["images"], row["lost"], row["gained"]) == (len(chosen), lost, gained)
        assert row["after"] - row["before"] == gained - lost
        if lost + gained:
            assert row["p_value"] == pytest.approx(binomtest(lost, lost + gained).pvalue)
        else:
            assert row["p_value"] is None


def test_a_run_compared_with_itself_has_changed_nothing_and_one_image_has_no_interval() -> None:
    ranks: Ranks = {(f"i{n}", "t2"): n + 1 for n in range(20)} | {("i0", "t0"): 1}
    found = compare_ranks(table(ranks), table(ranks), 10)
    tail, head = found.band("tail"), found.band("head")
    assert tail is not None
    assert head is not None
    assert (tail.before, tail.difference, tail.is_real) == (0.5, 0.0, False)
    assert head.ci95 is None
    assert not head.is_real


def test_a_paired_loss_is_real_where_intervals_of_the_two_runs_would_overlap() -> None:
    """Nine of a hundred images lose the tag and none gains it: 60 % and 51 % apart, each within +-10 points."""
    before: Ranks = {(f"i{n}", "t2"): 1 if n < 60 else None for n in range(100)}
    after = before | {(f"i{n}", "t2"): 40 for n in range(9)}
    change = compare_ranks(table(before), table(after), 10).band("tail")
    assert change is not None
    assert change.is_real
    assert change.difference == pytest.approx(-0.09)
    assert change.ci95 is not None
    assert change.ci95.low == pytest.approx(-0.09 - 1.96 * (0.09 * 0.91 / 100) ** 0.5, abs=0.015)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.integers(0, 4)), min_size=1, max_size=60))
def test_reliability_equals_a_count_by_hand(pairs: list[tuple[float, bool, int]]) -> None:
    probability, is_true, image = (np.array(column) for column in zip(*pairs, strict=True))
    found = reliability(probability, is_true, image)
    assert found is not None
    error = 0.0
    for bin_ in found.bins:
        inside = (probability >= bin_.low - 1e-12) & ((probability < bin_.high) | (bin_.high == 1))
        assert bin_.pairs == inside.sum()
        assert bin_.share_true == pytest.approx(is_true[inside].mean())
        assert bin_.mean_probability == pytest.approx(probability[inside].mean())
        assert (bin_.ci95 is None) == (len(set(image[inside])) == 1)
        error += bin_.pairs * abs(bin_.share_true - bin_.mean_probability)
    assert sum(bin_.pairs for bin_ in found.bins) == found.pairs == len(pairs)
    assert found.expected_error == pytest.approx(error / len(pairs))


def test_probabilities_outside_0_to_1_are_refused_and_none_give_nothing() -> None:
    nothing = np.array([])
    assert reliability(nothing, nothing.astype(bool), nothing.astype(np.int64)) is None
    for wrong in (1.5, -0.1, float("nan")):
        with pytest.raises(ValueError, match="row 1 is"):
            reliability(np.array([0.5, wrong]), np.array([True, True]), np.array([0, 1]))


def pairs(*rows: tuple[object, ...], columns: str) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(columns.split(), row, strict=True)) for row in rows])


def test_confusions_are_wrong_tags_of_the_same_facet_above_the_missed_one() -> None:
    truth = pairs(("a", "lyre"), ("a", "gilt"), ("b", "lyre"), ("c", "lyre"), columns="id concept_id")
    predictions = pairs(
        *(("a", "harp", 0.9), ("a", "gilt", 0.8), ("a", "instrument", 0.7), ("a", "lyre", 0.1)),  # missed
        *(("b", "harp", 0.6), ("b", "bowl", 0.6), ("b", "steel", 0.5)),  # missed; bowl is before harp
        *(("c", "lyre", 0.2), ("c", "harp", 0.1)),  # found
        ("c", "ghost", 0.9),  # not ranked
        columns="id concept_id score",
    )
    ranked = ["lyre", "gilt", "harp", "bowl", "instrument", "steel"]
    objects = [(name, "object") for name in ("lyre", "harp", "bowl", "instrument")]
    facets = pairs(*objects, ("gilt", "material"), ("steel", "material"), columns="concept_id facet")
    found = confusions(truth, predictions, ranked, ["lyre"], facets, [("lyre", "instrument")], k=3)
    assert found.schema.equals(TAG_CONFUSIONS.schema)
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        ("lyre", 3, 2, "harp", 2),
        ("lyre", 3, 2, "bowl", 1),
    ]
    at_1 = confusions(truth, predictions, ranked, ["gilt", "lyre"], facets, [], k=1, most=1)
    assert [tuple(row.values()) for row in at_1.to_pylist()] == [
        ("gilt", 1, 1, None, 0),  # what stands above is no material
        ("lyre", 3, 2, "bowl", 1),  # as often as the harp, and before it in the alphabet
    ]
