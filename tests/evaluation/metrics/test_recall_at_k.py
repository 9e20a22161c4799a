import json
import warnings
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score

from evaluation.figures import Cut, Figures, TagFigures, Throughput, compute_tag_figures
from evaluation.figures_json import figures_json
from evaluation.metrics.bands import LVIS_BANDS, frequency_bands
from evaluation.metrics.recall_at_k import KS, average_precision, pair_up

CONCEPTS = [f"c{n}" for n in range(12)]
IMAGES = [f"i{n}" for n in range(5)]
PAIR = st.tuples(st.sampled_from(IMAGES), st.sampled_from(CONCEPTS))
TRUTH = st.sets(PAIR, min_size=1, max_size=45)
# Few distinct scores make many ties; images and concepts that are not evaluated come along.
SCORES = st.dictionaries(
    st.tuples(st.sampled_from([*IMAGES, "stranger"]), st.sampled_from([*CONCEPTS, "c5x", "b"])),
    st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0]),
    max_size=75,
)
Pairs = set[tuple[str, str]]
Scores = dict[tuple[str, str], float]


def truth_table(truth: Pairs) -> pa.Table:
    schema = pa.schema([("id", pa.string()), ("concept_id", pa.string())])
    return pa.Table.from_pylist([{"id": i, "concept_id": c} for i, c in truth], schema=schema)


def score_table(scores: Scores) -> pa.Table:
    schema = pa.schema([("id", pa.string()), ("concept_id", pa.string()), ("score", pa.float64())])
    return pa.Table.from_pylist(
        [{"id": i, "concept_id": c, "score": s} for (i, c), s in scores.items()], schema=schema
    )


def members_of(bands: pa.Table) -> dict[str, set[str]]:
    """The tags of every band that figures are given of."""
    rows = bands.to_pylist()
    members = {b: {row["concept_id"] for row in rows if row["band"] == b} for b in ("head", "body", "tail")}
    members |= {b: {row["concept_id"] for row in rows if row["lvis_band"] == b} for b in LVIS_BANDS}
    return members | {"overall": {row["concept_id"] for row in rows if row["band"] != "zero"}}


def first_k(scores: Scores, image: str, k: int) -> set[str]:
    scored = sorted((-s, c) for (i, c), s in scores.items() if i == image and c in CONCEPTS)
    return {c for _, c in scored[:k]}


@settings(max_examples=60)
@given(truth=TRUTH, scores=SCORES)
def test_recall_equals_brute_force(truth: Pairs, scores: Scores) -> None:
    evaluation = compute_tag_figures(truth_table(truth), score_table(scores), CONCEPTS)
    bands = frequency_bands(truth_table(truth), CONCEPTS)
    members = members_of(bands)

    for band, tags in members.items():
        for k in KS:
            figure = evaluation.recall_figure(band, k)
            if not tags:
                assert figure is None
                continue
            found, wanted, reachable = 0, 0, 0
            found_by_tag: Counter[str] = Counter()
            wanted_by_tag: Counter[str] = Counter()
            for image in IMAGES:
                true = {c for i, c in truth if i == image} & tags
                hits = true & first_k(scores, image, k)
                found, wanted, reachable = (
                    found + len(hits),
                    wanted + len(true),
                    reachable + min(len(true), k),
                )
                for c in true:
                    wanted_by_tag[c] += 1
                    found_by_tag[c] += c in hits
            assert figure is not None
            assert figure.support == wanted
            assert figure.tags == len(tags)
            assert figure.micro == pytest.approx(found / wanted)
            assert figure.ceiling == pytest.approx(reachable / wanted)
            assert figure.macro == pytest.approx(np.mean([found_by_tag[c] / wanted_by_tag[c] for c in tags]))


@settings(max_examples=30)
@given(truth=TRUTH, scores=SCORES, seed=st.integers(0, 9))
def test_row_order_changes_nothing(truth: Pairs, scores: Scores, seed: int) -> None:
    predictions = score_table(scores)
    shuffled = predictions.take(np.random.default_rng(seed).permutation(len(predictions)))
    one = compute_tag_figures(truth_table(truth), predictions, CONCEPTS)
    other = compute_tag_figures(truth_table(truth), shuffled, CONCEPTS)
    assert one == other


