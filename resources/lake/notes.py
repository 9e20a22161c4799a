"""What a stored partition or a batch says of ids without rows: notes in the metadata of its Parquet file."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pyarrow as pa

from resources.lake.ranges import EVERY_ID, Ids

NOTE_PREFIX = b"vistag:"
"""Begins the names of the notes in the metadata of a file; each note is JSON."""
_WITHOUT_ROWS = NOTE_PREFIX + b"without_rows"
_FAILED = NOTE_PREFIX + b"failed"


def with_empty_ids(rows: pa.Table, empty: Mapping[str, str]) -> pa.Table:
    """`rows` that also say for which ids (id -> fingerprint) there was looked and nothing found.

    Otherwise an image without a region would be looked at again in every run. They lie in the metadata of the
    Parquet file, so that a reader of the table sees rows and nothing else.
    """
    return _with_note(rows, _WITHOUT_ROWS, empty)


def empty_ids(rows: pa.Table) -> dict[str, str]:
    """The ids (id -> fingerprint) of which a stored partition or a batch says that they have no rows."""
    return _note(rows, _WITHOUT_ROWS)


def with_failed_ids(rows: pa.Table, failed: Mapping[str, str]) -> pa.Table:
    """`rows` that also say which ids (id -> reason) could not be computed; the next update computes them again.

    It lies where `with_empty_ids` puts its own.
    """
    return _with_note(rows, _FAILED, failed)


def noted(schema: pa.Schema, empty: Mapping[str, str], failed: Mapping[str, str]) -> pa.Schema:
    """The schema of a partition that says of its ids what `with_empty_ids` and `with_failed_ids` say, and nothing else."""
    rows = schema.empty_table().replace_schema_metadata(None)
    return with_failed_ids(with_empty_ids(rows, empty), failed).schema


def failed_ids(rows: pa.Table) -> dict[str, str]:
    """The ids (id -> reason) that the last update of a stored partition, or a batch, could not compute."""
    return _note(rows, _FAILED)


def notes_in(metadata: Mapping[bytes, bytes] | None, ids: Ids) -> dict[bytes, bytes] | None:
    """The metadata of a file with what its notes say of these ids. Raises ValueError where a note is no JSON."""
    found = dict(metadata or {})
    for name in [name for name in found if name.startswith(NOTE_PREFIX)]:
        note = json.loads(found[name])
        if ids != EVERY_ID and name in (_WITHOUT_ROWS, _FAILED):
            own = {id_: said for id_, said in note.items() if id_ in ids}
            found[name] = json.dumps(own, sort_keys=True).encode()
    return found or None


def _with_note(rows: pa.Table, name: bytes, by_id: Mapping[str, str]) -> pa.Table:
    note = {name: json.dumps(dict(by_id), sort_keys=True)} if by_id else {}
    others = {key: value for key, value in (rows.schema.metadata or {}).items() if key != name}
    return rows.replace_schema_metadata({**others, **note})


def _note(rows: pa.Table, name: bytes) -> dict[str, str]:
    by_id: dict[str, str] = json.loads((rows.schema.metadata or {}).get(name, b"{}"))
    return by_id
