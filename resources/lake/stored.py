"""What a writer finds on the disk: rows of its schema or none, as a whole or range by range."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resources.lake.notes import empty_ids, with_empty_ids
from resources.lake.ranges import IdRange
from resources.lake.store import CorruptPartition, Lake
from resources.tables import LATER

_log = logging.getLogger(__name__)

WANTED = pa.schema([("id", pa.string()), ("fingerprint", pa.string())])


@dataclass(frozen=True, slots=True)
class Stored:
    """What a writer found on the disk: rows of its schema or none, and where a damaged file went."""

    rows: pa.Table | None
    quarantined: Path | None = None


def read_stored(lake: Lake, table: str, folder: str | None, schema: pa.Schema) -> Stored:
    """The rows on the disk as `schema`, for who is inside `locked` and computes again what is of no use.

    A corrupt file is moved to quarantine and rows of another schema are left out, with a warning in the log.
    """
    try:
        stored = lake.read_or_none(table, folder)
    except CorruptPartition as error:
        return Stored(None, _quarantine(lake, table, folder, error))
    if stored is None:
        return Stored(None)
    stored = _with_later_columns(stored, schema)
    if not fits(stored, schema):
        _tell_of_schema(lake, table, folder)
        return Stored(None)
    return Stored(cast(stored, schema))


@dataclass(frozen=True, slots=True)
class StoredKeys:
    """The ids that a partition on the disk answers, and its rows when they are asked for."""

    lake: Lake
    table: str
    folder: str | None
    schema: pa.Schema
    keys: pa.Table
    """(id, fingerprint) of its rows, each once"""
    empty: Mapping[str, str]
    """id -> fingerprint of those that it says to have no rows"""
    is_there: bool = True
    quarantined: Path | None = None
    held: pa.Table | None = None
    """all of it, where it is small"""

    def rows(self, ids: IdRange) -> pa.Table:
        """Those of some ids, without notes. Raises CorruptPartition."""
        if self.held is not None:
            return ids.of(self.held).replace_schema_metadata(None)
        if not self.is_there:
            return self.schema.empty_table()
        stored = self.lake.read(self.table, self.folder, ids=ids)
        return cast(_with_later_columns(stored, self.schema), self.schema).replace_schema_metadata(None)

    def verify(self) -> None:
        """Reads what was not read yet. Raises CorruptPartition."""
        if self.is_there and self.held is None:
            schema = self.lake.schema(self.table, self.folder)
            assert schema is not None
            others = [name for name in schema.names if name not in WANTED.names]
            self.lake.reduced(self.table, self.folder, others, lambda rows: rows.slice(0, 0))

    def without(self, error: CorruptPartition) -> StoredKeys:
        """The partition after all that was found to be damaged, which is moved to quarantine."""
        moved_to = _quarantine(self.lake, self.table, self.folder, error)
        return _none(self.lake, self.table, self.folder, self.schema, moved_to)


def stored_keys(
    lake: Lake, table: str, folder: str | None, schema: pa.Schema, *, is_small: bool
) -> StoredKeys:
    """What `read_stored` finds, of which no more than the keys is held unless it `is_small`."""
    if is_small:
        found = read_stored(lake, table, folder, schema)
        if found.rows is None:
            return _none(lake, table, folder, schema, found.quarantined)
        keys = _distinct(found.rows.select(WANTED.names))
        return StoredKeys(lake, table, folder, schema, keys, empty_ids(found.rows), held=found.rows)
    try:
        columns = lake.schema(table, folder)
        if columns is None:
            return _none(lake, table, folder, schema)
        empty = columns.empty_table()
        if not fits(_with_later_columns(empty, schema), schema):
            _tell_of_schema(lake, table, folder)
            return _none(lake, table, folder, schema)
        found_keys = lake.reduced(table, folder, WANTED.names, _runs)
        assert found_keys is not None
    except CorruptPartition as error:
        return _none(lake, table, folder, schema, _quarantine(lake, table, folder, error))
    return StoredKeys(lake, table, folder, schema, _distinct(found_keys), empty_ids(empty))


def same_rows(stored: pa.Table | None, rows: pa.Table) -> bool:
    """Whether the stored rows are these; Parquet gives some types back as wider ones, so they are cast."""
    return (
        stored is not None
        and stored.column_names == rows.column_names
        and stored.num_rows == rows.num_rows
        and bool(stored.cast(rows.schema).equals(rows))
    )


def cast(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    return rows.cast(schema).replace_schema_metadata(rows.schema.metadata)


def fits(rows: pa.Table, schema: pa.Schema) -> bool:
    """Whether `rows`, as read, were written with `schema`; Parquet lacks some types (timestamp[s])."""
    file = io.BytesIO()
    pq.write_table(schema.empty_table(), file)
    return pq.read_schema(file).equals(rows.schema)


def current(rows: pa.Table, wanted: pa.Table) -> pa.Table:
    """The rows (and the ids without rows) whose (id, fingerprint) is wanted, in their order."""
    wanted_fingerprint = wanted["fingerprint"].take(pc.index_in(rows["id"], wanted["id"].combine_chunks()))
    found = rows.filter(pc.equal(rows["fingerprint"], wanted_fingerprint))
    if empty := empty_ids(rows):
        by_id = dict(zip(wanted["id"].to_pylist(), wanted["fingerprint"].to_pylist(), strict=True))
        found = with_empty_ids(found, {id_: by for id_, by in empty.items() if by_id.get(id_) == by})
    return found


def answered_ids(rows: pa.Table) -> pa.Array:
    """Those that have rows, and those that are said to have none, each once."""
    return pc.unique(pa.concat_arrays([pc.unique(rows["id"]), pa.array(list(empty_ids(rows)), pa.string())]))


def _runs(keys: pa.Table) -> pa.Table:
    """The first of equal rows that follow each other: all but none of a table sorted by id."""
    if keys.num_rows < 2:
        return keys
    keys = keys.combine_chunks()
    columns = [keys[name].chunk(0) for name in WANTED.names]
    other = pc.or_(*(pc.not_equal(column[1:], column[:-1]) for column in columns))
    return keys.filter(pa.concat_arrays([pa.array([True]), other]))


def _distinct(keys: pa.Table) -> pa.Table:
    return _runs(keys).group_by(WANTED.names).aggregate([])


def _none(
    lake: Lake, table: str, folder: str | None, schema: pa.Schema, quarantined: Path | None = None
) -> StoredKeys:
    return StoredKeys(lake, table, folder, schema, WANTED.empty_table(), {}, False, quarantined)


def _quarantine(lake: Lake, table: str, folder: str | None, error: CorruptPartition) -> Path:
    moved_to = lake.quarantine(table, folder)
    _log.warning("%s; it was moved to %s, its rows are computed again", error.problem, moved_to)
    return moved_to


def _tell_of_schema(lake: Lake, table: str, folder: str | None) -> None:
    _log.warning("%s has another schema now, its rows are computed again", lake.data_file(table, folder))


def _with_later_columns(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows with the columns that came after they were stored, null in each."""
    lacking = [
        field for field in schema if field.name not in rows.column_names and LATER in (field.metadata or {})
    ]
    for field in lacking:
        rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    return rows.select(schema.names) if lacking and set(schema.names) <= set(rows.column_names) else rows
