"""What Dagster shows of an asset: column schemas and counts. Each entry of a folder is kept for good, once a table and
run: what is nothing, or said elsewhere, is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from resources.lake import UpdateStats
from resources.tables import Table, type_name
from resources.text import one_line

if TYPE_CHECKING:
    from resources.home import Home

OWNERS = ["team:vistag"]
ROW_COUNT = "dagster/partition_row_count"
"""Dagster's own name for the rows of one partition."""
PAGES = "/vistag"
"""Where the web server has the folder `reports` of the home."""


def column_schema(table: Table) -> dict[str, dg.TableSchema]:
    """Metadata that lists the columns of a table of the lake and what they mean."""
    columns = [
        dg.TableColumn(column.name, type_name(column.type), description=column.meaning)
        for column in table.columns
    ]
    return {"dagster/column_schema": dg.TableSchema(columns)}


def directory_of(home: Home, key: str) -> dict[str, dg.PathMetadataValue]:
    """Which directory a partition stands for; nothing for one that is no longer registered, whose rows are still good."""
    from resources.home import UnknownFolder

    try:
        folder = home.folder(key)
    except UnknownFolder:
        return {}
    return {"directory": dg.MetadataValue.path(one_line(folder.directory))}


def page_link(page: str) -> dict[str, dg.UrlMetadataValue]:
    """A link that opens a page of the folder `reports` of the home, where the web server is ours."""
    return {"page": dg.MetadataValue.url(f"{PAGES}/{page}")}


def row_count(rows: int) -> dict[str, int]:
    """The rows of one partition."""
    return {ROW_COUNT: rows}


def counted(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are not zero."""
    return {name: count for name, count in counts.items() if count}


def update_counts(stats: UpdateStats, rows: int) -> dict[str, int | dg.PathMetadataValue]:
    """What an update left in a partition: its rows, how many images were computed, and how many kept, resumed and
    dropped, where there were any.

    And where a damaged file went, if there was one.
    """
    counts = {name: count for name, count in asdict(stats).items() if name != "quarantined"}
    return row_count(rows) | counted(counts) | {"computed": stats.computed} | moved_away(stats.quarantined)


def moved_away(quarantined: Path | None) -> dict[str, dg.PathMetadataValue]:
    """Where the damaged file of a partition went, if it was damaged."""
    return {} if quarantined is None else {"quarantined": dg.MetadataValue.path(quarantined)}


def made_by(values: Mapping[str, Any]) -> dict[str, str]:
    """What decided about all rows of a run, in one entry: "tier cpu; model …; licence Apache-2.0"."""
    return {"made_by": "; ".join(f"{name} {value}" for name, value in values.items())}
