"""Batches in which nothing has to be padded, so that no image can notice its batch-mates."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence


def alike(keys: Sequence[Hashable], size: int) -> Iterator[list[int]]:
    """Places of equal keys together, `size` at most at a time, in the order in which the keys first come."""
    places: dict[Hashable, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    for group in places.values():
        for start in range(0, len(group), size):
            yield group[start : start + size]
