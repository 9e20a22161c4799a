"""Which regions look like those in which people confirmed a concept: cosines of stored vectors, a block at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from resources.lake import CorruptPartition, Lake, embedding_matrix

Vectors = NDArray[np.float32]
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

    def of(self, places: Iterable[Place]) -> dict[Place, Vectors]:
        """float32 [dimension] of each place that has a vector."""
        wanted, found = set(places), dict[Place, Vectors]()
        for regions in (True, False):
            if any((place.region_id is not None) == regions for place in wanted):
                for named, vectors in self.blocks(regions=regions):
                    for number, place in enumerate(named):
                        if place in wanted:
                            found[place] = vectors[number].copy()  # not a view that keeps the whole block
        return found


def nearest(
    examples: Mapping[str, Vectors], places: Sequence[Place], vectors: Vectors, count: int
) -> dict[str, list[Near]]:
    """Concept id -> the `count` places most like one of its examples, the most alike first.

    examples: concept id -> [examples, dimension], unit length. vectors: [places, dimension], unit length.
    """
    near: dict[str, list[Near]] = {}
    step = max(1, _CELLS_AT_ONCE // max(1, len(places)))
    for concept_id, own in examples.items():
        cosine = np.full(len(places), -1, np.float32)
        for start in range(0, len(own), step):
            cosine = np.maximum(cosine, (own[start : start + step] @ vectors.T).max(axis=0))
        some = np.argpartition(-cosine, count - 1)[:count] if count < len(places) else np.arange(len(places))
        best = some[np.argsort(-cosine[some], kind="stable")]
        near[concept_id] = [Near(places[place], float(cosine[place])) for place in best]
    return near
