"""Which concepts texts name."""

import pytest

from taxonomy import Concept, Labels, Taxonomy, starter_taxonomy

STARTER = starter_taxonomy()
CONCEPTS = (
    Concept("vessel", "vessel"),
    Concept("bowl", "bowl", ("basin",), broader=("vessel",)),
    Concept("lamp", "lamp"),
    Concept("oil-lamp", "oil lamp", ("lucerna",), broader=("lamp",)),
    Concept("knife", "knife"),
    Concept("brush", "brush"),
    Concept("berry", "berry"),
    Concept("scales", "balance scales", ("pair of scales",)),
    Concept("spectacles", "spectacles", ("glasses",)),
    Concept("glass", "glass", facet="material"),
    Concept("tumbler", "tumbler", ("glass",)),
    Concept("anchor", "anchor", ("ship's anchor",)),
    Concept("chest", "chest of drawers"),
    Concept("foot", "foot"),
    Concept("mark", "St. Mark"),
    Concept("man", "man"),
    Concept("pin", "pin"),
    Concept("shelf", "shelf"),
    Concept("talisman", "talisman"),
    Concept("token", "token", ("a.b.",)),
    Concept("wood", "wood"),
    Concept("wood-shelf", "wood shelf"),
)
LABELS = Labels(CONCEPTS)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a bowl", ["bowl"]),
        ("Two BOWLS.", ["bowl"]),
        ("bowling in the bowlful of bows; glassware", []),  # whole words only
        ("an oil lamp beside a lamp", ["oil-lamp", "lamp"]),  # longest first, and no lamp in it
        ("a lamp, an oil-lamp, an oil_lamp, an oil\u2011lamp", ["lamp", "oil-lamp", "oil-lamp", "oil-lamp"]),
        ("oil lamps", ["oil-lamp"]),
        ("knives, brushes and berries", ["knife", "brush", "berry"]),
        ("a pair of scales; pairs of scales", ["scales", "scales"]),
        ("the balance scale", ["scales"]),
        ("his glasses", ["spectacles"]),  # a label of its own, and no plural of glass
        ("a ship's anchor; the ship’s anchor", ["anchor", "anchor"]),
        ("a bowl's foot, a man's feet, men", ["bowl", "foot", "man", "foot", "man"]),
        ("talismans", ["talisman"]),
        ("chests of drawers", ["chest"]),  # the noun that carries the number
        ("pines", []),  # no pin
        ("on wood, shelf and wood\nshelf", ["wood", "shelf", "wood", "shelf"]),
        ("wood shelves", ["wood-shelf"]),
        ("St. Mark and St Mark; st, mark", ["mark", "mark"]),  # over no punctuation but its own
        ("a.b.", ["token"]),
        ("a\u0301 ﬁeld of LU\u0043ERNA", ["oil-lamp"]),
        ("", []),
    ],
)
def test_labels_are_found_longest_first_in_singular_and_plural(text: str, found: list[str]) -> None:
    assert [sorted(named.concept_ids) for named in LABELS.named_in(text)] == [[id_] for id_ in found]
    assert LABELS.concepts_in(text) == frozenset(found)


def test_a_label_is_told_as_the_text_writes_it() -> None:
    named = LABELS.named_in("Shelves; oil-lamps, St. Mark and a glass")
    assert [(label.phrase, label.concept_ids) for label in named] == [
        ("shelves", ("shelf",)),
        ("oil lamps", ("oil-lamp",)),
        ("st mark", ("mark",)),
        ("glass", ("glass", "tumbler")),  # those first that prefer it
    ]


def test_the_longest_label_is_named_and_none_reaches_over_punctuation() -> None:
    labels = Labels(
        (
            Concept("shelf", "shelf"),
            Concept("wood", "wood"),
            Concept("wood-shelf", "wood shelf"),
            Concept("bust", "bust"),
        )
    )
    assert labels.concepts_in("Two busts on a wood shelf") == {"bust", "wood-shelf"}
    assert labels.concepts_in("Of wood, shelf and BUST.") == {"wood", "shelf", "bust"}
    assert labels.concepts_in('{"tags":["wood","shelf"]}') == {"wood", "shelf"}
    assert [named.phrase for named in labels.named_in("shelves; busts")] == ["shelves", "busts"]


@pytest.mark.parametrize(
    ("phrase", "concept"),
    [
        ("bowl", "bowl"),
        ("Bowls", "bowl"),
        ("a bowl", "bowl"),
        ("basins", "bowl"),
        ("Counting-Frames", "abacus"),
        ("axes", "axe"),
        ("axe", "axe"),
        ("scissor", "scissors"),
        ("top-hat", "top-hat"),
        ("glass", "glass"),
        ("chests of drawers", "chest-of-drawers"),
        ("terracotta bowl", None),
        ("gla", None),
        ("bowling", None),
        ("", None),
        ("the", None),
    ],
)
def test_a_phrase_is_a_concept_where_it_is_a_label_of_it(phrase: str, concept: str | None) -> None:
    assert STARTER.labels.concept_of(phrase) == concept


def test_every_label_of_the_starter_vocabulary_finds_its_concept() -> None:
    for concept in STARTER.concepts:
        for label in concept.labels:
            [named] = STARTER.labels.named_in(label.upper())
            assert concept.id in named.concept_ids
        assert (
            STARTER.by_id[STARTER.labels.concept_of(concept.pref_label) or ""].pref_label
            == concept.pref_label
        )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("boxes, benches, dresses, crosses, churches", {"box", "bench", "dress", "cross", "church"}),
        ("a table of wood", {"table", "wood"}),  # no forest, though "woods" is a label of it
    ],
)
def test_captions_and_fusion_find_the_same(text: str, found: set[str]) -> None:
    assert STARTER.labels.concepts_in(text) == found


def test_concepts_and_what_is_broader() -> None:
    taxonomy = Taxonomy(CONCEPTS)
    assert taxonomy.with_ancestors(frozenset({"bowl", "knife"})) == {"bowl", "vessel", "knife"}
    assert taxonomy.labels is taxonomy.labels  # made once
