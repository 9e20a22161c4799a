"""Rows of one table that lack their counterpart in another, counted by DuckDB."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb


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
