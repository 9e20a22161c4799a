"""Rows of one image taken along to another partition, or to another id; and rows taken out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from resources.lake.notes import empty_ids, failed_ids, noted
from resources.lake.ranges import IdRange, ranges_of
from resources.lake.store import CorruptPartition, Lake

Pairs = Sequence[tuple[str, str]]
"""(id there, id here)"""


def carry_rows(lake: Lake, table: str, folder: str, donors: Mapping[str, Pairs]) -> None:
    """Gives one partition the rows that others (partition key -> pairs) hold of the same pictures, as rows of the ids here.

    What it holds of these ids already is replaced. Whether the rows are of use is for the next update to say, by their
    fingerprints. Partitions that are damaged or of another schema give nothing, and get nothing. One range of ids is in
    memory at a time. Raises OSError.
    """
    given = [donor for source, pairs in donors.items() if (donor := _donor(lake, table, source, pairs))]
    if not given:
        return
    here = {id_ for pairs in donors.values() for _, id_ in pairs}
    with lake.locked(table, folder), contextlib.suppress(CorruptPartition):
        own = lake.schema(table, folder)
        schema = given[0].schema if own is None else own
        given = [donor for donor in given if donor.schema.equals(schema)]
        empty, failed = _notes_without(schema if own else None, here)
        for donor in given:
            empty |= donor.empty

        def rows_in(ids: IdRange) -> Iterator[pa.Table]:
            if own is not None:
                yield _without(lake.read(table, folder, ids=ids), here)
            for donor in given:
                yield from donor.rows_in(lake, table, ids)

        _rewrite(lake, table, folder, noted(schema, empty, failed), here, rows_in)


def drop_rows(lake: Lake, table: str, folder: str, ids: Collection[str]) -> None:
    """Takes all that a partition holds of some ids out of it; a damaged one stays as it is. Raises OSError."""
    with lake.locked(table, folder), contextlib.suppress(CorruptPartition):
        own = lake.schema(table, folder)
        if own is not None:
            schema = noted(own, *_notes_without(own, ids))
            _rewrite(
                lake,
                table,
                folder,
                schema,
                (),
                lambda of: iter([_without(lake.read(table, folder, ids=of), ids)]),
            )


@dataclass(frozen=True, slots=True)
class _Donor:
    """A partition that holds rows of pictures that are here too."""

    source: str
    pairs: Pairs
    schema: pa.Schema
    empty: dict[str, str]
    """id here -> fingerprint of those that it says to have no rows"""

    def rows_in(self, lake: Lake, table: str, ids: IdRange) -> Iterator[pa.Table]:
        """The rows that become rows of a range of ids here."""
        pairs = [(there, here) for there, here in self.pairs if here in ids]
        if not pairs:
            return
        if all(there in ids for there, _ in pairs):  # a file that moved has the id that it had
            rows = lake.read(table, self.source, ids=ids)
        else:
            wanted = pa.array([there for there, _ in pairs], pa.string())
            found = lake.reduced(
                table, self.source, self.schema.names, lambda part: part.filter(pc.is_in(part["id"], wanted))
            )
            rows = self.schema.empty_table() if found is None else found
        for of in _one_to_one(pairs):
            yield _renamed(rows, of)


def _donor(lake: Lake, table: str, source: str, pairs: Pairs) -> _Donor | None:
    """None where it gives nothing."""
    there = pa.array([id_ for id_, _ in pairs], pa.string())
    try:
        schema = lake.schema(table, source)
        held = lake.reduced(
            table, source, ["id"], lambda part: _distinct(part.filter(pc.is_in(part["id"], there)))
        )
    except CorruptPartition:  # the run that is to write it moves it to quarantine
        return None
    if schema is None or held is None:
        return None
    said = empty_ids(schema.empty_table())
    empty = {here: said[id_] for id_, here in pairs if id_ in said}
    return _Donor(source, pairs, schema, empty) if held.num_rows or empty else None


def _rewrite(
    lake: Lake,
    table: str,
    folder: str,
    schema: pa.Schema,
    more: Collection[str],
    rows_in: Callable[[IdRange], Iterator[pa.Table]],
) -> None:
    """Replaces a partition by `rows_in` of ranges of its ids and `more`."""
    held = lake.reduced(table, folder, ["id"], _distinct)
    chunks = [] if held is None else held["id"].chunks
    ids = pa.chunked_array([*chunks, pa.array(list(more), pa.string())])
    with lake.replaced_in_parts(table, schema, folder) as write:
        for range_ in ranges_of(ids.unique()):
            write(pa.concat_tables([schema.empty_table(), *rows_in(range_)]))


def _distinct(ids: pa.Table) -> pa.Table:
    return pa.table({"id": ids["id"].unique()})


def _notes_without(schema: pa.Schema | None, ids: Collection[str]) -> tuple[dict[str, str], dict[str, str]]:
    """What a partition says of other ids: those without rows, those that failed."""
    if schema is None:
        return {}, {}
    rows = schema.empty_table()
    empty, failed = (
        {id_: said for id_, said in note(rows).items() if id_ not in ids} for note in (empty_ids, failed_ids)
    )
    return empty, failed


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
    return renamed.replace_schema_metadata(None)


def _without(rows: pa.Table, ids: Collection[str]) -> pa.Table:
    rest = rows.filter(pc.invert(pc.is_in(rows["id"], pa.array(list(ids), pa.string()))))
    return rest.replace_schema_metadata(None)
