"""A random number that belongs to a pair for good: the uniform slice is the pairs with the smallest.

Drawn from the names of picture and concept alone, it knows nothing of models or people, needs no memory, and is the
same on every machine. The pairs below any bound are a sample in which each pair had the same chance to be, the bound
itself; a larger sample holds the smaller one, and new pictures take their places among the old ("permanent random
numbers": Ohlsson, in Business Survey Methods, 1995).

Of all pairs of pictures and concepts next to none is true, so the slice is drawn from two strata: the pairs that the
machine names, and all others. A figure over both weighs each pair by one over the bound of its stratum. Which pairs are
of which stratum is always that of now: where models change, the slice does with them, and its figures stay unbiased.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

_SALT = "vistag-uniform-1"
_CELLS_AT_ONCE = 1 << 22
Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]
Cells = NDArray[np.int64]
"""Pairs as numbers: place of the picture times concepts, plus place of the concept."""


def permanent_number(picture: str, concept_id: str) -> float:
    """The number of one pair, 0 <= x < 1. picture: its pixel hash, its content id where that is not known."""
    return float(_numbers(_keys([picture]), _keys([concept_id]))[0])


@dataclass(frozen=True)
class Grid:
    """All pairs of some pictures and concepts."""

    pictures: Sequence[str]
    """pixel hashes, content ids where these are not known"""
    concepts: Sequence[str]

    @property
    def size(self) -> int:
        return len(self.pictures) * len(self.concepts)

    def cells(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Cells:
        """Of pairs by the places of their picture and concept, sorted, each once; a place below 0 is in no grid."""
        known = (rows >= 0) & (columns >= 0)
        return np.unique(rows[known] * len(self.concepts) + columns[known])

    def pair(self, cell: int) -> tuple[int, int]:
        return divmod(int(cell), len(self.concepts))

    def numbers(self, cells: Cells) -> Floats:
        """The permanent number of each pair."""
        rows, columns = self._keys
        return _numbers(rows[cells // len(self.concepts)], columns[cells % len(self.concepts)])

    def smallest(self, count: int, among: Cells) -> tuple[Cells, Floats]:
        """Of some pairs the `count` with the smallest numbers, ascending, and these numbers."""
        return _first(among, self.numbers(among), count)

    def smallest_without(self, count: int, without: Cells) -> tuple[Cells, Floats]:
        """The same of all pairs but some. without: sorted."""
        cells, numbers = np.empty(0, np.int64), np.empty(0)
        for start in range(0, self.size if count else 0, _CELLS_AT_ONCE):
            block = np.arange(start, min(start + _CELLS_AT_ONCE, self.size))
            own = self.numbers(block)
            bound = numbers[-1] if len(numbers) == count else 1.0
            block, own = block[own < bound], own[own < bound]
            new = ~np.isin(block, without, assume_unique=True)
            cells, numbers = _first(np.append(cells, block[new]), np.append(numbers, own[new]), count)
        return cells, numbers

    @cached_property
    def _keys(self) -> tuple[Keys, Keys]:
        return _keys(self.pictures), _keys(self.concepts)


def _first(cells: Cells, numbers: Floats, count: int) -> tuple[Cells, Floats]:
    order = np.argsort(numbers, kind="stable")[:count]
    return cells[order], numbers[order]


def _keys(names: Sequence[str]) -> Keys:
    """uint64 [names]"""
    texts = (f"{_SALT}\0{name}".encode("utf-8", "surrogateescape") for name in names)
    digests = b"".join(hashlib.sha256(text).digest()[:8] for text in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _numbers(pictures: Keys, concepts: Keys) -> Floats:
    """float64 [pairs], 0 <= x < 1."""
    mixed = pictures * np.uint64(0x9E3779B97F4A7C15) + concepts
    # the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): each bit of the input decides all of the output
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return np.asarray((mixed >> np.uint64(11)) * 2.0**-53, np.float64)
