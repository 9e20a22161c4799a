"""A catalogue's own counts as priors: the arithmetic of the papers, what a file is told, and tags that follow."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_library import tag, tiny_home
from tiny_checkpoint import save_tiny_siglip
from typer.testing import CliRunner

from resources.home import Home
from resources.lake import embedding_column
from resources.models.encoders.heads import ScoreHead
from taxonomy import Concept, Taxonomy, Translation
from vistag_assets.cli import app
from vistag_assets.whole_image.catalogue_priors import (
    FILE,
    HomePriors,
    PriorsError,
    distribution_alignment,
    logit_adjustment,
    read_counts,
    read_home_priors,
    shifted,
)
from vistag_assets.whole_image.scoring import Scorer, mean_probabilities, score_images

VOCABULARY = Taxonomy(
    (
        Concept("vessel", "vessel"),
        Concept("bowl", "bowl", ("dish",), broader=("vessel",), translations=(Translation("nl", "kom"),)),
        Concept("vase", "vase", broader=("vessel",), iri="https://museum.example/7", notation="V7"),
        Concept("crane", "crane (bird)", ("crane",)),
        Concept("hoist", "crane (machine)", ("crane",)),
    )
)
IDS = ["bowl", "crane", "vase"]
COUNTS = {"bowl": 900.0, "crane": 90.0, "vase": 10.0}


def test_taking_priors_out_is_equation_9_of_menon_et_al() -> None:
    """`argmax f_y - tau log pi_y`: worked by hand for priors of 0.9, 0.09, 0.01 and tau = 1."""
    scores = np.array([[2.0, 1.0, -1.5], [4.0, 1.0, -1.5]])
    by_hand = scores - np.log([0.9, 0.09, 0.01])
    np.testing.assert_allclose(by_hand, [[2.10536, 3.40795, 3.10517], [4.10536, 3.40795, 3.10517]], atol=1e-5)
    adjusted = scores + logit_adjustment(COUNTS, IDS, -1.0)
    np.testing.assert_allclose(adjusted - by_hand, np.full((2, 3), (adjusted - by_hand)[0, 0]))
    assert adjusted.argmax(axis=1).tolist() == [1, 0]


def test_putting_priors_in_is_bayes_rule_on_odds() -> None:
    """Odds of 1 each become odds in the ratio of the counts."""
    told = shifted(np.full((1, 3), 0.5), logit_adjustment(COUNTS, IDS, 1.0))[0]
    odds = told / (1 - told)
    assert odds[0] / odds[1] == pytest.approx(10, rel=1e-4)
    assert odds[1] / odds[2] == pytest.approx(9, rel=1e-4)
    assert math.prod(odds) == pytest.approx(1, rel=1e-4), "on the whole nothing is likelier than before"


def test_half_the_weight_is_half_the_way_and_none_is_none() -> None:
    whole, half = (logit_adjustment(COUNTS, IDS, weight) for weight in (1.0, 0.5))
    np.testing.assert_allclose(half, whole / 2)
    np.testing.assert_array_equal(logit_adjustment(COUNTS, IDS, 0.0), np.zeros(3))


def test_what_a_catalogue_never_has_counts_half_a_time() -> None:
    shifts = logit_adjustment({"bowl": 10.0, "crane": 0.0}, IDS, 1.0)
    assert shifts[0] - shifts[1] == pytest.approx(math.log(20))
    assert shifts[1] == shifts[2]


def test_distribution_alignment_multiplies_odds_by_target_over_said() -> None:
    """ReMixMatch: `p * target / mean`, here on odds. What is said as often as the catalogue has it does not move."""
    as_it_is = np.array([0.9, 0.09, 0.01])
    np.testing.assert_allclose(distribution_alignment(COUNTS, as_it_is, IDS, 1.0), np.zeros(3), atol=1e-12)
    too_often = as_it_is * [1.0, 1.0, 8.0]
    shifts = distribution_alignment(COUNTS, too_often, IDS, 1.0)
    assert shifts[2] - shifts[0] == pytest.approx(-math.log(8))


@given(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3), st.floats(-2, 2))
def test_probabilities_stay_probabilities_and_keep_their_order_within_a_concept(
    told: list[float], weight: float
) -> None:
    shifts = logit_adjustment(COUNTS, IDS, weight)
    found = shifted(np.array([told, told[::-1]]), shifts)
    assert np.isfinite(found).all()
    assert ((found >= 0) & (found <= 1)).all()
    for column in range(3):
        lower, higher = sorted((0, 1), key=lambda row: (told, told[::-1])[row][column])
        assert found[lower, column] <= found[higher, column]


def counts_of(text: str, tmp_path: Path) -> tuple[dict[str, float], list[str]]:
    path = tmp_path / "counts.csv"
    path.write_text(text, encoding="utf-8")
    found = read_counts(path, VOCABULARY)
    return found.by_concept, [line.replace(str(path), "counts.csv") for line in found.warnings]


def test_concepts_are_named_by_id_iri_notation_or_label_and_what_is_unknown_by_its_line(
    tmp_path: Path,
) -> None:
    found, warnings = counts_of(
        "concept,count\nkom,5\ndishes,2\nhttps://museum.example/7,3\nV7,4\nzeppelin,9\ncranes,1\nvase,-1\nvase,many\n\n",
        tmp_path,
    )
    assert found == {"bowl": 7, "vase": 7, "vessel": 7}
    assert [line.split(":")[1] for line in warnings] == ["6", "7", "8", "9"]
    assert "'zeppelin' is no concept of the vocabulary" in warnings[0]
    assert "may be crane, hoist: give its id" in warnings[1]


@pytest.mark.parametrize("text", ["bowl,3\n", "bowl;3\n", "Begriff\tAnzahl\nbowl\t3\n"], ids=repr)
def test_a_header_is_not_needed_and_the_separator_is_seen(text: str, tmp_path: Path) -> None:
    assert counts_of(text, tmp_path)[0] == {"bowl": 3, "vessel": 3}


@pytest.mark.parametrize("text", ["concept,count\nzeppelin,3\n", "bowl,0\n", "just words\n"], ids=repr)
def test_a_file_without_any_count_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(PriorsError, match="no row is a concept of the vocabulary and a count"):
        counts_of(text, tmp_path)


def vistag(home: Home, *arguments: object) -> str:
    told = CliRunner().invoke(app, [*map(str, arguments), "--home", str(home.root)])
    assert told.exit_code == 0, told.output
    return " ".join(told.output.split())


@pytest.mark.slow
def test_tags_follow_the_catalogue_and_go_back(tmp_path: Path) -> None:
    home = tiny_home(tmp_path, save_tiny_siglip(tmp_path / "tiny"))

    def best() -> dict[str, list[str]]:
        tag(home, tmp_path / "library")
        rows = home.lake.read_all("tag_scores", ["id", "concept_id", "rank", "fingerprint"]).to_pylist()
        ranked = sorted(rows, key=lambda row: row["rank"])
        return {
            row["id"]: [other["concept_id"] for other in ranked if other["id"] == row["id"]] for row in rows
        }

    before = best()
    counts = tmp_path / "counts.csv"
    counts.write_text("bronze,1000000\nbowl,0\n")
    told = vistag(home, "calibrate", "--priors", counts, "--prior-weight", 2)
    assert "Priors of 3 of 4 concepts (logit adjustment, weight 2)" in told
    assert {ids[0] for ids in best().values()} == {"bronze"}
    aligned = vistag(home, "calibrate", "--priors", counts, "--prior-weight", 2, "--align")
    assert "distribution alignment" in aligned
    assert {ids[0] for ids in best().values()} == {"bronze"}
    assert "The priors are off." in vistag(home, "calibrate", "--no-priors")
    assert best() == before


def test_a_file_of_a_home_that_is_none_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("[]")
    with pytest.raises(PriorsError, match="vistag calibrate --priors again"):
        read_home_priors(Home(tmp_path), "")


def test_scores_of_pictures_are_ranked_by_the_shifted_probability_and_keep_their_logits() -> None:
    head = ScoreHead("sigmoid", 10.0)
    concepts = np.eye(3, 4, dtype=np.float32)
    pictures = np.array([[0.6, 0.5, 0.4, 0.48]], dtype=np.float32)
    shifts = dict(zip(IDS, (-3.0, 0.0, 3.0), strict=True))
    plain = Scorer(IDS, concepts, head, None, {}, 3)
    moved = replace(plain, priors=HomePriors("logit adjustment", 1.0, "counts.csv", shifts))
    before, after = (score_images(["a"], pictures, scorer).to_pylist() for scorer in (plain, moved))
    assert [row["concept_id"] for row in before] == ["bowl", "crane", "vase"]
    assert [row["concept_id"] for row in after] == ["vase", "crane", "bowl"]
    assert {row["concept_id"]: row["logit"] for row in before} == {
        row["concept_id"]: row["logit"] for row in after
    }
    np.testing.assert_allclose(
        mean_probabilities(pa.table({"embedding": embedding_column(pictures)}), moved),
        [row["probability"] for row in before],
        atol=2e-3,
    )
