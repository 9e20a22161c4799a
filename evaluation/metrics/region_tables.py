"""Tables of regions as arrays: ids as positions, boxes as rows of numbers, regions in their order."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def in_order(ids: pa.ChunkedArray) -> pa.Array:
    """The distinct ids, shorter ones first and then by their bytes: whole numbers come in numeric order."""
    distinct = pc.drop_null(pc.unique(ids.cast(pa.string())))
    named = pa.table({"length": pc.binary_length(distinct), "id": distinct})
    return named.sort_by([("length", "ascending"), ("id", "ascending")])["id"].combine_chunks()


def positions(values: pa.ChunkedArray, known: pa.Array) -> Rows:
    """Where each value stands in `known`, -1 for null and for what is not there."""
    found = pc.index_in(values.cast(pa.string()), value_set=known, skip_nulls=True)
    return pc.fill_null(found, -1).to_numpy().astype(np.int64)


def boxes(table: pa.Table, what: str) -> NDArray[np.float64]:
    """`bbox` of each row: float64 [rows, 4].

    Raises:
        ValueError: a row has no box, or one that is not four finite numbers.
    """
    sides = pc.list_value_length(table["bbox"]).fill_null(0).to_numpy()
    bad = np.flatnonzero(sides != 4)
    if bad.size == 0:
        flat = pc.list_flatten(table["bbox"]).cast(pa.float64()).to_numpy().reshape(-1, 4)
        finite = np.isfinite(flat)
        if not finite.all():
            bad = np.flatnonzero(~finite.all(axis=1))
    if bad.size:
        raise ValueError(
            f"bbox of row {bad[0]} of the {what} is not x, y, width, height in numbers: "
            f"{table['bbox'][int(bad[0])].as_py()} ({bad.size} such rows)"
        )
    return flat


def scores(table: pa.Table, what: str) -> NDArray[np.float64]:
    """`score` of each row, float64 [rows].

    Raises:
        ValueError: a score is null or NaN.
    """
    score = table["score"].cast(pa.float64()).to_numpy()
    bad = np.flatnonzero(np.isnan(score))
    if bad.size:
        raise ValueError(f"the score of row {bad[0]} of the {what} is no number ({bad.size} such rows)")
    return score


def best_first(rows: Rows, group: Rows, score: NDArray[np.float64], names: pa.ChunkedArray) -> Rows:
    """The rows by group, then descending score, then name in the order of `in_order`.

    `group`, `score` and `names` are of all rows, also those that are not asked for.
    """
    order = rows[by_group_and_score(group[rows], score[rows])]
    starts = np.ones(len(order) + 1, bool)
    starts[1:-1] = (np.diff(group[order]) != 0) | (np.diff(score[order]) != 0)
    tied = np.flatnonzero(~(starts[:-1] & starts[1:]))
    if tied.size:
        name = names.take(pa.array(order[tied])).cast(pa.string())
        run = pa.array(np.cumsum(starts[:-1])[tied])
        ranked = pa.table({"run": run, "length": pc.binary_length(name), "name": name})
        by = [(column, "ascending") for column in ranked.column_names]
        order[tied] = order[tied][pc.sort_indices(ranked, by).to_numpy()]
    return order


def by_group_and_score(group: Rows, score: NDArray[np.float64]) -> Rows:
    """The order by group, then descending score; equal ones stay as they are."""
    order = np.argsort(-score, kind="stable")
    return order[np.argsort(_narrow(group[order]), kind="stable")]


def rank_in_group(group: Rows) -> Rows:
    """For each row, how many rows of its group come before it."""
    order = np.argsort(_narrow(group), kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-2))
    ranks = np.empty(len(group), np.int64)
    ranks[order] = np.arange(len(group)) - np.repeat(starts, np.diff(starts, append=len(group)))
    return ranks


def indices(values: Rows, keys: Rows) -> Rows:
    """Where each value stands in `keys` (ascending, none twice), -1 for what is not there."""
    if len(keys) == 0:
        return np.full(len(values), -1)
    index = np.searchsorted(keys, values).clip(max=len(keys) - 1)
    return np.where(keys[index] == values, index, -1)


def equal_keys(left: Rows, right: Rows, block: int = 2**20) -> Iterator[tuple[Rows, Rows]]:
    """All pairs of rows with the same key, by the row on the left and then by that on the right.

    They come in blocks of about `block` pairs; all pairs of one row on the left are in one block.
    """
    order = np.argsort(right, kind="stable")
    keys, first, count = np.unique(right[order], return_index=True, return_counts=True)
    index = indices(left, keys)
    rows = np.flatnonzero(index >= 0)
    first, count = first[index[rows]], count[index[rows]]
    total = np.cumsum(count)
    cuts = np.searchsorted(total, np.arange(block, total[-1] if len(rows) else 0, block))
    for part in np.split(np.arange(len(rows)), np.unique(cuts)):
        size = count[part]
        within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        yield np.repeat(rows[part], size), order[np.repeat(first[part], size) + within]


def _narrow(keys: Rows) -> NDArray[np.integer]:
    """The same keys in 16 bits where they fit: numpy sorts those by radix, ten times faster."""
    fits = len(keys) == 0 or (keys.min() >= 0 and keys.max() < 2**16)
    return keys.astype(np.uint16) if fits else keys