@settings(max_examples=150)
@given(truth=TRUTH, scores=SCORES)
def test_average_precision_equals_scikit_learn_on_the_dense_matrix(truth: Pairs, scores: Scores) -> None:
    pairs = pair_up(truth_table(truth), score_table(scores), CONCEPTS, IMAGES)
    true = np.array([[(i, c) in truth for c in pairs.concepts.to_pylist()] for i in IMAGES])
    dense = np.array([[scores.get((i, c), -np.inf) for c in pairs.concepts.to_pylist()] for i in IMAGES])
    dense[np.isinf(dense)] = -2.0  # below every predicted score
    ours = average_precision(pairs)
    for column in range(true.shape[1]):
        if true[:, column].any():
            expected = average_precision_score(true[:, column], dense[:, column])
            assert ours[column] == pytest.approx(expected, abs=1e-12)
        else:
            assert np.isnan(ours[column])


def test_mean_average_precision_of_a_band_leaves_out_tags_without_support() -> None:
    truth = truth_table({("i0", "c0"), ("i1", "c1")})
    scores = score_table({("i0", "c0"): 0.9, ("i1", "c0"): 0.1, ("i0", "c1"): 0.9, ("i1", "c1"): 0.1})
    evaluation = compute_tag_figures(truth, scores, ["c0", "c1", "c2"])
    assert evaluation.mean_average_precision == {"overall": 0.75, "head": 1.0, "body": 0.5, "rare": 0.75}


def test_worked_example_of_the_documentation() -> None:
    """The example of docs/metrics.md, section 'One example by hand'."""
    truth = {("A", "vase"), ("A", "gilt"), ("A", "lyre"), ("B", "vase"), ("B", "lyre"), ("C", "vase")}
    scores = {
        ("A", "vase"): 0.9,
        ("A", "bowl"): 0.4,
        ("A", "lyre"): 0.4,
        ("B", "bowl"): 0.8,
        ("B", "vase"): 0.2,
    }
    evaluation = compute_tag_figures(
        truth_table(truth), score_table(scores), ["bowl", "gilt", "lyre", "vase"]
    )
    micro = {(f.band, f.k): f.micro for f in evaluation.recall}
    assert [micro["overall", k] for k in KS] == [1 / 6, 3 / 6, 3 / 6, 3 / 6]
    assert [micro[band, 10] for band in ("head", "body", "tail")] == [2 / 3, 1 / 2, 0]
    at_one, at_ten = evaluation.recall_figure("overall", 1), evaluation.recall_figure("overall", 10)
    assert at_one is not None
    assert at_ten is not None
    assert (at_one.macro, at_one.ceiling, at_one.support) == (pytest.approx(1 / 9), 3 / 6, 6)
    assert (at_ten.macro, at_ten.ceiling) == (pytest.approx(7 / 18), 1)
    assert evaluation.gap is not None
    assert evaluation.gap.value == 0.5
    assert evaluation.zero_support_tags == ["bowl"]
    assert evaluation.tags["concept_id"].to_pylist() == ["vase", "lyre", "gilt", "bowl"]
    assert evaluation.tags["average_precision"].to_pylist() == [
        1,
        pytest.approx(5 / 6),
        pytest.approx(1 / 3),
        None,
    ]
    assert evaluation.tags["best_rank"].to_pylist() == [1, 3, None, None]


@settings(max_examples=100)
@given(
    truth=TRUTH, scores=SCORES, cut=st.sampled_from([Cut(1), Cut(3), Cut(10), Cut(None, 0.25), Cut(None, 9)])
)
def test_f1_equals_scikit_learn_by_band(truth: Pairs, scores: Scores, cut: Cut) -> None:
    evaluation = compute_tag_figures(
        truth_table(truth), score_table(scores), CONCEPTS, images=IMAGES, f1_cut=cut
    )
    true = np.array([[(i, c) in truth for c in CONCEPTS] for i in IMAGES])

    def taken(image: str, concept: str) -> bool:
        if cut.first is not None:
            return concept in first_k(scores, image, cut.first)
        return scores.get((image, concept), -np.inf) >= (cut.min_score or 0)

    predicted = np.array([[taken(i, c) for c in CONCEPTS] for i in IMAGES])
    for band, tags in members_of(frequency_bands(truth_table(truth), CONCEPTS)).items():
        figure = evaluation.f1_figure(band)
        labels = [n for n, concept in enumerate(CONCEPTS) if concept in tags]
        if not labels:
            assert figure is None
            continue
        assert figure is not None
        for average, ours in (("micro", figure.micro), ("macro", figure.macro)):
            theirs = f1_score(true, predicted, labels=labels, average=average, zero_division=0)
            assert ours == pytest.approx(theirs, abs=1e-12), (band, average)
        assert (figure.support, figure.predicted) == (true[:, labels].sum(), predicted[:, labels].sum())


