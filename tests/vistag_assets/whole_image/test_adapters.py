"""Adapters on frozen embeddings: what examples teach, what they must not spoil, and how a home uses and forgets them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from small_library import tag
from typer.testing import CliRunner

from evaluation.held_out import SeenInTraining, cards_of, refuse_seen
from evaluation.stored_report import adapter_remarks
from resources.decisions import Event
from resources.home import Home
from resources.workspace import VistagResource, open_workspace
from sensors.new_decisions import ENOUGH, new_decisions
from vistag_assets.automation.adapt_job import adapt
from vistag_assets.cli import app
from vistag_assets.tags.adapting import FEWEST, fit_home_adapter
from vistag_assets.whole_image import adapter_policy
from vistag_assets.whole_image.adapter_policy import (
    ENOUGH_TO_CHOOSE,
    LEAST_EXAMPLES,
    MAY_LOSE,
    REMEDIES,
    Texts,
    adapter_of,
    bands_by,
    choose,
    described,
    folds_of,
    judging,
    recalls,
)
from vistag_assets.whole_image.adapters import (
    Examples,
    Spread,
    cached,
    centred,
    gaussian_heads,
    logistic_heads,
    priors,
    projected,
)
from vistag_assets.whole_image.home_adapter import (
    CARD,
    FILE,
    FOLDER,
    AdapterError,
    read_home_adapter,
)
from vistag_assets.whole_image.scoring import unit_rows
from vistag_assets.whole_image.shared_heads import shared_heads

CONCEPTS, PICTURES, DIMENSION = 40, 600, 32


def _world(seed: int = 0) -> tuple[Texts, np.ndarray, np.ndarray]:
    """Texts, pictures and truth: concepts by Zipf's law; pictures lie where the texts say after an unknown turn, so that the
    texts alone are of no use and only examples tell how to read them.
    """
    rng = np.random.default_rng(seed)
    texts = unit_rows(rng.normal(size=(CONCEPTS, DIMENSION)).astype(np.float32))
    turn, _ = np.linalg.qr(rng.normal(size=(DIMENSION, DIMENSION)))
    share = 1 / np.arange(1, CONCEPTS + 1) ** 1.2
    is_true = np.zeros((PICTURES, CONCEPTS), bool)
    for row in is_true:
        row[rng.choice(CONCEPTS, 2, replace=False, p=share / share.sum())] = True
    noise = rng.normal(size=(PICTURES, DIMENSION))
    pictures = (is_true @ texts) @ turn + 0.12 * noise + 1.5 * rng.normal(size=DIMENSION) / np.sqrt(DIMENSION)
    return Texts(texts, 10.0), unit_rows(pictures.astype(np.float32)), is_true


TEXTS, VECTORS, TRUE = _world()
TRAIN, TEST = np.arange(PICTURES) % 3 > 0, np.arange(PICTURES) % 3 == 0
EXAMPLES = Examples.of_matrix(VECTORS[TRAIN], TRUE[TRAIN])
ALL = (np.ones(CONCEPTS, bool),)


def _recall(scores: np.ndarray, columns: np.ndarray = ALL[0]) -> float:
    """Of held-out pictures, among the first ten of forty."""
    return float(recalls(scores, TRUE[TEST], (columns,))[0])


@pytest.mark.parametrize("fit", [gaussian_heads, logistic_heads])
def test_heads_find_in_new_pictures_what_examples_showed_them(fit) -> None:
    told = fit(EXAMPLES).log_odds(VECTORS[TEST])
    assert _recall(REMEDIES["text"](TEXTS, EXAMPLES).log_odds(VECTORS[TEST])) < 0.6
    assert _recall(told) > 0.85


@pytest.mark.parametrize("fit", [gaussian_heads, logistic_heads])
def test_heads_say_nothing_of_a_concept_without_an_example(fit) -> None:
    hidden = EXAMPLES.column != 3
    examples = Examples(EXAMPLES.vectors, EXAMPLES.row[hidden], EXAMPLES.column[hidden], CONCEPTS)
    head = fit(examples)
    assert not head.weights[3].any()
    assert head.bias[3] == pytest.approx(0, abs=1e-5)


def test_what_other_concepts_teach_of_texts_helps_one_without_an_example() -> None:
    hidden = EXAMPLES.column != 2
    examples = Examples(EXAMPLES.vectors, EXAMPLES.row[hidden], EXAMPLES.column[hidden], CONCEPTS)
    told = projected(TEXTS.vectors, examples).log_odds(VECTORS[TEST])[:, 2]
    there = TRUE[TEST][:, 2]
    assert (told[there][:, None] > told[~there][None]).mean() > 0.75
    blend = REMEDIES["blend"](TEXTS, examples)
    assert np.allclose(blend.weights[2], projected(TEXTS.vectors, examples).weights[2], atol=1e-4)


def test_an_example_teaches_concepts_of_like_words_and_no_others() -> None:
    """Of `winged key` nobody showed an example, but of another winged thing."""
    rng = np.random.default_rng(1)
    pictures = unit_rows(rng.normal(size=(300, DIMENSION)).astype(np.float32))
    texts = unit_rows(rng.normal(size=(6, DIMENSION)).astype(np.float32))
    texts[1] = unit_rows((texts[0] + 0.1 * texts[1])[None])[0]
    none = Examples(pictures, np.array([], np.intp), np.array([], np.intp), 6)
    before = shared_heads(texts, none).log_odds(pictures)
    taught = shared_heads(texts, Examples(pictures, np.array([7] * 1), np.array([0]), 6)).log_odds(pictures)
    moved = taught[7] - before[7]
    assert moved[0] > moved[1] > 0.3
    assert np.abs(moved[2:]).max() < 0.1
    assert np.allclose(taught.std(axis=0), before.std(axis=0), rtol=1e-3)


def test_what_was_rejected_counts_against_a_concept_there_and_in_pictures_like_it() -> None:
    examples = Examples(VECTORS[TRAIN], EXAMPLES.row[:50], EXAMPLES.column[:50], CONCEPTS)
    against = replace(examples, rejected=np.array([[row, 3] for row in range(20, 30)]))
    before, after = (
        shared_heads(TEXTS.vectors, one, rejected_weight=0.2).log_odds(VECTORS[TRAIN])
        for one in (examples, against)
    )
    assert (after - before)[20:30, 3].mean() < -0.02
    assert np.allclose(np.delete(after, 3, axis=1), np.delete(before, 3, axis=1), atol=1e-5)
    [others, *_] = [others for others, _, _ in folds_of(against, 4)]
    assert {tuple(pair) for pair in others.vectors[others.rejected[:, 0]].tolist()} < {
        tuple(pair) for pair in against.vectors[20:30].tolist()
    }


def test_the_width_of_scores_is_known_without_computing_them() -> None:
    told = gaussian_heads(EXAMPLES)
    widths = Spread.of(EXAMPLES.vectors).width_of(told)
    np.testing.assert_allclose(widths, told.log_odds(EXAMPLES.vectors).std(axis=0), rtol=1e-3)


def test_adapted_log_odds_have_the_mean_and_the_spread_of_those_of_the_encoder() -> None:
    own = REMEDIES["text"](TEXTS, EXAMPLES).log_odds(VECTORS[TRAIN]) - 12
    told = shared_heads(TEXTS.vectors, EXAMPLES)
    matched = told.matched(own, VECTORS[TRAIN]).log_odds(VECTORS[TRAIN])
    assert matched.mean() == pytest.approx(own.mean(), abs=1e-2)
    assert matched.std() == pytest.approx(own.std(), rel=1e-3)
    assert np.array_equal(matched.argmax(axis=1), told.log_odds(VECTORS[TRAIN]).argmax(axis=1))


def test_a_text_that_is_near_every_picture_is_no_longer_first_everywhere() -> None:
    hub = unit_rows(VECTORS.mean(axis=0, keepdims=True))
    texts = np.concatenate([hub, TEXTS.vectors[1:]])
    plain = VECTORS @ texts.T
    mended = centred(texts, 1.0, VECTORS).log_odds(VECTORS)
    assert (plain.argmax(axis=1) == 0).mean() > 0.9
    assert (mended.argmax(axis=1) == 0).mean() < 0.2


def test_a_prior_tells_how_often_and_a_cache_how_near() -> None:
    shares = priors(EXAMPLES).bias
    common = EXAMPLES.counts.argmax()
    assert shares.argmax() == common
    assert shares[common] == pytest.approx(np.log(EXAMPLES.counts[common] / (TRAIN.sum() + 1)))
    near = cached(VECTORS[TEST], EXAMPLES)
    assert near.min() >= 0
    assert near.max() <= 1 + 1e-5
    alone = Examples(VECTORS[TRAIN], np.array([5]), np.array([7]), CONCEPTS)
    of_itself = cached(VECTORS[TRAIN][5:6], alone)[0]
    assert of_itself[7] == pytest.approx(1, abs=1e-5)
    assert not of_itself[8]


def test_a_fold_knows_nothing_of_its_own_pictures() -> None:
    seen = np.zeros(len(EXAMPLES.vectors), int)
    for others, own, vectors in folds_of(EXAMPLES, 4):
        seen += own
        assert np.array_equal(vectors, EXAMPLES.vectors[own])
        kept = np.zeros((len(others.vectors), CONCEPTS), bool)
        kept[others.row, others.column] = True
        assert np.array_equal(kept, TRUE[TRAIN][~own])
    assert (seen == 1).all()


def test_a_policy_gains_on_held_out_pictures_and_keeps_what_is_frequent() -> None:
    policy = choose(TEXTS, EXAMPLES)
    assert len(described(policy)) == len(LEAST_EXAMPLES)
    told = adapter_of(policy, TEXTS, EXAMPLES).log_odds(VECTORS[TEST])
    before = REMEDIES["text"](TEXTS, EXAMPLES).log_odds(VECTORS[TEST])
    head, _, tail, _ = bands_by(EXAMPLES.counts)
    assert _recall(told, tail) > _recall(before, tail) + 0.1
    assert _recall(told, head) >= _recall(before, head) - MAY_LOSE


def test_of_a_large_corpus_every_so_many_th_picture_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = choose(TEXTS, EXAMPLES)
    monkeypatch.setattr(adapter_policy, "MOST_PAIRS", EXAMPLES.concepts * len(EXAMPLES.vectors) // 3 + 1)
    assert judging(len(EXAMPLES.vectors), EXAMPLES.concepts) == slice(None, None, 3)
    told = adapter_of(choose(TEXTS, EXAMPLES), TEXTS, EXAMPLES).log_odds(VECTORS[TEST])
    assert abs(_recall(told) - _recall(adapter_of(whole, TEXTS, EXAMPLES).log_odds(VECTORS[TEST]))) < 0.05
    some = np.array([5, 3, 8])
    assert np.array_equal(EXAMPLES.truth(some), TRUE[TRAIN][some])


def test_of_few_examples_nothing_is_chosen_by_chance() -> None:
    few = EXAMPLES.row < 60
    examples = Examples(VECTORS[TRAIN], EXAMPLES.row[few], EXAMPLES.column[few], CONCEPTS)
    assert len(examples.row) < ENOUGH_TO_CHOOSE
    [choice] = {*choose(TEXTS, examples)}
    assert choice.remedy in ("shared", "text")
    assert not choice.prior_weight


def test_a_concept_without_an_example_keeps_its_text_whatever_is_chosen() -> None:
    """With so few pictures anything may win by chance."""
    few = EXAMPLES.row < 16
    examples = Examples(VECTORS[TRAIN][:16], EXAMPLES.row[few], EXAMPLES.column[few], CONCEPTS)
    adapter = adapter_of(choose(TEXTS, examples), TEXTS, examples)
    assert (examples.counts == 0).any()
    assert np.abs(adapter.weights[examples.counts == 0]).sum(axis=1).min() > 0


def test_texts_that_are_right_already_are_left_alone_where_nothing_is_better() -> None:
    """Pictures that are their texts: no remedy can find more."""
    vectors = unit_rows((TRUE @ TEXTS.vectors).astype(np.float32))
    examples = Examples.of_matrix(vectors[TRAIN], TRUE[TRAIN])
    told = adapter_of(choose(TEXTS, examples), TEXTS, examples).log_odds(vectors[TEST])
    assert _recall(told) > 0.99


def _known(home: Home) -> list[tuple[str, str]]:
    """What the tiny models say, taken for true."""
    scores = home.lake.read_all("tag_scores").to_pylist()
    return [(row["id"], row["concept_id"]) for row in scores]


@pytest.mark.slow
def test_a_home_scores_by_its_adapter_until_that_is_off(tagged_home: Home, tagged_once: Path) -> None:
    workspace = open_workspace(tagged_home)
    keys = [ref.key for ref in tagged_home.folders()]
    before = tagged_home.lake.read_all("tag_scores")
    known = _known(tagged_home)
    assert len(known) >= FEWEST
    fitted = fit_home_adapter(workspace, keys, known)
    kept = read_home_adapter(tagged_home, workspace.encoder)
    assert kept is not None
    assert kept.version == fitted.version
    [remark] = adapter_remarks(workspace)
    labels = workspace.taxonomy.pref_labels
    for remedy, concept_ids in kept.concepts_by_remedy().items():
        assert remedy in remark
        assert labels[concept_ids[0]] in remark
    tag(tagged_home, tagged_once / "library")
    after = tagged_home.lake.read_all("tag_scores")
    assert set(after["fingerprint"].to_pylist()).isdisjoint(before["fingerprint"].to_pylist())
    assert after["logit"].to_pylist() != before["logit"].to_pylist()
    probability = np.array(after["probability"].to_pylist())
    assert ((probability >= 0) & (probability <= 1)).all()

    cards = cards_of(workspace.tier, tagged_home)
    images = tagged_home.lake.read_all("images").select(["id", "path"]).rename_columns(["id", "file_name"])
    with pytest.raises(SeenInTraining, match="adapter"):
        refuse_seen([card for card in cards if card.role == "adapter"], (), images)

    result = CliRunner().invoke(app, ["adapt", "--off", "--home", str(tagged_home.root)])
    assert result.exit_code == 0
    tag(tagged_home, tagged_once / "library")
    assert tagged_home.lake.read_all("tag_scores").equals(before)
    assert not [card for card in cards_of(workspace.tier, tagged_home) if card.role == "adapter"]


@pytest.mark.slow
def test_an_adapter_of_another_encoder_or_none_at_all_is_told(tagged_home: Home) -> None:
    workspace = open_workspace(tagged_home)
    keys = [ref.key for ref in tagged_home.folders()]
    with pytest.raises(AdapterError, match=f"{FEWEST} are needed"):
        fit_home_adapter(workspace, keys, _known(tagged_home)[:3])
    fit_home_adapter(workspace, keys, _known(tagged_home))
    folder = tagged_home.root / FOLDER
    assert json.loads((folder / CARD).read_text())["images_seen"]
    content = (folder / FILE).read_bytes()
    for damaged in (b"", b"PK", content[: len(content) // 2], b"[]"):
        (folder / FILE).write_bytes(damaged)
        with pytest.raises(AdapterError, match="Delete its folder"):
            read_home_adapter(tagged_home, workspace.encoder)


def test_the_sensor_fits_again_when_people_have_decided_enough(tagged_home: Home) -> None:
    workspace = open_workspace(tagged_home)
    vistag = VistagResource(home=str(tagged_home.root))

    def look() -> dg.RunRequest | dg.SkipReason:
        with dg.build_sensor_context(resources={"vistag": vistag}) as context:
            return new_decisions(context)

    assert "no adapter" in str(look())
    known = _known(tagged_home)
    first = fit_home_adapter(workspace, [ref.key for ref in tagged_home.folders()], known)
    assert isinstance(look(), dg.SkipReason)
    concept = workspace.taxonomy.concepts[0].id
    images = sorted({id_ for id_, _ in known})
    workspace.decisions.append(
        [
            Event(who="ada", verdict="accept", image_id=images[number % len(images)], concept_id=concept)
            for number in range(ENOUGH)
        ]
    )
    assert isinstance(look(), dg.RunRequest)
    assert adapt.execute_in_process(resources={"vistag": vistag}).success
    again = read_home_adapter(tagged_home, workspace.encoder)
    assert again is not None
    assert again.version != first.version
    assert again.decisions == ENOUGH
    assert again.examples > first.examples or {(id_, concept) for id_ in images} <= {*known}
    assert isinstance(look(), dg.SkipReason)
