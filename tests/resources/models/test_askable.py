"""What models read of a label is told before a run, and none raises at one that it cannot read."""

import json

import numpy as np
import pytest
from PIL import Image
from tiny_checkpoint import save_tiny_siglip
from tiny_detectors import bert_tokenizer, save_tiny_grounding_dino

from resources.models.askable import alike, cut_labels
from resources.models.checkpoints import make_model
from resources.models.cut_texts import cut_to_tokens
from resources.models.tiers import Tier, load_tier
from taxonomy import Concept, Facet, Taxonomy

DOTS, LONG = Concept("dots", "..."), Concept("long", " ".join(f"word{n}" for n in range(100)))
PLAIN = Concept("plain", "bowl")
FACETS = {"object": Facet("object", ("{label}",))}


@pytest.fixture(scope="module")
def tier(tmp_path_factory: pytest.TempPathFactory) -> Tier:
    root = tmp_path_factory.mktemp("tiny")
    encoder, detector = save_tiny_siglip(root / "encoder"), save_tiny_grounding_dino(root / "detector")
    roles = {
        "encoder": {"family": "siglip", "model": str(encoder), "licence": "own"},
        "detector": {"family": "grounding-dino", "model": str(detector), "licence": "own"},
    }
    path = root / "tiny.yaml"
    path.write_text(json.dumps({"description": "tiny", "device": "cpu", **roles}))
    return load_tier(str(path))


def test_labels_that_are_cut_or_not_asked_are_told_with_what_is_sent(tier: Tier) -> None:
    told = {
        (cut.role, cut.concept_id): cut for cut in cut_labels(Taxonomy((DOTS, LONG, PLAIN), FACETS), tier)
    }
    assert told["detector", "dots"].sent == ""
    assert "is not asked for '...'" in str(told["detector", "dots"])
    for role in ("encoder", "detector"):
        assert LONG.pref_label.startswith(told[role, "long"].sent.split(" ")[0])
    assert not any(concept == "plain" for _, concept in told)


def test_a_detector_finds_nothing_of_a_label_that_it_cannot_be_asked_and_does_not_raise(tier: Tier) -> None:
    assert tier.detector is not None
    detector = make_model(tier.detector, "cpu")
    picture = Image.fromarray(np.zeros((32, 32, 3), np.uint8))
    found = detector.detect([picture, picture], [["..."], [LONG.pref_label, "...", "bowl"]])
    assert len(found[0].scores) == 0
    assert set(found[1].phrase_index.tolist()) <= {0, 2}


def test_a_text_is_cut_between_words_where_it_can_be() -> None:
    tokenizer = bert_tokenizer()
    assert cut_to_tokens(tokenizer, "ab cd ef", 100) == "ab cd ef"
    assert cut_to_tokens(tokenizer, "ab cd ef", 7) == "ab cd"
    assert cut_to_tokens(tokenizer, "abcdefgh", 5) == "abc"
    assert cut_to_tokens(tokenizer, "   ", 5) == cut_to_tokens(tokenizer, "ab", 2) == ""


def test_concepts_that_an_encoder_cannot_tell_apart_are_named(tier: Tier) -> None:
    same = (Concept("a", "crane"), Concept("b", "crane"))
    pairs = alike(Taxonomy(same, FACETS), make_model(tier.encoder, "cpu"))
    assert [(one, other, round(cosine, 3)) for one, other, cosine in pairs] == [("a", "b", 1.0)]
    assert alike(Taxonomy((PLAIN, LONG), FACETS), make_model(tier.encoder, "cpu")) == []
