"""The vocabulary of the tier offline: ImageNet's names and what they are kinds of."""

from pathlib import Path

from taxonomy import STARTER, load_taxonomy


def test_it_names_the_thousand_classes_and_their_kinds() -> None:
    vocabulary = load_taxonomy(Path(STARTER).parent / "photographs.csv")
    assert len(vocabulary.concepts) > 1000
    for narrower, broader in (
        ("walker-hound", "dog"),
        ("dog", "animal"),
        ("moped", "motor-vehicle"),
        ("espresso", "beverage"),
    ):
        assert broader in vocabulary.ancestors(narrower)
