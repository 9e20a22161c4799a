"""What finds the nearest vectors: vistag's index, and what others would take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.search.vectors import DIMENSION, mapped
from vistag_assets.search.index import IDENTITY, Batch, Index, MadeBy, load_index, update_index

TOP = 10
Query = NDArray[np.float32]
Mask = NDArray[np.bool_]
Search = Callable[[Query, Mask | None], NDArray[np.intp]]
"""Rows of the TOP nearest of a query, best first, among those that are allowed."""
_FOLDER = 1000
_BLOCK = 65_536


class Engine(Protocol):
    """A way to find the nearest vectors of a file, built in a place of its own."""

    def build(self, vectors: Path, place: Path) -> None: ...

    def open(self, vectors: Path, place: Path) -> Search: ...


class Exact:
    """NumPy over float32 in memory."""

    def build(self, vectors: Path, place: Path) -> None:
        return None

    def open(self, vectors: Path, place: Path) -> Search:
        stored = mapped(vectors)
        matrix = np.empty(stored.shape, np.float32)
        for start in range(0, len(stored), _BLOCK):
            matrix[start : start + _BLOCK] = stored[start : start + _BLOCK]
        del stored

        def search(query: Query, allowed: Mask | None) -> NDArray[np.intp]:
            scores = matrix @ query
            if allowed is not None:
                scores[~allowed] = -np.inf
            best = np.argpartition(-scores, TOP)[:TOP]
            return best[np.argsort(-scores[best])]

        return search


class Folders:
    """The vectors as a table of folders, which an index is made of."""

    made_by = MadeBy("benchmark", "benchmark", DIMENSION)

    def __init__(self, vectors: Path, count: int) -> None:
        self._vectors, self._count = mapped(vectors), count

    def states(self) -> dict[str, str]:
        return {f"{start:09}": "there" for start in range(0, self._count, _FOLDER)}

    def read(self, folder: str) -> Batch:
        start = int(folder)
        count = min(_FOLDER, self._count - start)
        texts = [
            [folder] * count,
            [f"{start + n:032x}" for n in range(count)],
            [None] * count,
            ["image"] * count,
        ]
        columns = [pa.array(text, pa.string()) for text in [*texts, ["f" * 16] * count]]
        return pa.table(columns, names=list(IDENTITY)), self._vectors[start : start + count]


class Ours:
    """vistag's: FAISS proposes, the mapped half floats decide."""

    def build(self, vectors: Path, place: Path) -> None:
        self.update(vectors, place, len(mapped(vectors)))

    def update(self, vectors: Path, place: Path, count: int) -> None:
        update_index(place / "index", Folders(vectors, count), place / "quarantine")

    def open(self, vectors: Path, place: Path) -> Search:
        index = load_index(place / "index")
        assert index is not None
        firsts = list(_firsts(index))

        def search(query: Query, allowed: Mask | None) -> NDArray[np.intp]:
            rows, scores = list[NDArray[np.intp]](), list[NDArray[np.float32]]()
            for segment, first in zip(index.segments, firsts, strict=True):
                some = None if allowed is None else allowed[first : first + segment.rows.num_rows]
                found, score = segment.nearest(query, TOP, some)
                rows.append(found + first)
                scores.append(score)
            together = np.concatenate(rows)
            return together[np.argsort(-np.concatenate(scores), kind="stable")[:TOP]]

        return search


def _firsts(index: Index) -> Iterator[int]:
    """Of each segment the number of its first vector."""
    for segment in index.segments:
        yield int(segment.rows["id"][0].as_py(), 16)


