"""Which rows a stage wants: those of its source, each by a fingerprint of what else decides it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from resources.fingerprint import fingerprint
from resources.lake import empty_ids


def derived(rows: pa.Table, **by: str | int | float | bool) -> pa.Table:
    """(id, fingerprint) of rows that are computed from these rows, by what else decides them."""
    by_source = {
        source: fingerprint(source=source, **by) for source in pc.unique(rows["fingerprint"]).to_pylist()
    }
    fingerprints = [by_source[source] for source in rows["fingerprint"].to_pylist()]
    return pa.table({"id": rows["id"], "fingerprint": pa.array(fingerprints, pa.string())})


def by_id(fingerprints: Mapping[str, str]) -> pa.Table:
    """(id, fingerprint) of a mapping."""
    ids, of = list(fingerprints), list(fingerprints.values())
    return pa.table({"id": pa.array(ids, pa.string()), "fingerprint": pa.array(of, pa.string())})


def answered(rows: pa.Table) -> pa.Table:
    """(id, fingerprint) of every id that a table of many rows an id has looked at, also of those without rows.

    `rows` is as read from the lake; a filter or a join loses what it says about ids without rows.
    """
    of = column_by_id(rows, "fingerprint") | empty_ids(rows)
    return by_id({id_: of[id_] for id_ in sorted(of)})


def joined(*sources: pa.Table) -> pa.Table:
    """(id, fingerprint) of the ids that every source has, by the fingerprints of all of them.

    Each source has the columns id and fingerprint; of one with many rows an id, pass what `answered` says.
    """
    known: list[dict[str, str]] = [column_by_id(source, "fingerprint") for source in sources]
    ids = [id_ for id_ in known[0] if all(id_ in source for source in known)]
    return by_id({id_: fingerprint(sources=[source[id_] for source in known]) for id_ in ids})


def gathered(rows: pa.Table, sources: Sequence[pa.Table], **by: object) -> pa.Table:
    """(id, fingerprint) of every row, by the fingerprints of all sources; a source may lack an id.

    For a stage that takes what there is. `by`: JSON values that decide besides.
    """
    known = [column_by_id(source, "fingerprint") for source in sources]
    return by_id(
        {id_: fingerprint(sources=[of.get(id_) for of in known], **by) for id_ in rows["id"].to_pylist()}
    )


def of_ids(rows: pa.Table, ids: Sequence[str]) -> pa.Table:
    """The rows of some ids, in the order of the table. For many batches of one table: `RowsById`."""
    return rows.filter(pc.is_in(rows["id"], value_set=pa.array(ids, pa.string())))


def column_by_id(rows: pa.Table, column: str) -> dict[str, Any]:
    return dict(zip(rows["id"].to_pylist(), rows[column].to_pylist(), strict=True))


def pixel_hashes(images: pa.Table) -> dict[str, str | None]:
    """Content id -> pixel hash, of rows of `images`; those of an older home have none."""
    if "pixel_hash" not in images.column_names:
        return dict.fromkeys(images["id"].to_pylist())
    return column_by_id(images, "pixel_hash")


def rows_by_id(rows: pa.Table) -> dict[str, list[dict[str, Any]]]:
    """The rows of each id, in the order of the table; ids without rows are none of its keys."""
    of: dict[str, list[dict[str, Any]]] = {}
    for row in rows.to_pylist():
        of.setdefault(row["id"], []).append(row)
    return of
