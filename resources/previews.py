"""Previews: some rows of a table with pictures, to look at. Those of a folder are pages of the home, which Dagster's
metadata links to; those of a whole lake stand in the metadata as Markdown.

A folder's are replaced at each run. In the metadata they would be kept for good, twice on SQLite, once a table and run.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

import dagster as dg
from PIL import Image

from resources.lake.files import replace_file
from resources.markdown import markdown_table, plain_text
from resources.metadata import page_link
from resources.object_store import Location
from resources.tables import PER_FOLDER_TABLES
from resources.text import printable
from resources.web.templates import page_templates

if TYPE_CHECKING:
    from resources.home import Home

FOLDER = "previews"
"""Of the pages, in the folder `reports` of the home."""
THUMBNAIL_PX = 96
PREVIEW_BYTES = 48 * 1024
CELL_CHARACTERS = 400


class Picture(str):
    """A small picture as a data URI: a cell of a preview. Other cells are words."""


@dataclass(frozen=True, slots=True)
class Preview:
    """A table to look at; without rows it is none, and false."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """Cells: a `Picture`, or words that are printable and not too long"""

    def __bool__(self) -> bool:
        return bool(self.rows)

    def in_metadata(self) -> dict[str, dg.MarkdownMetadataValue]:
        """The entry `preview`, where there is anything to see: for assets that are not made a folder at a time."""
        lines = [[_in_markdown(cell) for cell in row] for row in self.rows]
        return {"preview": dg.MetadataValue.md(markdown_table(self.titles, lines))} if self else {}


NOTHING = Preview((), ())


def preview(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> Preview:
    """Long cells are cut, and rows left out that would make it larger than PREVIEW_BYTES."""
    kept: list[tuple[str, ...]] = []
    room = PREVIEW_BYTES
    for row in rows:
        cells = tuple(map(_cell, row))
        room -= sum(len(cell.encode()) for cell in cells)
        if room < 0:
            break
        kept.append(cells)
    return Preview(tuple(titles), tuple(kept))


def thumbnail(image: Image.Image, side_px: int = THUMBNAIL_PX) -> Picture:
    """A small JPEG; `side_px`: its longer side."""
    small = image.copy()
    small.thumbnail((side_px, side_px))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=70)
    return Picture(f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}")


def preview_page(home: Home, table: str, key: str) -> Location:
    """Where the page of a folder's table lies, if it has one: in the home, or on the store that its lake lies on."""
    return (home.shared or home.reports_dir) / FOLDER / table / f"{key}.html"


def show(home: Home, table: str, key: str, shown: Preview, run_id: str) -> dict[str, dg.UrlMetadataValue]:
    """Write the page of a folder's table, in the place of the one before; returns the entry that links to it. Nothing to
    see: the page goes, and there is no entry.
    """
    page = preview_page(home, table, key)
    if not shown:
        page.unlink(missing_ok=True)
        return {}
    environment = page_templates("resources", "web")
    environment.tests["picture"] = lambda cell: isinstance(cell, Picture)
    told = environment.get_template("preview.html.j2").render(
        table=table, key=key, run=run_id, titles=shown.titles, rows=shown.rows
    )
    with replace_file(page) as file:
        file.write(told.encode())
    return {"preview": page_link(f"{FOLDER}/{table}/{quote(page.name)}")["page"]}


def forget_previews(home: Home, key: str) -> None:
    """Remove the pages of all tables of a folder."""
    for table in PER_FOLDER_TABLES:
        preview_page(home, table, key).unlink(missing_ok=True)


def _cell(value: object) -> str:
    if isinstance(value, Picture):
        return value
    text = printable(str(value))
    return text if len(text) <= CELL_CHARACTERS else text[: CELL_CHARACTERS - 1] + "…"


def _in_markdown(cell: str) -> str:
    return f"![]({cell})" if isinstance(cell, Picture) else plain_text(cell)
