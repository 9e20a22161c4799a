"""Which pictures a part of a benchmark is made of."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping


def concept_counts(shown: Mapping[str, Collection[str]]) -> Counter[str]:
    """Concept -> pictures that show it, of picture -> concepts."""
    return Counter(concept for concepts in shown.values() for concept in set(concepts))


def tail_first(shown: Mapping[str, Collection[str]], images: int | None) -> list[str]:
    """The `images` pictures that show the rarest concepts, in the order of their names; all where None.

    A picture is as rare as the rarest concept that it shows; equals are drawn by the SHA-256 of their names, so that a part
    is the same on every machine and a larger part holds the smaller one. Pictures without a concept come last.
    """
    counts = concept_counts(shown)

    def rarity(name: str) -> tuple[int, str]:
        rarest = min((counts[concept] for concept in shown[name]), default=len(shown) + 1)
        return rarest, hashlib.sha256(name.encode()).hexdigest()

    return sorted(sorted(shown, key=rarity)[:images])
