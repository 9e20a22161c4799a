"""Fusion: evidence side by side, fused into a probability, and the fit of it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.training.fit_fusion import believed
from resources.lake import embedding_column
from resources.models.encoders import Calibration, Platt
from resources.models.encoders.heads import ScoreHead
from taxonomy import Concept, Taxonomy, load_facets
from vistag_assets.tags.evidence import (
    COLUMNS_OF,
    EVIDENCE,
    SOURCES,
    EvidenceTables,
    Source,
    gather,
    mentions,
    only,
)
from vistag_assets.tags.fusion import (
    ANY_FACET,
    FittedFusion,
    Fusion,
    FusionError,
    LinearModel,
    NoisyOr,
    Weight,
    fuse,
    fusion_json,
    load_fusion,
    read_fusion,
)
from vistag_assets.tags.fusion_fit import balanced_weights, cross_fused, fit_fusion, judged, source_sets
from vistag_assets.whole_image.scoring import Scorer

TAXONOMY = Taxonomy(
    (
        Concept("lamp", "lamp"),
        Concept("oil-lamp", "oil lamp", ("lucerna",), broader=("lamp",)),
        Concept("vase", "vase"),
        Concept("glass", "glass", facet="material"),
        Concept("shelf", "wooden shelf", facet="setting"),
    ),
    load_facets(),
)
IDS = [concept.id for concept in TAXONOMY.concepts]
SCORER = Scorer(
    IDS,
    np.eye(5, dtype=np.float32),
    ScoreHead("sigmoid", 10.0, -5.0),
    Calibration(Platt(1.0, 0.0), {"vase": Platt(1.0, -1.0)}),
    {},
    5,
)


def table(columns: list[str], *rows: tuple[object, ...]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(columns, row, strict=True)) for row in rows])


def some_tables() -> dict[str, pa.Table]:
    boxes = np.zeros((2, 5), dtype=np.float32)
    boxes[0, IDS.index("vase")] = 1
    boxes[1, IDS.index("shelf")] = 1
    return {
        "tag_scores": table(
            ["id", "concept_id", "logit", "probability", "inherited_from"],
            ("a", "vase", 1.0, 0.6, None),
            ("a", "shelf", 2.0, 0.9, None),
            ("a", "oil-lamp", -1.0, 0.2, None),
            ("a", "lamp", -1.0, 0.2, "oil-lamp"),
        ),
        "grounded_regions": table(
            ["id", "region_id", "concept_id", "phrase", "score"],
            ("a", "a-r1", "vase", "vase", 0.5),
            ("a", "a-r2", "vase", "vase", 0.9),
            ("a", "a-r3", None, "thing", 0.4),
        ),
        "region_matches": table(
            ["id", "region_id", "concept_id", "logit", "probability", "verdict"],
            ("a", "a-r1", "vase", 2.0, 0.8, "confirmed"),
            ("a", "a-r2", "vase", -2.0, 0.1, "rejected"),
        ),
        "captions": table(
            ["id", "caption", "keywords"],
            (
                "a",
                "Two oil lamps of glass.",
                [
                    {"phrase": "oil lamp", "concept_id": "oil-lamp", "logprob": -0.5},
                    {"phrase": "gadget", "concept_id": None, "logprob": -1.0},
                ],
            ),
        ),
        "region_captions": table(
            ["id", "region_id", "caption", "mean_logprob"],
            ("a", "a-r1", "a glass vase", -0.2),
            ("a", "a-r2", "vases", -1.0),
            ("a", "a-r3", None, None),
        ),
        "ocr_text": table(["id", "text", "confidence"], ("a", "LUCERNA No. 3", 0.7), ("a", "a lucerna", 0.9)),
        "tagger_scores": table(
            ["id", "tag", "concept_id", "score", "threshold"],
            ("a", "Oil Lamps", None, 0.3, 0.6),
            ("a", "lucerna", None, 0.25, 0.4),
            ("a", "zombie", None, 0.9, 0.6),
            ("a", "what it was asked as", "vase", 0.8, 0.6),
        ),
        "region_embeddings": pa.table(
            {"id": ["a", "a"], "region_id": ["a-r1", "a-r2"], "embedding": embedding_column(boxes)}
        ),
    }


def gathered(tables: dict[str, pa.Table]) -> dict[str, dict[str, object]]:
    evidence = gather(EvidenceTables.of(tables), TAXONOMY, SCORER)
    assert evidence.schema.equals(EVIDENCE)
    return {row["concept_id"]: row for row in evidence.to_pylist()}


def evidence_of(*rows: dict[str, object]) -> pa.Table:
    filled = [{"id": "a", "concept_id": f"c{n:03d}", "facet": "object"} | row for n, row in enumerate(rows)]
    return pa.Table.from_pylist(filled, schema=EVIDENCE)


# ---- mentions


def test_a_mention_keeps_the_best_score_of_its_texts() -> None:
    found = mentions(TAXONOMY, [("a", "vase", 0.3), ("a", "Vases", 0.8), ("b", "-", 1.0)])
    assert [(r["id"], r["concept_id"], round(r["score"], 3)) for r in found.to_pylist()] == [
        ("a", "vase", 0.8)
    ]


# ---- evidence


def test_every_source_stands_in_its_columns() -> None:
    rows = gathered(some_tables())
    assert set(rows) == {"vase", "shelf", "oil-lamp", "glass"}  # lamp was lent: it has no evidence of its own
    vase = rows["vase"]
    assert (vase["detector_score"], vase["region_probability"]) == (pytest.approx(0.9), pytest.approx(0.8))
    assert vase["confirmation"] == pytest.approx(0.4)  # of one box, not the best score by another's match
    assert vase["region_ids"] == ["a-r1"]  # the other was rejected
    assert vase["crop_logit"] == pytest.approx(5.0)
    assert vase["calibrated"]
    assert not rows["shelf"]["calibrated"]
    assert rows["shelf"]["crop_logit"] is None  # a setting is no thing in a box
    assert rows["oil-lamp"]["vlm_logprob"] == pytest.approx(-0.5)
    assert rows["oil-lamp"]["caption_mention"] == 1
    assert rows["oil-lamp"]["ocr_score"] == pytest.approx(0.9)
    assert rows["glass"]["caption_mention"] == 1
    # of two tags the better score, and the one that is nearer to its own threshold
    assert rows["oil-lamp"]["tagger_score"] == pytest.approx(0.3)
    assert rows["oil-lamp"]["tagger_probability"] == pytest.approx(0.5 * 0.25 / 0.4)
    assert vase["tagger_score"] == pytest.approx(0.8)
    assert vase["tagger_probability"] == pytest.approx(1 - 0.5 * 0.2 / 0.4)
    assert rows["shelf"]["tagger_score"] is None
    assert vase["region_caption_score"] == pytest.approx(math.exp(-0.2))
    assert rows["glass"]["facet"] == "material"
    assert rows["glass"]["global_probability"] is None


@pytest.mark.parametrize("missing", [name for name in some_tables() if name != "tag_scores"])
def test_a_table_that_is_not_there_is_silence(missing: str) -> None:
    tables = some_tables()
    del tables[missing]
    assert {"vase", "shelf", "oil-lamp"} <= set(gathered(tables))


def test_a_concept_that_has_a_box_is_asked_of_the_crops_whatever_its_facet() -> None:
    tables = some_tables()
    found = {"id": "a", "region_id": "a-r2", "concept_id": "shelf", "phrase": "shelf", "score": 0.3}
    tables["grounded_regions"] = pa.Table.from_pylist([found])
    assert gathered(tables)["shelf"]["crop_logit"] == pytest.approx(5.0)


def test_concepts_of_different_crops_do_not_share_a_softmax() -> None:
    tables, boxes = some_tables(), np.eye(5, dtype=np.float32)[[IDS.index("vase"), IDS.index("glass")]]
    embedded = tables["region_embeddings"]
    place = embedded.schema.get_field_index("embedding")
    tables["region_embeddings"] = embedded.set_column(place, "embedding", embedding_column(boxes))
    head = ScoreHead("softmax", 10.0)
    softmax = replace(SCORER, head=head, calibration=None)
    pairs = gather(EvidenceTables.of(tables), TAXONOMY, softmax).to_pylist()
    alone = head.probabilities(head.logits(boxes)).max()
    found = {row["concept_id"]: row["crop_probability"] for row in pairs}
    assert (found["vase"], found["glass"]) == (pytest.approx(alone), pytest.approx(alone))


def test_only_leaves_out_what_other_sources_say() -> None:
    evidence = gather(EvidenceTables.of(some_tables()), TAXONOMY, SCORER)
    heard = only(evidence, {"vlm"})
    assert heard["concept_id"].to_pylist() == ["glass", "oil-lamp"]
    for source in set(SOURCES) - {"vlm"}:
        for name in COLUMNS_OF[source].names:
            assert heard[name].null_count == heard.num_rows


# ---- fusing

ALL = frozenset(SOURCES)
share = st.floats(0, 1, width=32)
raw = st.floats(-30, 30, width=32)
spoken = {
    "global_logit": raw,
    "global_probability": share,
    "detector_score": share,
    "region_logit": raw,
    "region_probability": share,
    "confirmation": share,
    "crop_logit": raw,
    "crop_probability": share,
    "vlm_logprob": st.floats(-30, 0, width=32),
    "caption_mention": st.just(1.0),
    "region_caption_score": share,
    "ocr_score": share,
    "tagger_score": share,
    "tagger_probability": share,
}


def evidence_rows() -> st.SearchStrategy[dict[str, object]]:
    return st.fixed_dictionaries({name: st.none() | values for name, values in spoken.items()})


def synthetic(pairs: int = 6000, seed: int = 0) -> tuple[pa.Table, pa.Table]:
    """Evidence of 40 concepts, whose first ten are frequent, and the true pairs; every source knows a little."""
    rng = np.random.default_rng(seed)
    image = np.arange(pairs) // 20
    concept = np.concatenate([rng.permutation(40)[:20] for _ in range(pairs // 20)])
    is_true = rng.random(pairs) < np.where(concept < 10, 0.4, 0.08)

    def says(noise: float) -> np.ndarray:
        return (2 * is_true - 1) * 1.5 + rng.normal(0, noise, pairs)

    def probability(values: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-values))

    logit, crop, boxed = says(1.5), says(1.2), rng.random(pairs) < np.where(is_true, 0.8, 0.2)
    columns: dict[str, np.ndarray] = {
        "global_logit": logit,
        "global_probability": probability(logit - np.where(concept < 10, 0, 2)),
        "crop_logit": crop,
        "crop_probability": probability(crop),
        "tagger_score": (tagged := probability(says(1.3))) * 0.8,
        "tagger_probability": tagged,
        "detector_score": np.where(boxed, probability(says(1.0)), np.nan),
        "region_caption_score": np.where(
            rng.random(pairs) < np.where(is_true, 0.6, 0.05), probability(says(1.0)), np.nan
        ),
        "vlm_logprob": np.where(
            rng.random(pairs) < np.where(is_true, 0.7, 0.02),
            -rng.exponential(np.where(is_true, 0.2, 1)),
            np.nan,
        ),
    }
    data: dict[str, pa.Array] = {
        "id": pa.array([f"i{n:05d}" for n in image]),
        "concept_id": pa.array([f"c{n:03d}" for n in concept]),
        "calibrated": pa.array([True] * pairs),
        "facet": pa.array([("object", "technique")[n % 2] for n in concept]),
    }
    data |= {name: pa.array(values, pa.float32(), from_pandas=True) for name, values in columns.items()}
    nothing = {f.name: pa.nulls(pairs, f.type) for f in EVIDENCE if f.name not in data}
    evidence = pa.table(data | nothing).select(EVIDENCE.names).cast(EVIDENCE)
    return evidence, evidence.select(["id", "concept_id"]).filter(pa.array(is_true))


@pytest.fixture(scope="module")
def fitted() -> FittedFusion:
    evidence, truth = synthetic()
    return fit_fusion(evidence, truth, SOURCES, {"split": "synthetic"})


SMALL = FittedFusion(
    {
        frozenset({"global"}): {
            ANY_FACET: LinearModel((Weight("global_probability", -5.0, 2.0, 1.5),), -1.0)
        },
        frozenset({"vlm"}): {ANY_FACET: LinearModel((Weight("keyword", 0.1, 0.5, 1.0),), -1.0)},
    },
    {},
)


@given(rows=st.lists(evidence_rows(), min_size=1, max_size=5))
def test_probabilities_lie_between_0_and_1(fitted: FittedFusion, rows: list[dict[str, object]]) -> None:
    for fusion in (fitted, NoisyOr()):
        fused = np.array(fuse(evidence_of(*rows), fusion, SOURCES)["probability"])
        assert np.isfinite(fused).all()
        assert ((fused >= 0) & (fused <= 1)).all()


@given(row=evidence_rows(), data=st.data())
def test_more_evidence_never_lowers_a_probability(
    fitted: FittedFusion, row: dict[str, object], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(spoken)))
    value = data.draw(spoken[name])
    fusions: list[Fusion] = [fitted, NoisyOr()]
    had = row[name]
    more = value if not isinstance(had, float) else max(value, had)
    for fusion in fusions:
        # in one model: whether boxes speak at all decides which one, so both rows have a box of no weight
        less_row = {"detector_score": 0.0} | {k: v for k, v in row.items() if v is not None}
        more_row = less_row | {name: max(more, less_row.get(name, more))}
        fused = fuse(evidence_of(less_row, more_row), fusion, SOURCES)["probability"].to_pylist()
        assert fused[1] >= fused[0] - 1e-6, name


def test_a_confirmed_box_lifts_a_rare_tag_over_a_frequent_middling_one(fitted: FittedFusion) -> None:
    frequent = {"global_logit": 0.3, "global_probability": 0.55, "crop_logit": -1.0, "crop_probability": 0.3}
    rare = {"global_logit": -0.5, "global_probability": 0.1, "crop_logit": 2.5, "crop_probability": 0.9}
    box = {"detector_score": 0.9, "region_logit": 2.5, "region_probability": 0.9, "confirmation": 0.8}
    for fusion in (fitted, NoisyOr()):
        without = fuse(evidence_of(frequent, rare), fusion, ["global"])["probability"].to_pylist()
        fused = fuse(evidence_of(frequent, rare | box), fusion, ["global", "regions"])
        assert without[0] > without[1]
        assert fused["probability"][1].as_py() > fused["probability"][0].as_py()


def test_a_source_that_is_left_out_cannot_be_told_from_one_that_never_spoke(fitted: FittedFusion) -> None:
    evidence, _ = synthetic(300, seed=3)
    sources: list[list[Source]] = [["global"], ["vlm"], ["global", "vlm"], ["global", "regions"]]
    for chosen in sources:
        assert fuse(evidence, fitted, chosen).equals(fuse(only(evidence, chosen), fitted, chosen))


def test_noisy_or_is_one_minus_what_all_leave_open() -> None:
    evidence = evidence_of({"global_probability": 0.5, "detector_score": 0.8, "confirmation": 0.4})
    assert fuse(evidence, NoisyOr(), SOURCES)["probability"][0].as_py() == pytest.approx(0.7)
    assert fuse(evidence, NoisyOr(), ["global"])["probability"][0].as_py() == pytest.approx(0.5)


# ---- fitting


def test_the_fit_is_calibrated_on_images_it_has_not_seen() -> None:
    evidence, truth = synthetic()
    unseen, true_pairs = synthetic(seed=1)
    fusion = fit_fusion(evidence, truth, ["global", "regions", "vlm"], {})
    fused = fuse(unseen, fusion, ["global", "regions", "vlm"])
    told = believed(fused, true_pairs)
    assert told["expected_error"] < 0.02
    alone = believed(fuse(unseen, fusion, ["global"]), true_pairs)
    assert told["log_loss"] < alone["log_loss"]


def test_cross_fused_figures_are_of_every_pair_and_of_other_models(fitted: FittedFusion) -> None:
    evidence, truth = synthetic()
    crossed = cross_fused(evidence, truth, ["global", "vlm"])
    assert crossed.num_rows == evidence.num_rows
    own = fuse(evidence, fitted, ["global", "vlm"])
    both = crossed.sort_by([("id", "ascending"), ("concept_id", "ascending")])["probability"]
    assert not np.array_equal(
        both, own.sort_by([("id", "ascending"), ("concept_id", "ascending")])["probability"]
    )


def test_rare_true_pairs_weigh_more() -> None:
    is_true = np.array([True] * 16 + [True, False])
    weights = balanced_weights(is_true, pa.chunked_array([["often"] * 16 + ["seldom"] * 2]))
    assert weights[:16].tolist() == [1.0] * 16
    assert weights[16:].tolist() == [4.0, 1.0]


def test_what_is_true_only_by_a_narrower_concept_is_not_judged() -> None:
    evidence = evidence_of({"concept_id": "lamp"}, {"concept_id": "oil-lamp"}, {"concept_id": "vase"})
    truth = pa.table({"id": ["a"], "concept_id": ["oil-lamp"]})
    kept = judged(evidence, truth, TAXONOMY.broader_pairs())
    assert kept["concept_id"].to_pylist() == ["oil-lamp", "vase"]
    both = pa.table({"id": ["a", "a"], "concept_id": ["oil-lamp", "lamp"]})
    assert judged(evidence, both, TAXONOMY.broader_pairs()).num_rows == 3


def test_a_fit_needs_true_and_false_pairs() -> None:
    evidence, truth = synthetic(100)
    with pytest.raises(ValueError, match="more calibration images"):
        fit_fusion(evidence, truth.slice(0, 0), ["global"], {})


def test_there_is_a_model_for_each_set_of_sources_that_can_stand_alone() -> None:
    without = {"global", "vlm", "global+vlm", "global+regions", "regions+vlm", "global+regions+vlm"}
    assert {"+".join(sorted(s)) for s in source_sets(["global", "vlm", "regions", "ocr"])} == without
    captions_too = {"region_captions+regions+vlm", "global+region_captions+regions+vlm"}
    everything_but = [source for source in SOURCES if source != "tagger"]
    assert {"+".join(sorted(s)) for s in source_sets(everything_but)} == without | captions_too
    with_tagger = {s | {"tagger"} for s in source_sets(everything_but) if "global" in s}
    assert set(source_sets(SOURCES)) == set(source_sets(everything_but)) | with_tagger


def test_a_facet_with_enough_true_pairs_has_a_model_of_its_own_where_boxes_speak(
    fitted: FittedFusion,
) -> None:
    assert set(fitted.models[frozenset[Source]({"global"})]) == {ANY_FACET}
    assert set(fitted.models[frozenset[Source]({"global", "regions"})]) == {ANY_FACET, "object", "technique"}
    few, truth = synthetic(400)
    models = fit_fusion(few, truth, ["global", "regions"], {}).models[
        frozenset[Source]({"global", "regions"})
    ]
    assert set(models) == {ANY_FACET}


def test_a_facet_without_a_model_of_its_own_takes_the_one_of_all() -> None:
    general, own = LinearModel((), -1.0), LinearModel((), 1.0)
    fusion = FittedFusion({frozenset[Source]({"global"}): {ANY_FACET: general, "object": own}}, {})
    rows = [{"global_probability": 0.5, "facet": facet} for facet in ("object", "material", None)]
    fused = fuse(evidence_of(*rows), fusion, ["global"])["probability"].to_pylist()
    assert fused == pytest.approx([1 / (1 + math.exp(-1)), 1 / (1 + math.e), 1 / (1 + math.e)])


# ---- storing


def test_json_round_trip_gives_the_same_probabilities(fitted: FittedFusion, tmp_path: Path) -> None:
    path = tmp_path / "fusion.json"
    path.write_text(fusion_json(fitted))
    again = read_fusion(path)
    assert again.version == fitted.version
    assert again.fitted_on == {"split": "synthetic"}
    evidence, _ = synthetic(500, seed=2)
    assert fuse(evidence, again, SOURCES).equals(fuse(evidence, fitted, SOURCES))
    assert fusion_json(again) == fusion_json(fitted)


def test_another_coefficient_is_another_version(fitted: FittedFusion) -> None:
    changed = dict(SMALL.models) | {frozenset[Source]({"vlm"}): {ANY_FACET: LinearModel((), 0.0)}}
    assert FittedFusion(changed, {}).version != SMALL.version
    assert FittedFusion(SMALL.models, {"note": "other"}).version == SMALL.version


def test_no_file_is_the_prior_and_a_bad_one_is_named(tmp_path: Path) -> None:
    assert load_fusion(None).version == "prior-1"
    path = tmp_path / "fusion.json"
    with pytest.raises(FusionError, match=r"fusion\.json does not exist"):
        load_fusion(str(path))
    good = json.loads(fusion_json(SMALL))
    negative = json.loads(fusion_json(SMALL))
    negative["models"]["vlm"][ANY_FACET]["weights"][0]["coefficient"] = -1
    narrow = json.loads(fusion_json(SMALL))
    narrow["models"]["vlm"] = {"object": narrow["models"]["vlm"][ANY_FACET]}
    old, strange = good | {"features_version": 99}, good | {"models": {"smell": {}}}
    for content in ({}, [], old, negative, narrow, strange):
        path.write_text(json.dumps(content))
        with pytest.raises(FusionError, match=r"fusion\.json"):
            read_fusion(path)


def test_sources_without_a_model_are_named() -> None:
    with pytest.raises(FusionError, match=r"global\+vlm.*only of global, vlm"):
        fuse(evidence_of({"global_probability": 0.5}), SMALL, ["global", "vlm"])


def test_text_has_a_share_in_every_model_and_is_in_no_key() -> None:
    evidence = evidence_of({"global_probability": 0.5, "ocr_score": 0.9}, {"ocr_score": 0.9})
    assert fuse(evidence, SMALL, ["global", "ocr"]).num_rows == 2
