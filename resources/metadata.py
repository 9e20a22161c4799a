"""What Dagster shows of an asset: column schemas, counts, and previews in Markdown."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from PIL import Image

from resources.lake import UpdateStats
from resources.markdown import markdown_table, plain_text
from resources.tables import Table, type_name
from resources.text import one_line

if TYPE_CHECKING:
    from resources.home import Home

OWNERS = ["team:vistag"]
THUMBNAIL_PX = 96
PREVIEW_BYTES = 48 * 1024
CELL_CHARACTERS = 400
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
    """The rows of one partition, as Dagster's own figure and by their plain name."""
    return {"dagster/partition_row_count": rows, "rows": rows}


def update_counts(stats: UpdateStats, rows: int) -> dict[str, int | dg.PathMetadataValue]:
    """What an update left in a partition: its `rows`, and how many images were kept, computed, resumed, dropped.

    And where a damaged file went, if there was one.
    """
    counts = {name: count for name, count in asdict(stats).items() if name != "quarantined"}
    return row_count(rows) | counts | moved_away(stats.quarantined)


def moved_away(quarantined: Path | None) -> dict[str, dg.PathMetadataValue]:
    """Where the damaged file of a partition went, if it was damaged."""
    return {} if quarantined is None else {"quarantined": dg.MetadataValue.path(quarantined)}


Preview = dict[str, dg.MarkdownMetadataValue]
"""What a preview adds to the metadata of a partition: an entry, or none."""


class Markdown(str):
    """Text that is Markdown already; other cells of a preview are escaped."""


def thumbnail(image: Image.Image, side_px: int = THUMBNAIL_PX) -> Markdown:
    """A small picture with its data in it; Dagster's UI shows those."""
    return Markdown(f"![]({thumbnail_uri(image, side_px)})")


def thumbnail_uri(image: Image.Image, side_px: int = THUMBNAIL_PX) -> str:
    """A small JPEG as a data URI; `side_px`: its longer side."""
    small = image.copy()
    small.thumbnail((side_px, side_px))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=70)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def preview(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> Preview:
    """The entry `preview`: a table to look at, none without rows. Long cells are cut, and rows left out that would
    make it larger than PREVIEW_BYTES: Dagster keeps it in its event log for good.
    """
    kept: list[list[str]] = []
    room = PREVIEW_BYTES
    for row in rows:
        cells = [_cell(value) for value in row]
        room -= sum(len(cell.encode()) for cell in cells)
        if room < 0:
            break
        kept.append(cells)
    return {"preview": dg.MetadataValue.md(markdown_table(titles, kept))} if kept else {}


def _cell(value: object) -> str:
    if isinstance(value, Markdown):
        return value
    text = str(value)
    return plain_text(text if len(text) <= CELL_CHARACTERS else text[: CELL_CHARACTERS - 1] + "…")
