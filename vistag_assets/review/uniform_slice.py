"""The uniform slice of a library: which pairs are next in it, and which of it have been decided without a gap."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from resources.decisions import Pair
from vistag_assets.review.pool import Library
from vistag_assets.review.uniform import Cells, Grid

Stratum = Literal["named", "silent"]
STRATA: tuple[Stratum, ...] = get_args(Stratum)


@dataclass(frozen=True)
class UniformSlice:
    """The pairs of a library in two strata, each in the order of its permanent numbers."""

    ids: list[str]
    """of the pictures, in the order of the grid"""
    grid: Grid
    named: Cells
    """pairs that the machine names; all others are silent"""
    decided: Cells
    """pairs on which somebody's word stands"""
    skipped: Cells
    """pairs that somebody looked at and could not tell: they are passed over"""

    @classmethod
    def of(cls, library: Library, named: Iterable[Pair], concepts: Iterable[str]) -> UniformSlice:
        ids, vocabulary = list(library.folder_of), sorted(concepts)
        grid = Grid([library.hash_of[id_] or id_ for id_ in ids], vocabulary)
        row_of = {id_: row for row, id_ in enumerate(ids)}
        column_of = {concept: column for column, concept in enumerate(vocabulary)}

        def cells(pairs: Iterable[Pair]) -> Cells:
            return grid.cells((row_of[i], column_of[c]) for i, c in pairs if i in row_of and c in column_of)

        return cls(ids, grid, cells(named), cells(library.decided), cells(library.skipped))

    def next(self, stratum: Stratum, count: int) -> tuple[list[Pair], float]:
        """The `count` first pairs of a stratum that nobody has looked at, and the share of it that is then looked at."""
        seen = np.union1d(self.decided, self.skipped)
        if stratum == "named":
            cells, numbers = self.grid.smallest(count, np.setdiff1d(self.named, seen))
        else:
            cells, numbers = self.grid.smallest_without(count, np.union1d(self.named, seen))
        return self._pairs(cells), float(numbers[-1]) if len(numbers) else 1.0

    def complete(self, stratum: Stratum) -> tuple[set[Pair], float]:
        """The decided pairs of a stratum before the first that nobody has looked at, and the number of that one.

        Each pair of the stratum had that chance to be among them. It is 1 where all were looked at.
        """
        _, bound = self.next(stratum, 1)
        own = (
            np.intersect1d(self.named, self.decided)
            if stratum == "named"
            else np.setdiff1d(self.decided, self.named)
        )
        return set(self._pairs(own[self.grid.numbers(own) < bound])), bound

    def _pairs(self, cells: Cells) -> list[Pair]:
        places = (self.grid.pair(cell) for cell in cells)
        return [(self.ids[row], self.grid.concepts[column]) for row, column in places]