class DuckDb:
    """DuckDB's array_cosine_similarity over a table of its own."""

    def build(self, vectors: Path, place: Path) -> None:
        import duckdb

        stored = mapped(vectors)
        with duckdb.connect(place / "vectors.duckdb") as connection:
            connection.execute(f"create table vectors (number integer, vector float[{DIMENSION}])")
            for start in range(0, len(stored), _BLOCK):
                some = stored[start : start + _BLOCK].astype(np.float32)
                lists = pa.FixedSizeListArray.from_arrays(pa.array(some.reshape(-1)), DIMENSION)
                numbers = pa.array(np.arange(start, start + len(some), dtype=np.int32))
                connection.register("batch", pa.table([numbers, lists], names=["number", "vector"]))
                connection.execute("insert into vectors select * from batch")

    def open(self, vectors: Path, place: Path) -> Search:
        import duckdb

        connection = duckdb.connect(place / "vectors.duckdb", read_only=True)

        def search(query: Query, allowed: Mask | None) -> NDArray[np.intp]:
            own = connection.cursor()
            where = ""
            if allowed is not None:
                own.register("allowed", pa.table({"number": np.flatnonzero(allowed).astype(np.int32)}))
                where = "where number in (select number from allowed)"
            found = own.execute(
                f"select number from vectors {where} "
                f"order by array_cosine_similarity(vector, ?::float[{DIMENSION}]) desc limit {TOP}",
                [query.tolist()],
            )
            return np.asarray([number for (number,) in found.fetchall()], np.intp)

        return search


class USearch:
    """USearch's HNSW over half floats, mapped."""

    def build(self, vectors: Path, place: Path) -> None:
        from usearch.index import Index as HnswIndex

        stored = mapped(vectors)
        index = HnswIndex(ndim=DIMENSION, metric="ip", dtype="f16")
        for start in range(0, len(stored), _BLOCK):
            index.add(
                np.arange(start, min(start + _BLOCK, len(stored))), np.asarray(stored[start : start + _BLOCK])
            )
        index.save(str(place / "vectors.usearch"))

    def open(self, vectors: Path, place: Path) -> Search:
        from usearch.index import Index as HnswIndex

        index = HnswIndex.restore(str(place / "vectors.usearch"), view=True)

        def search(query: Query, allowed: Mask | None) -> NDArray[np.intp]:
            depth = TOP if allowed is None else min(len(index), 30 * TOP)  # it has no filter in Python
            keys = index.search(query.astype(np.float16), depth).keys.astype(np.intp)
            return (keys if allowed is None else keys[allowed[keys]])[:TOP]

        return search


class LanceDb:
    """LanceDB's IVF with product quantisation, refined by the vectors."""

    def build(self, vectors: Path, place: Path) -> None:
        import lancedb

        stored = mapped(vectors)

        def batches() -> Iterator[pa.RecordBatch]:
            for start in range(0, len(stored), _BLOCK):
                some = np.asarray(stored[start : start + _BLOCK])
                lists = pa.FixedSizeListArray.from_arrays(pa.array(some.reshape(-1)), DIMENSION)
                numbers = pa.array(np.arange(start, start + len(some), dtype=np.int64))
                yield pa.RecordBatch.from_arrays([numbers, lists], names=["number", "vector"])

        schema = next(batches()).schema
        table = lancedb.connect(place / "lance").create_table(
            "vectors", pa.RecordBatchReader.from_batches(schema, batches())
        )
        table.create_index(metric="dot", index_type="IVF_PQ", num_sub_vectors=DIMENSION // 8)

    def open(self, vectors: Path, place: Path) -> Search:
        import lancedb

        table = lancedb.connect(place / "lance").open_table("vectors")

        def search(query: Query, allowed: Mask | None) -> NDArray[np.intp]:
            asked = table.search(query).metric("dot").nprobes(40).refine_factor(10).limit(TOP)
            if allowed is not None:
                numbers = ", ".join(map(str, np.flatnonzero(allowed)))
                asked = asked.where(f"number in ({numbers})", prefilter=True)
            return np.asarray(asked.select(["number"]).to_arrow()["number"].to_pylist(), np.intp)

        return search


ENGINES: Mapping[str, type[Engine]] = {
    "exact": Exact,
    "duckdb": DuckDb,
    "usearch": USearch,
    "lancedb": LanceDb,
    "ours": Ours,
}
PACKAGES = {"usearch": "usearch", "lancedb": "lancedb"}
"""What an engine needs that vistag does not."""
