"""A random number that belongs to a pair for good: the uniform slice is the pairs with the smallest.

Drawn from the names of picture and concept alone, it knows nothing of models or people, needs no memory, and is the
same on every machine. The pairs below any bound are a sample in which each pair of the library had the same chance to
be, the bound itself; a larger sample holds the smaller one, and new pictures take their places among the old
("permanent random numbers": Ohlsson, in Business Survey Methods, 1995).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

_SALT = "vistag-uniform-1"
_CELLS_AT_ONCE = 1 << 22
Keys = NDArray[np.uint64]


def permanent_number(picture: str, concept_id: str) -> float:
    """The number of one pair, 0 <= x < 1. picture: its pixel hash, its content id where that is not known."""
    return float(numbers(keys([picture]), keys([concept_id]))[0, 0])


def keys(names: Sequence[str]) -> Keys:
    """uint64 [names]"""
    digests = (
        hashlib.sha256(f"{_SALT}\0{name}".encode("utf-8", "surrogateescape")).digest() for name in names
    )
    return np.frombuffer(b"".join(digest[:8] for digest in digests), dtype="<u8").astype(np.uint64)


def numbers(pictures: Keys, concepts: Keys) -> NDArray[np.float64]:
    """float64 [pictures, concepts], 0 <= x < 1."""
    mixed = pictures[:, None] * np.uint64(0x9E3779B97F4A7C15) + concepts[None, :]
    # the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): every bit of the input decides every one of the output
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return np.asarray((mixed >> np.uint64(11)) * 2.0**-53, np.float64)


def smallest(
    pictures: Sequence[str], concepts: Sequence[str], count: int, known: Collection[tuple[int, int]] = ()
) -> list[tuple[float, int, int]]:
    """(number, place of the picture, place of the concept) of the `count` pairs of smallest number that are not known.

    known: places of pairs that were looked at. Ascending; all pairs where there are not so many.
    """
    rows, columns = keys(pictures), keys(concepts)
    found: list[tuple[float, int, int]] = []
    if not len(rows) or not len(columns) or count < 1:
        return found
    looked_at = np.sort(np.array([row * len(columns) + column for row, column in known], np.int64))
    step = max(1, _CELLS_AT_ONCE // len(columns))
    bound = 1.0
    for start in range(0, len(rows), step):
        block = numbers(rows[start : start + step], columns).ravel()
        below = np.flatnonzero(block < bound)
        below = below[~np.isin(below + start * len(columns), looked_at, assume_unique=True)]
        if len(below) > count:
            below = below[np.argpartition(block[below], count - 1)[:count]]
        found += [
            (float(block[cell]), start + int(cell // len(columns)), int(cell % len(columns)))
            for cell in below
        ]
        found = sorted(found)[:count]
        bound = found[-1][0] if len(found) == count else 1.0
    return found
