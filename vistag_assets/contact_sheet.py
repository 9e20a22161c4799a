"""The contact sheet of a home: everything that was found, as pages to look at."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import dagster as dg
from PIL import Image

from resources.home import Home
from resources.images import open_proxy
from resources.images.scan import shown
from resources.lake.files import locked, make_directory, path_below, replace_file
from resources.lake.rows_by_id import RowsById
from resources.metadata import OWNERS, Preview, preview
from resources.metadata import thumbnail as shown_thumbnail
from resources.workbench import VistagResource, Workbench
from vistag_assets.gallery import Card, cards_of, paginate, render_index, render_page
from vistag_assets.gallery.html import CARDS_A_PAGE, INDEX, overlay_file, thumbnail_file
from vistag_assets.gallery.pictures import outline, overlay, thumbnail
from vistag_assets.partitions import PREVIEWED_IMAGES
from vistag_assets.progress import Meter
from vistag_assets.regions import PREVIEW_PX

GALLERY = "gallery"
TABLES = (
    "images",
    "proxies",
    "tags",
    "tag_scores",
    "grounded_regions",
    "region_masks",
    "region_matches",
    "region_captions",
    "captions",
    "descriptions",
    "ocr_text",
    "routing",
)
_COLUMNS = {"images": ["id", "path"], "proxies": ["id", "path", "width", "height"]}
_LOCK = ".lock"
_JPEG_QUALITY = 82
_THREADS = 4


@dg.asset(
    deps=[table for table in TABLES if table not in ("images", "proxies")],
    description="A gallery: each picture with its regions, tags, what stands behind them, and its texts.",
    group_name="gallery",
    kinds={"html"},
    owners=OWNERS,
    code_version="1",
)
def contact_sheet(vistag: VistagResource) -> dg.MaterializeResult[None]:
    bench = vistag.open()
    pages, images, drawn = make_contact_sheet(bench, Meter("Contact sheet"))
    index = gallery_page(bench.home)
    return dg.MaterializeResult(
        metadata={
            **_preview(index.parent),
            "path": dg.MetadataValue.path(index),
            "pages": pages,
            "images": images,
            "pictures_drawn": drawn,
        }
    )


def _preview(gallery: Path) -> Preview:
    """Some pictures with their regions."""
    pictures = []
    for file in sorted((gallery / "overlays").glob("*.jpg"))[:PREVIEWED_IMAGES]:
        with Image.open(file) as picture:
            pictures.append(shown_thumbnail(picture, PREVIEW_PX))
    return preview([f"{len(pictures)} of the pictures"], [(picture,) for picture in pictures])


def gallery_page(home: Home) -> Path:
    """Where the gallery begins."""
    return home.reports_dir / GALLERY / INDEX


def make_contact_sheet(bench: Workbench, meter: Meter) -> tuple[int, int, int]:
    """Write the pages and the pictures that are not there yet; returns numbers of pages, images, pictures.

    A picture is drawn again only where its regions changed; pages and pictures of what is gone go. One page
    after another is in memory. A second call waits for the first, which would remove what it draws.
    """
    home = bench.home
    directory = gallery_page(home).parent
    with locked(directory / _LOCK):
        folders = [(key, _name(home, key), _bare_cards(bench, key)) for key in bench.lake.folders("images")]
        pages = paginate(folders)
        full = (card for key, _, cards in folders for card in _full_cards(bench, key, cards))
        made_by, now = f"tier {bench.tier.name}", datetime.now(UTC)
        wanted, drawn, told = {_LOCK, INDEX}, 0, []
        for page in pages:
            shown = dataclasses.replace(page, cards=tuple(islice(full, len(page.cards))))
            drawn += _draw(home, directory, shown.cards, meter)
            _write(directory / page.file, render_page(shown, pages, made_by, now))
            wanted |= {page.file, *(path for card in shown.cards for path in _files(card))}
            told.append(dataclasses.replace(page, cards=tuple(map(_for_index, shown.cards))))
        if len(pages) > 1:
            _write(directory / INDEX, render_index(told, made_by, now))
        _remove_others(directory, wanted)
    return len(pages) + (len(pages) > 1), sum(len(page.cards) for page in pages), drawn


def _bare_cards(bench: Workbench, key: str) -> list[Card]:
    """The images of a folder, and nothing of what was found in them."""
    tables = {table: bench.lake.read_or_none(table, key, _COLUMNS[table]) for table in _COLUMNS}
    rows = {table: [] if found is None else found.to_pylist() for table, found in tables.items()}
    return cards_of(rows, bench.taxonomy)


def _full_cards(bench: Workbench, key: str, bare: Sequence[Card]) -> Iterator[Card]:
    """Each of the cards with all that was found, in their order."""
    rows_of = {
        table: RowsById(found)
        for table in TABLES
        if table != "tag_scores" or not bench.lake.exists("tags", key)
        if (found := bench.lake.read_or_none(table, key, _COLUMNS.get(table))) is not None
    }
    for start in range(0, len(bare), CARDS_A_PAGE):
        batch = bare[start : start + CARDS_A_PAGE]
        ids = [card.id for card in batch]
        rows = {table: found.of(ids).to_pylist() for table, found in rows_of.items()}
        masks = {row["region_id"]: row for row in rows.get("region_masks", ())}
        full = {card.id: card for card in cards_of(rows, bench.taxonomy)}
        yield from (_with_outlines(full.get(card.id, card), masks) for card in batch)


def _with_outlines(card: Card, masks: Mapping[str, Mapping[str, Any]]) -> Card:
    regions = tuple(
        dataclasses.replace(region, outline=outline(mask["height"], mask["width"], mask["counts"]))
        if (mask := masks.get(region.region_id))
        else region
        for region in card.regions
    )
    return dataclasses.replace(card, regions=regions)


def _for_index(card: Card) -> Card:
    """What the index asks of a card: its picture, its lane, and whether there is something to review."""
    to_review = tuple(tag for tag in card.tags if tag.needs_review)
    bare = Card(card.id, card.path, card.proxy, card.width, card.height)
    return dataclasses.replace(bare, lane=card.lane, tags=to_review[:1])


def _write(path: Path, text: str) -> None:
    with replace_file(path) as file:
        file.write(text.encode())


def _draw(home: Home, directory: Path, cards: Sequence[Card], meter: Meter) -> int:
    """Draw the pictures that are missing; returns how many images that were."""
    missing = [card for card in cards if not all((directory / name).exists() for name in _files(card))]
    on_progress = meter.folder()
    for name in {Path(name).parent for card in missing for name in _files(card)}:
        make_directory(directory / name)

    def draw(card: Card) -> None:
        picture = open_proxy(home.root, card.proxy)
        small = thumbnail(picture)
        with replace_file(path_below(directory, thumbnail_file(card))) as file:
            small.save(file, "JPEG", quality=_JPEG_QUALITY)
        if card.regions:
            with replace_file(path_below(directory, overlay_file(card))) as file:
                overlay(picture, card.regions).save(file, "JPEG", quality=_JPEG_QUALITY)

    with ThreadPoolExecutor(_THREADS) as threads:
        for done, _ in enumerate(threads.map(draw, missing), start=1):
            on_progress(done, len(missing))
    return len(missing)


def _files(card: Card) -> list[str]:
    return [thumbnail_file(card), *([overlay_file(card)] if card.regions else [])]


def _remove_others(directory: Path, wanted: set[str]) -> None:
    for path in directory.rglob("*"):
        if path.is_file() and path.relative_to(directory).as_posix() not in wanted:
            path.unlink()


def _name(home: Home, key: str) -> str:
    folder = home.folder(key)
    return shown(PurePosixPath(folder.library, folder.relative))
