"""Incremental update of one partition: compute what is not current, keep the rest, replace once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from resources.lake.batches import Batches, without
from resources.lake.notes import empty_ids, failed_ids, noted, with_empty_ids
from resources.lake.ranges import IdRange, ranges_of
from resources.lake.store import CorruptPartition, Lake
from resources.lake.stored import (
    WANTED,
    StoredKeys,
    answered_ids,
    cast,
    current,
    read_stored,
    same_rows,
    stored_keys,
)


@dataclass(frozen=True, slots=True)
class UpdateStats:
    """How an update went, in numbers of ids (not rows)."""

    kept: int
    """current in the partition already"""
    computed: int
    """sent to `compute` now, and answered"""
    dropped: int
    """were in the partition and are wanted no longer"""
    resumed: int
    """taken from the batches of a run that did not finish"""
    failed: int = 0
    """sent to `compute` now, and left for the next update with a reason"""
    quarantined: Path | None = None
    """where the damaged file went that the partition was found to be, if it was"""


def update_partition(
    lake: Lake,
    table: str,
    folder: str | None,
    wanted: pa.Table,
    schema: pa.Schema,
    compute: Callable[[list[str]], Iterator[pa.Table]],
    on_progress: Callable[[int, int], None] | None = None,
) -> UpdateStats:
    """Makes the partition hold rows for exactly the `wanted` (id, fingerprint), computing what it lacks.

    `wanted` has the columns id and fingerprint, each id once. `schema` is that of the table and has both
    columns too; an id may have many rows. `compute(ids)` gets the ids to compute, in the order of `wanted`,
    and yields batches: tables with the columns of `schema`, all rows of an id in one batch. An id for which
    there is nothing to say is named by the batch (`with_empty_ids`), as is one that failed alone
    (`with_failed_ids`, and no rows); every other one has at least one row.
    It is not called when there is nothing to compute, so a model it loads stays unloaded.
    `on_progress(done, total)` is called at the start and after each batch with numbers of ids to compute.

    Each batch is written to the pending directory as it comes. A run that is killed, or whose compute
    raises, leaves the partition as it was and its batches for the next run, which takes those that are still
    wanted. In the end the partition is replaced in one step, sorted by id (rows of one id stay in their
    order), and the pending batches go. If nothing changed, the file is not touched.

    Rows stored with another schema are computed again, and so are those of a corrupt file, which is moved to
    quarantine with a warning in the log. A second update of the same partition waits for the first.

    Of a folder of many images the keys are held, and the rows of one range of ids at a time (`ranges_of`): the new
    file is written range by range, each as row groups of its own.

    Raises ValueError if `wanted` holds nulls or an id twice, if a batch does not fit `schema` or holds ids
    or fingerprints that were not asked for, and if ids got no row; whatever `compute` raises; OSError.
    """
    wanted = _checked_wanted(wanted, table)
    ranges = ranges_of(wanted["id"])
    is_small = len(ranges) == 1
    with lake.locked(table, folder):
        stored = stored_keys(lake, table, folder, schema, is_small=is_small)
        kept = answered_ids(_kept_keys(stored, wanted))
        batches = Batches(lake.pending(table, folder), schema, hold=is_small)
        resumed = batches.resume(without(wanted, kept))
        failed: dict[str, str] = {}
        while True:
            missing = without(wanted, kept, *batches.answered, pa.array(list(failed), pa.string()))
            failed |= _compute(batches, missing, compute, on_progress, table)
            dropped = _count_others(stored, wanted)
            try:
                if not stored.is_there or dropped or batches.answered or failed:
                    _replace(stored, batches, wanted, ranges, failed)
                else:
                    stored.verify()
                break
            except CorruptPartition as error:  # where nobody had looked for the keys
                stored, kept = stored.without(error), pa.array([], pa.string())
        lake.remove_pending(table, folder)
    computed = sum(map(len, batches.answered)) - resumed
    return UpdateStats(len(kept), computed, dropped, resumed, len(failed), quarantined=stored.quarantined)


def replace_rows(lake: Lake, table: str, folder: str, rows: pa.Table) -> UpdateStats:
    """Makes the partition hold just these rows, one an id, made anew each time; a file that holds them is not touched.

    For a table whose rows depend on all others of the folder. Raises OSError.
    """
    with lake.locked(table, folder):
        found = read_stored(lake, table, folder, rows.schema)
        if not same_rows(found.rows, rows):
            lake.replace(table, rows, folder)
    before, now = (
        set() if one is None else set(zip(one["id"].to_pylist(), one["fingerprint"].to_pylist(), strict=True))
        for one in (found.rows, rows)
    )
    dropped = {id_ for id_, _ in before} - {id_ for id_, _ in now}
    return UpdateStats(
        len(before & now), len(now - before), len(dropped), resumed=0, quarantined=found.quarantined
    )


def _checked_wanted(wanted: pa.Table, table: str) -> pa.Table:
    wanted = wanted.select(WANTED.names).cast(WANTED)
    if wanted["id"].null_count or wanted["fingerprint"].null_count:
        raise ValueError(f"wanted rows of {table} hold null ids or fingerprints")
    counts = wanted.group_by("id").aggregate([("id", "count")])
    twice = counts.filter(pc.greater(counts["id_count"], 1))["id"]
    if len(twice):
        raise ValueError(f"{len(twice)} ids are wanted twice in {table}: {_some(twice.to_pylist())}")
    return wanted


def _compute(
    batches: Batches,
    missing: pa.Table,
    compute: Callable[[list[str]], Iterator[pa.Table]],
    on_progress: Callable[[int, int], None] | None,
    table: str,
) -> dict[str, str]:
    """Has the `missing` computed into `batches`; returns the ids that failed (id -> reason)."""
    total = missing.num_rows
    if not total:
        return {}
    failed: dict[str, str] = {}
    left = dict(zip(missing["id"].to_pylist(), missing["fingerprint"].to_pylist(), strict=True))
    if on_progress:
        on_progress(0, total)
    for rows in compute(list(left)):
        batch = _checked_batch(rows, batches.schema, left, table)
        for id_ in answered_ids(batch).to_pylist():
            del left[id_]
        failures = _checked_failures(rows, left, table)
        for id_ in failures:
            del left[id_]
        failed |= failures
        batches.write(batch)
        if on_progress:
            on_progress(total - len(left), total)
    if left:
        raise ValueError(
            f"{len(left)} ids got no row in {table}, which would have them computed at every run: "
            f"{_some(list(left))}. A stage gives each id at least one row, or names it in with_empty_ids"
        )
    return failed


def _checked_failures(rows: pa.Table, left: Mapping[str, str], table: str) -> dict[str, str]:
    failed = failed_ids(rows)
    if strangers := sorted(failed.keys() - left.keys()):
        raise ValueError(
            f"a batch for {table} names failed ids that have rows or were not asked for: {strangers[:5]}"
        )
    return failed


def _checked_batch(rows: pa.Table, schema: pa.Schema, left: Mapping[str, str], table: str) -> pa.Table:
    try:
        batch = cast(rows.select(schema.names), schema)
    except (KeyError, pa.ArrowException) as error:
        raise ValueError(f"a batch for {table} does not fit its schema: {error}") from error
    asked = [id_ for id_ in answered_ids(batch).to_pylist() if id_ in left]
    expected = current(batch, pa.table([asked, [left[id_] for id_ in asked]], schema=WANTED))
    if expected.num_rows < batch.num_rows or len(empty_ids(expected)) < len(empty_ids(batch)):
        strangers = batch.filter(pc.invert(pc.is_in(batch["id"], expected["id"].combine_chunks())))
        raise ValueError(
            f"a batch for {table} has rows that are not asked for: other ids, other fingerprints, or an id "
            f"of an earlier batch: {_some((strangers if strangers.num_rows else batch)['id'].unique().to_pylist())}"
        )
    return batch


def _replace(
    stored: StoredKeys,
    batches: Batches,
    wanted: pa.Table,
    ranges: Sequence[IdRange],
    failed: Mapping[str, str],
) -> None:
    """Puts the rows that are kept and those of the batches into the place of the partition, range by range.

    Raises CorruptPartition where what is stored cannot be read.
    """
    keys = _kept_keys(stored, wanted)
    schema = noted(stored.schema, empty_ids(keys) | batches.empty, failed)
    found = 0
    with stored.lake.replaced_in_parts(stored.table, schema, stored.folder) as write:
        for ids in ranges:
            own = ids.of(wanted)
            kept = current(stored.rows(ids), own)
            found += pc.count_distinct(kept["id"]).as_py()
            write(_sorted_by_id(pa.concat_tables([kept, *batches.rows(ids)]), own))
        if found < pc.count_distinct(keys["id"]).as_py():
            path = stored.lake.data_file(stored.table, stored.folder)
            raise CorruptPartition(f"{path} has statistics that hide rows")


def _kept_keys(stored: StoredKeys, wanted: pa.Table) -> pa.Table:
    """(id, fingerprint) of what is stored and wanted, with the ids that have no rows."""
    return current(with_empty_ids(stored.keys, stored.empty), wanted)


def _count_others(stored: StoredKeys, wanted: pa.Table) -> int:
    """How many ids are stored that are wanted no longer."""
    ids = answered_ids(with_empty_ids(stored.keys, stored.empty))
    return int(pc.sum(pc.invert(pc.is_in(ids, wanted["id"].combine_chunks()))).as_py() or 0)


def _sorted_by_id(rows: pa.Table, wanted: pa.Table) -> pa.Table:
    rows = rows.combine_chunks()  # the file is then the same in however many batches its rows came
    if not rows.num_rows or _is_sorted(rows["id"].chunk(0)):
        return rows
    # Sorting ranks instead of the ids themselves is many times faster; the sort is stable.
    ranks = pc.index_in(rows["id"], wanted["id"].combine_chunks().sort())
    return rows.take(pc.sort_indices(ranks))


def _is_sorted(ids: pa.Array) -> bool:
    return bool(pc.all(pc.less_equal(ids[:-1], ids[1:])).as_py())


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:5]) + (" ..." if len(ids) > 5 else "")
