"""Phrases by name, for detectors that answer with names and not with places in a chunk."""

from __future__ import annotations

from collections.abc import Sequence

_JOINERS = str.maketrans({"_": " ", "-": " ", ".": " ", "?": " "})


def normalised(name: str) -> str:
    """A name without regard to case, to what joins its words, and to what ends a phrase elsewhere."""
    return " ".join(name.casefold().translate(_JOINERS).split())


def places_of(phrases: Sequence[str]) -> dict[str, list[int]]:
    """Normalised name -> places of the chunk that ask for it; several where phrases differ only in writing."""
    places: dict[str, list[int]] = {}
    for place, phrase in enumerate(phrases):
        places.setdefault(normalised(phrase), []).append(place)
    return places
