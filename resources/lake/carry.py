"""Rows of one image taken along to another partition, or to another id; and rows taken out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from resources.lake.notes import empty_ids, failed_ids, with_empty_ids, with_failed_ids
from resources.lake.store import CorruptPartition, Lake

Pairs = Sequence[tuple[str, str]]
"""(id there, id here)"""


def carry_rows(lake: Lake, table: str, folder: str, donors: Mapping[str, Pairs]) -> None:
    """Gives one partition the rows that others (partition key -> pairs) hold of the same pictures, as rows of the ids here.

    What it holds of these ids already is replaced. Whether the rows are of use is for the next update to say, by their
    fingerprints. Partitions that are damaged or of another schema give nothing, and get nothing. Raises OSError.
    """
    found: list[pa.Table] = []
    for source, pairs in donors.items():
        rows = _readable(lake, table, source)
        if rows is not None:
            found += (_renamed(rows, of) for of in _one_to_one(pairs))
    found = [rows for rows in found if rows.num_rows or empty_ids(rows)]
    if not found:
        return
    with lake.locked(table, folder):
        own = _readable(lake, table, folder)
        if own is None and lake.exists(table, folder):
            return
        here = {id_ for pairs in donors.values() for _, id_ in pairs}
        parts = [] if own is None else [_without(own, here)]
        schema = found[0].schema if own is None else own.schema
        parts += (rows for rows in found if rows.schema.equals(schema))
        lake.replace(table, _joined(parts), folder)


def drop_rows(lake: Lake, table: str, folder: str, ids: Collection[str]) -> None:
    """Takes all that a partition holds of some ids out of it; a damaged one stays as it is. Raises OSError."""
    with lake.locked(table, folder):
        own = _readable(lake, table, folder)
        if own is not None:
            lake.replace(table, _without(own, ids), folder)


def _readable(lake: Lake, table: str, folder: str) -> pa.Table | None:
    try:
        return lake.read_or_none(table, folder)
    except CorruptPartition:  # the run that is to write it moves it to quarantine
        return None


def _one_to_one(pairs: Pairs) -> Iterator[dict[str, str]]:
    """The pairs as mappings: two files here may show what one shows there."""
    left = list(pairs)
    while left:
        of = dict(left)
        yield of
        left = [(there, here) for there, here in left if of[there] != here]


def _renamed(rows: pa.Table, here_of: Mapping[str, str]) -> pa.Table:
    there, here = pa.array(here_of.keys(), pa.string()), pa.array(here_of.values(), pa.string())
    own = rows.filter(pc.is_in(rows["id"], there))
    ids = here.take(pc.index_in(own["id"], there).combine_chunks())
    renamed = own.set_column(own.column_names.index("id"), "id", ids)
    silent = {here_of[id_]: by for id_, by in empty_ids(rows).items() if id_ in here_of}
    return with_empty_ids(renamed.replace_schema_metadata(None), silent)


def _without(rows: pa.Table, ids: Collection[str]) -> pa.Table:
    rest = rows.filter(pc.invert(pc.is_in(rows["id"], pa.array(ids, pa.string()))))
    return _noted(
        rest,
        {id_: by for id_, by in empty_ids(rows).items() if id_ not in ids},
        {id_: why for id_, why in failed_ids(rows).items() if id_ not in ids},
    )


def _joined(parts: Iterable[pa.Table]) -> pa.Table:
    parts = list(parts)
    silent = {id_: by for rows in parts for id_, by in empty_ids(rows).items()}
    failed = {id_: why for rows in parts for id_, why in failed_ids(rows).items()}
    return _noted(pa.concat_tables([rows.replace_schema_metadata(None) for rows in parts]), silent, failed)


def _noted(rows: pa.Table, silent: Mapping[str, str], failed: Mapping[str, str]) -> pa.Table:
    return with_failed_ids(with_empty_ids(rows, silent), failed)