@settings(max_examples=60)
@given(truth=TRUTH, scores=SCORES)
def test_mean_average_precision_of_a_band_is_scikit_learns_macro_mean(truth: Pairs, scores: Scores) -> None:
    evaluation = compute_tag_figures(truth_table(truth), score_table(scores), CONCEPTS, images=IMAGES)
    true = np.array([[(i, c) in truth for c in CONCEPTS] for i in IMAGES])
    dense = np.array([[scores.get((i, c), -2.0) for c in CONCEPTS] for i in IMAGES])
    for band, tags in members_of(frequency_bands(truth_table(truth), CONCEPTS)).items():
        columns = [n for n, concept in enumerate(CONCEPTS) if concept in tags]
        if columns:
            expected = average_precision_score(true[:, columns], dense[:, columns], average="macro")
            assert evaluation.mean_average_precision[band] == pytest.approx(expected, abs=1e-12)
        else:
            assert band not in evaluation.mean_average_precision


def test_the_interval_of_f1_holds_it_and_one_image_has_none() -> None:
    truth = {(f"i{n}", CONCEPTS[n % 3]) for n in range(40)}
    scores = {(f"i{n}", CONCEPTS[n % 2]): 1.0 for n in range(40)}
    evaluation = compute_tag_figures(truth_table(truth), score_table(scores), CONCEPTS)
    figure = evaluation.f1_figure("overall")
    assert figure is not None
    assert figure.ci95 is not None
    assert figure.ci95.low < figure.micro < figure.ci95.high
    alone = compute_tag_figures(truth_table({("i0", "c0")}), score_table({("i0", "c0"): 1.0}), CONCEPTS)
    assert [(f.micro, f.ci95) for f in alone.f1] == [(1.0, None)] * len(alone.f1)


def test_a_cut_is_one_rule() -> None:
    with pytest.raises(ValueError, match="not both"):
        Cut(10, 0.5)
    with pytest.raises(ValueError, match="not neither"):
        Cut(None)


def test_predictions_are_restricted_to_the_vocabulary_before_they_are_ranked() -> None:
    truth = truth_table({("i0", "vase")})
    scores = score_table({("i0", "vase"): 0.1} | {("i0", f"x{n:02}"): 0.9 for n in range(10)})
    others = [f"x{n:02}" for n in range(10)]
    evaluated = compute_tag_figures(truth, scores, ["vase"])
    whole = compute_tag_figures(truth, scores, ["vase"], ranked_among=others)
    assert [f.micro for f in evaluated.recall if f.band == "overall"] == [1, 1, 1, 1]
    assert [f.micro for f in whole.recall if f.band == "overall"] == [0, 0, 0, 1]
    assert (evaluated.ignored_concept_rows, whole.ignored_concept_rows) == (10, 0)
    assert (evaluated.ranked_concepts, whole.ranked_concepts) == (1, 11)


def test_predictions_about_other_images_are_counted_and_left_out() -> None:
    scores = score_table({("i0", "vase"): 0.1, ("elsewhere", "vase"): 0.9, ("elsewhere", "x"): 0.9})
    evaluation = compute_tag_figures(truth_table({("i0", "vase")}), scores, ["vase"])
    assert (evaluation.ignored_image_rows, evaluation.ignored_concept_rows) == (2, 0)


def test_no_predictions_at_all_is_a_recall_of_zero() -> None:
    evaluation = compute_tag_figures(truth_table({("i0", "c0"), ("i1", "c0")}), score_table({}), CONCEPTS)
    assert {f.micro for f in evaluation.recall} == {0.0}
    assert evaluation.tags["best_rank"].null_count == len(CONCEPTS)


