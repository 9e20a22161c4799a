"""The uniform slice of a library: which pairs are next in it, and which of it have been decided without a gap."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from resources.decisions import Pair
from vistag_assets.review.pool import Library
from vistag_assets.review.uniform import Cells, Grid

Strings: TypeAlias = pa.Array | pa.ChunkedArray
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
    def of(cls, library: Library, named: pa.Table, concepts: Iterable[str]) -> UniformSlice:
        """named: id, concept_id, the pairs that the machine names."""
        ids, vocabulary = list(library.folder_of), sorted(concepts)
        grid = Grid([library.hash_of[id_] or id_ for id_ in ids], vocabulary)

        def cells(images: Strings, of: Strings) -> Cells:
            return grid.cells(_positions(images, ids), _positions(of, vocabulary))

        def of_pairs(pairs: Collection[Pair]) -> Cells:
            images, of = zip(*pairs, strict=True) if pairs else ((), ())
            return cells(pa.array(images, pa.string()), pa.array(of, pa.string()))

        known = cells(named["id"], named["concept_id"])
        return cls(ids, grid, known, of_pairs(library.decided), of_pairs(library.skipped))

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


def _positions(values: Strings, known: Sequence[str]) -> NDArray[np.int64]:
    """int64 [values]: where each is among the known ones, -1 where it is none."""
    found = pc.fill_null(pc.index_in(values, value_set=pa.array(known, pa.string())), -1)
    return np.asarray(found.to_numpy(), np.int64)
