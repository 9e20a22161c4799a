"""Which regions look like those in which people confirmed a concept: cosines of stored vectors, a block at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from resources.lake import CorruptPartition, Lake, embedding_matrix

Vectors = NDArray[np.float32]
Halves = NDArray[np.float16]
_CELLS_AT_ONCE = 1 << 24
EXAMPLES_A_CONCEPT = 50
"""Confirmed regions that are looked around; of more, so many."""


@dataclass(frozen=True, slots=True)
class Place:
    """A picture, or a region of it."""

    id: str
    region_id: str | None


@dataclass(frozen=True, slots=True)
class Near:
    """A place that looks like one in which a concept was confirmed."""

    place: Place
    cosine: float


@dataclass(frozen=True)
class Embeddings:
    """The vectors of a home's pictures and regions; those of another size than most recently read are passed over."""

    lake: Lake
    folder_of: Mapping[str, str]
    """image id -> folder"""

    def blocks(self, *, regions: bool) -> Iterator[tuple[list[Place], Vectors]]:
        """A folder at a time: places and [places, dimension]."""
        table = "region_embeddings" if regions else "global_embeddings"
        columns = ["id", "region_id", "embedding"] if regions else ["id", "embedding"]
        dimension = None
        for folder in self.lake.folders(table):
            try:
                rows = self.lake.read(table, folder, columns)
            except CorruptPartition:
                continue
            here = [self.folder_of.get(id_) == folder for id_ in rows["id"].to_pylist()]
            rows = rows.filter(pa.array(here, pa.bool_()))
            if rows.num_rows == 0:
                continue
            size = rows["embedding"].type.list_size
            dimension = dimension or size
            if size == dimension:
                names = rows["region_id"].to_pylist() if regions else [None] * rows.num_rows
                places = [Place(*both) for both in zip(rows["id"].to_pylist(), names, strict=True)]
                yield places, embedding_matrix(rows["embedding"])

    def of(self, places: Iterable[Place]) -> dict[Place, Halves]:
        """[dimension] of each place that has a vector."""
        wanted, found = set(places), dict[Place, Halves]()
        for regions in (True, False):
            if any((place.region_id is not None) == regions for place in wanted):
                for named, vectors in self.blocks(regions=regions):
                    for number, place in enumerate(named):
                        if place in wanted:
                            # as the lake has it, and no view that keeps the whole block
                            found[place] = vectors[number].astype(np.float16)
        return found


def nearest(
    examples: Mapping[str, Vectors],
    places: Sequence[Place],
    vectors: Vectors,
    count: int,
    above: Mapping[str, float] = MappingProxyType({}),
) -> Iterator[tuple[str, list[Near]]]:
    """(concept id, the `count` places most like one of its examples), of the concepts that have any.

    examples: concept id -> [examples, dimension], unit length. vectors: [places, dimension], unit length. above: concept
    id -> the cosine from which a place is of interest.
    """
    step = max(1, _CELLS_AT_ONCE // max(1, len(places)))
    for concept_id, own in examples.items():
        cosine = np.full(len(places), -1, np.float32)
        for start in range(0, len(own), step):
            np.maximum(cosine, (own[start : start + step] @ vectors.T).max(axis=0), out=cosine)
        some = np.flatnonzero(cosine > above.get(concept_id, -1.0))
        if len(some) > count:
            some = some[np.argpartition(-cosine[some], count - 1)[:count]]
        if len(some):
            yield concept_id, [Near(places[place], float(cosine[place])) for place in some.tolist()]


def most_alike(near: Iterable[Near], count: int) -> dict[str, Near]:
    """Image id -> its place that is most alike, of the `count` images that have the most alike."""
    best: dict[str, Near] = {}
    for one in sorted(near, key=lambda near: -near.cosine):
        best.setdefault(one.place.id, one)
        if len(best) == count:
            break
    return best
