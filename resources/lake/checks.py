"""What checks ask of the tables of a lake: rows without a counterpart, and samples of rows. DuckDB does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb

from resources.lake.store import Lake


def count_lacking(
    sql: duckdb.DuckDBPyConnection,
    rows: str,
    counterparts: str,
    keys: str,
    parameters: Mapping[str, Any] | None = None,
) -> tuple[int, int]:
    """How many rows there are, and how many have no counterpart with the same `keys` (columns, comma between).

    `rows` and `counterparts` are tables or bracketed queries, with `parameters`. Only distinct keys of the
    counterparts are held: `in` with a pair of columns holds them all, 4 GiB for the tags of 100,000 images.
    """
    [(count, lacking)] = sql.execute(
        f"select count(*), count(*) filter (has_counterpart is null) from {rows} "
        f"left join (select distinct {keys}, true as has_counterpart from {counterparts}) using ({keys})",
        dict(parameters or {}),
    ).fetchall()
    return count, lacking


def sample_rows(lake: Lake, table: str, columns: str, size: int) -> list[tuple[Any, ...]]:
    """Some rows of all partitions, at most `size`; `columns` are SQL. None where there is no such table."""
    if not lake.folders(table):
        return []
    with lake.connect(skip_damaged=True) as sql:
        return sql.execute(f"select {columns} from (from {table} using sample {size} rows)").fetchall()