@pytest.mark.parametrize(
    ("truth", "predictions", "message"),
    [
        (truth_table(set()), score_table({}), "nothing to measure"),
        (truth_table({("i0", "c0")}), score_table({("i0", "c0"): float("nan")}), "no number"),
        (truth_table({("i0", "c0")}), pa.concat_tables([score_table({("i0", "c0"): 0.5})] * 2), "'i0'.*'c0'"),
        (truth_table({("i0", "c0")}), truth_table({("i0", "c0")}), "no column 'score'"),
        (truth_table({("i0", "vase")}), score_table({}), "outside the evaluated vocabulary.*vase"),
    ],
)
def test_unusable_input_is_refused_in_words(truth: pa.Table, predictions: pa.Table, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute_tag_figures(truth, predictions, CONCEPTS)


def test_truth_on_images_that_are_not_evaluated_is_refused() -> None:
    with pytest.raises(ValueError, match="i1"):
        compute_tag_figures(
            truth_table({("i0", "c0"), ("i1", "c0")}), score_table({}), CONCEPTS, images=["i0"]
        )


def test_a_band_on_one_image_has_no_interval_rather_than_a_certain_one() -> None:
    truth = truth_table({("i0", "c0"), ("i1", "c0"), ("i1", "c1"), ("i1", "c2")})
    evaluation = compute_tag_figures(truth, score_table({("i0", "c0"): 1.0}), CONCEPTS)
    head, tail = evaluation.recall_figure("head"), evaluation.recall_figure("tail")
    assert head is not None
    assert head.ci95 is not None
    assert (head.ci95.low, head.ci95.high) == pytest.approx((0.0945, 0.9055), abs=1e-4)  # Wilson, 1 of 2
    assert tail is not None
    assert tail.ci95 is None
    assert evaluation.recall_rows().filter(pa.compute.field("band") == "tail")["ci95_low"].null_count == len(
        KS
    )


def test_intervals_hold_their_figure() -> None:
    rng = np.random.default_rng(3)
    truth = {
        (f"i{i}", CONCEPTS[c])
        for i, c in zip(rng.integers(80, size=300), rng.integers(12, size=300), strict=True)
    }
    scores = {(f"i{i}", c): float(rng.random()) for i in range(80) for c in CONCEPTS}
    evaluation = compute_tag_figures(truth_table(truth), score_table(scores), CONCEPTS)
    for figure in evaluation.recall:
        assert figure.ci95 is not None
        assert figure.ci95.low <= figure.micro <= figure.ci95.high
    assert evaluation.gap is not None
    assert evaluation.gap.ci95 is not None
    assert evaluation.gap.ci95.low <= evaluation.gap.value <= evaluation.gap.ci95.high


def test_json_has_the_public_shape_and_leaves_out_what_was_not_measured() -> None:
    truth = truth_table({("i0", "c0"), ("i1", "c0"), ("i1", "c1")})
    tags = compute_tag_figures(truth, score_table({("i0", "c0"): 1.0}), CONCEPTS[:3])
    figures = Figures(
        "demo",
        2,
        0,
        TagFigures(tags, whole_vocabulary=tags),
        throughput={"tag_scores": Throughput(12.5, "cpu")},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = json.dumps(figures_json(figures), allow_nan=False)
    assert "null" not in text
    found = json.loads(text)
    assert found["bands"] == {
        "head": {"tags": 1, "min_images": 2, "max_images": 2},
        "body": {"tags": 1, "min_images": 1, "max_images": 1},
        "rare": {"tags": 2, "min_images": 1, "max_images": 2},
    }
    assert found["tag_recall"]["rare"] == found["tag_recall"]["overall"]
    assert set(found["tag_map"]) == {"overall", "head", "body", "rare"}
    assert found["tag_f1"]["overall"]["micro"] == pytest.approx(2 * 1 / (1 + 3))
    assert set(found["tag_f1"]["head"]) == {"micro", "macro", "support", "predicted", "ci95"}
    assert found["tag_f1_cut"] == {"first": 10}
    assert found["zero_support_tags"] == ["c2"]
    assert found["tag_recall"]["overall"]["10"]["micro"] == pytest.approx(1 / 3)
    assert set(found["tag_recall"]["head"]["1"]) == {"micro", "macro", "ceiling", "support", "ci95"}
    assert set(found["tag_recall"]["body"]["1"]) == {"micro", "macro", "ceiling", "support"}
    assert found["tag_recall_whole_vocabulary"] == found["tag_recall"]
    assert found["throughput"] == {"tag_scores": {"images_per_second": 12.5, "device": "cpu"}}
    assert "gap" not in found  # there is no tail to compare with
    assert figures_json(Figures("demo", 2, 0)) == {"tier": "demo", "images": 2, "rejects": 0}
