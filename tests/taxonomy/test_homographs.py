"""Labels that several concepts bear: how they are asked about and shown, and whom a text means by them."""

import pytest

from taxonomy import Concept, Facet, Taxonomy, Translation, starter_taxonomy

BIRD = Concept(
    "b", "cranes (birds)", ("cranes",), broader=("birds",), definition="Tall wading birds; with long necks."
)
LIFT = Concept("l", "cranes (lifting equipment)", ("cranes", "derricks"))
BIRDS = Concept("birds", "birds")
FACETS = {"object": Facet("object", ("{label}",)), "material": Facet("material", ("{label}",))}


def test_a_qualifier_in_parentheses_is_asked_as_a_phrase_and_serves_the_other_labels() -> None:
    taxonomy = Taxonomy((BIRD, LIFT, BIRDS), FACETS)
    assert taxonomy.phrases(BIRD) == ("cranes, birds",)
    assert taxonomy.phrases(LIFT) == ("cranes, lifting equipment", "derricks")
    assert taxonomy.shown_labels["b"] == "cranes (birds)"


@pytest.mark.parametrize(
    ("more", "asked"),
    [
        ({"broader": ("birds",)}, "crane, birds"),
        ({"definition": "A tall wading bird, with a long neck."}, "crane, A tall wading bird"),
        ({}, "crane"),
    ],
)
def test_a_qualifier_is_found_in_what_is_broader_or_defined(more: dict[str, object], asked: str) -> None:
    bird, lift = Concept("b", "crane", **more), Concept("l", "crane")  # type: ignore[arg-type]
    taxonomy = Taxonomy((bird, lift, BIRDS), FACETS)
    assert taxonomy.asked_labels(bird) == (asked,)
    assert taxonomy.asked_labels(lift) == ("crane",)
    assert taxonomy.shown_labels["b"] == ("crane" if asked == "crane" else f"crane ({asked[7:]})")


def test_a_qualifier_that_both_have_parts_nothing() -> None:
    one = Concept("a", "crane", broader=("birds",), definition="Blue.")
    other = Concept("b", "crane", broader=("birds",), definition="Red.")
    taxonomy = Taxonomy((one, other, BIRDS), FACETS)
    assert [taxonomy.asked_labels(c) for c in (one, other)] == [("crane, Blue",), ("crane, Red",)]


def test_one_label_in_two_facets_needs_no_qualifier() -> None:
    thing, stuff = Concept("t", "horn"), Concept("s", "horn", facet="material", definition="Keratin.")
    taxonomy = Taxonomy((thing, stuff), FACETS)
    assert taxonomy.qualifiers == {}
    assert taxonomy.shares(["t", "s"], "a horn") == {"t": 1.0, "s": 1.0}
    assert starter_taxonomy().qualifiers == {}


def test_a_text_that_names_one_is_evidence_for_both_split_by_context() -> None:
    taxonomy = Taxonomy((BIRD, LIFT, BIRDS), FACETS)
    [named] = taxonomy.labels.named_in("Two cranes at a harbour")
    assert named.concept_ids == ("b", "l")
    assert taxonomy.shares(named.concept_ids, "Two cranes at a harbour") == {"b": 0.5, "l": 0.5}
    wading = taxonomy.shares(named.concept_ids, "Cranes wading beside other birds")
    assert wading["b"] > 0.8
    assert sum(wading.values()) == pytest.approx(1)
    assert taxonomy.shares(named.concept_ids, "Cranes, the lifting equipment of a port")["l"] > 0.8


def test_texts_are_matched_in_every_language_and_the_shown_one_comes_first() -> None:
    pan = Concept("pan", "pan", translations=(Translation("es", "sartén"),))
    bread = Concept("bread", "bread", translations=(Translation("es", "pan", ("hogaza",)),))
    labels = Taxonomy((pan, bread), FACETS).labels
    assert labels.concepts_in("a pan") == {"pan"}
    assert labels.concepts_in("una hogaza", "la sartén") == {"bread", "pan"}


def test_prompts_are_in_english_but_for_a_model_that_knows_more() -> None:
    crane = Concept(
        "k", "Kraan", ("hijskraan",), language="nl", translations=(Translation("en", "crane", ("hoist",)),)
    )
    lamp = Concept("l", "Lamp", language="nl")
    taxonomy = Taxonomy((crane, lamp), FACETS)
    assert taxonomy.phrases(crane) == ("crane", "hoist")
    assert taxonomy.phrases(crane, multilingual=True) == ("Kraan", "hijskraan")
    assert taxonomy.phrases(lamp) == ("Lamp",)
    assert taxonomy.labels.concepts_in("two cranes", "een hijskraan") == {"k"}


def test_fingerprints_notice_languages_and_qualifiers_and_no_identity() -> None:
    plain = Taxonomy((Concept("a", "crane"),), FACETS)
    known = Taxonomy(
        (Concept("a", "crane", iri="http://x/a", notation="7", exact_match=("http://y/a",)),), FACETS
    )
    other = Taxonomy((Concept("a", "crane", translations=(Translation("nl", "kraan"),)),), FACETS)
    assert plain.fingerprint == known.fingerprint != other.fingerprint
    assert plain.identity is None
    assert known.identity is not None
    assert starter_taxonomy().fingerprint == "957b16ce4530b135"
