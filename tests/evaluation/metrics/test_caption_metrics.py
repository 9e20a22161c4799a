"""What captions name, against what is there."""

import pytest

from evaluation.metrics.captions import NamedObjects, named_objects, object_counts
from taxonomy import Concept, Taxonomy

CONCEPTS = (
    Concept("vessel", "vessel"),
    Concept("bowl", "bowl", ("basin",), broader=("vessel",)),
    Concept("lamp", "lamp"),
    Concept("oil-lamp", "oil lamp", broader=("lamp",)),
    Concept("knife", "knife"),
    Concept("brush", "brush"),
    Concept("berry", "berry"),
    Concept("scales", "balance scales", ("pair of scales",)),
    Concept("spectacles", "spectacles", ("glasses",)),
    Concept("glass", "glass", facet="material"),
    Concept("tumbler", "tumbler", ("glass",)),
    Concept("anchor", "anchor", ("ship's anchor",)),
)
TAXONOMY = Taxonomy(CONCEPTS)
OBJECTS = frozenset(concept.id for concept in CONCEPTS if concept.facet == "object")


def compare(
    texts: dict[str, str], present: dict[str, set[str]], objects: frozenset[str] = OBJECTS
) -> NamedObjects:
    return named_objects(object_counts(texts, present, objects, TAXONOMY).values())


def test_recall_and_hallucination_by_hand() -> None:
    figures = compare(
        {"a": "a bowl, a bowl and a knife", "b": "a brush", "c": "nothing to see"},
        {"a": {"bowl", "lamp"}, "b": {"brush"}},
    )
    assert figures.object_recall == pytest.approx(2 / 3)  # bowl and brush, not the lamp
    assert figures.hallucination_rate == pytest.approx(1 / 3)  # the knife; the second bowl is the same bowl
    assert (figures.texts, figures.objects, figures.mentions) == (3, 3, 3)
    assert figures.recall_ci95 is not None
    assert figures.recall_ci95.low <= 2 / 3 <= figures.recall_ci95.high


def test_a_broader_name_is_neither_a_hit_nor_invented() -> None:
    figures = compare({"a": "a vessel"}, {"a": {"bowl"}})
    assert (figures.object_recall, figures.hallucination_rate, figures.mentions) == (0.0, None, 0)
    assert compare({"a": "a vessel"}, {"a": {"knife"}}).hallucination_rate == 1.0


def test_a_label_of_several_concepts_names_the_one_that_is_there() -> None:
    assert compare({"a": "a glass"}, {"a": {"tumbler"}}).object_recall == 1.0
    # the material is there: whoever says glass may mean it, but an object it is not
    assert compare({"a": "a glass"}, {"a": {"glass"}}).hallucination_rate == 1.0


def test_only_the_objects_that_count_count() -> None:
    figures = compare({"a": "a knife and a brush"}, {"a": {"knife", "lamp"}}, frozenset({"knife"}))
    assert (figures.object_recall, figures.hallucination_rate, figures.mentions) == (1.0, 0.0, 1)
    nothing = compare({"a": "a brush"}, {}, frozenset({"knife"}))
    assert (nothing.object_recall, nothing.hallucination_rate) == (None, None)
