"""A folder in ranges of its images' ids, so that what is held of a table does not grow with the folder."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

MOST_IMAGES = 5_000
"""Images of a folder that are worked on at a time: 1,000,000 rows of `tag_scores`, 100 MB of them."""
_ID_BITS = 128


@dataclass(frozen=True, slots=True)
class IdRange:
    """The ids from `low` on and before `high`; None: no end."""

    low: str | None = None
    high: str | None = None

    def of(self, rows: pa.Table) -> pa.Table:
        """The rows of these ids, in their order."""
        if self == EVERY_ID or not rows.num_rows:
            return rows
        inside = [
            *([pc.greater_equal(rows["id"], self.low)] if self.low is not None else []),
            *([pc.less(rows["id"], self.high)] if self.high is not None else []),
        ]
        return rows.filter(inside[0] if len(inside) == 1 else pc.and_(*inside))

    def __contains__(self, id_: str) -> bool:
        return (self.low is None or self.low <= id_) and (self.high is None or id_ < self.high)

    def meets(self, first: str, last: str) -> bool:
        """Whether ids from `first` to `last`, both included, may be some of these."""
        return (self.high is None or first < self.high) and (self.low is None or self.low <= last)

    def holds(self, first: str, last: str) -> bool:
        """Whether all ids from `first` to `last` are some of these."""
        return first in self and last in self


EVERY_ID = IdRange()


class IdSet:
    """Some ids, wherever they lie."""

    def __init__(self, ids: Collection[str]) -> None:
        self._ids = frozenset(ids)
        self._sorted = sorted(self._ids)
        self._array = pa.array(self._sorted, pa.string())

    def of(self, rows: pa.Table) -> pa.Table:
        """The rows of these ids, in their order."""
        return rows.filter(pc.is_in(rows["id"], self._array))

    def __contains__(self, id_: str) -> bool:
        return id_ in self._ids

    def meets(self, first: str, last: str) -> bool:
        """Whether one of these lies between `first` and `last`."""
        place = bisect_left(self._sorted, first)
        return place < len(self._sorted) and self._sorted[place] <= last

    def holds(self, first: str, last: str) -> bool:
        """Whether all ids from `first` to `last` are some of these."""
        return first == last and first in self


Ids = IdRange | IdSet


def ranges_of(ids: pa.ChunkedArray) -> list[IdRange]:
    """All ids there could be, in ascending ranges of at most `MOST_IMAGES` of these distinct ids; one range of so many.

    Ids are hashes, so a range that holds too many is halved where the ids of half of all hashes end. These places do
    not depend on which ids there are: another image leaves the ranges, and the row groups written by them, as they are.
    Ids that are no hashes of hex digits may be more in one range.
    """
    if len(ids) <= MOST_IMAGES:
        return [EVERY_ID]
    cuts = _cuts(sorted(ids.to_pylist()), 0, 1)
    return [IdRange(low, high) for low, high in zip([None, *cuts], [*cuts, None], strict=True)]


def _cuts(ids: Sequence[str], low: int, bit: int) -> list[str]:
    """Where sorted ids are cut that begin with the same `bit` - 1 bits, those of `low`."""
    while len(ids) > MOST_IMAGES and bit <= _ID_BITS:
        middle = low + (1 << (_ID_BITS - bit))
        cut = f"{middle:032x}".rstrip("0")
        place = bisect_left(ids, cut)
        bit += 1
        if 0 < place < len(ids):
            return [*_cuts(ids[:place], low, bit), cut, *_cuts(ids[place:], middle, bit)]
        low = middle if place == 0 else low
    return []
