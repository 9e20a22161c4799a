"""The contact sheet of a home: everything that was found, as pages to look at."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import dagster as dg

from resources.home import Home
from resources.images import open_proxy
from resources.images.scan import shown
from resources.lake.files import make_directory, path_below, replace_file
from resources.metadata import OWNERS
from resources.workbench import VistagResource, Workbench
from vistag_assets.gallery import Card, cards_of, paginate, render_index, render_page
from vistag_assets.gallery.html import INDEX, overlay_file, thumbnail_file
from vistag_assets.gallery.pictures import outline, overlay, thumbnail
from vistag_assets.progress import Meter

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
            "gallery": dg.MetadataValue.url(index.as_uri()),
            "path": dg.MetadataValue.path(index),
            "pages": pages,
            "images": images,
            "pictures_drawn": drawn,
        }
    )


def gallery_page(home: Home) -> Path:
    """Where the gallery begins."""
    return home.reports_dir / GALLERY / INDEX


def make_contact_sheet(bench: Workbench, meter: Meter) -> tuple[int, int, int]:
    """Write the pages and the pictures that are not there yet; returns numbers of pages, images, pictures.

    A picture is drawn again only where its regions changed; pages and pictures of what is gone go.
    """
    home = bench.home
    folders = [(key, _name(home, key), _cards(bench, key)) for key in bench.lake.folders("images")]
    pages = paginate(folders)
    directory = gallery_page(home).parent
    cards = [card for page in pages for card in page.cards]
    drawn = _draw(home, directory, cards, meter)

    made_by, now = f"tier {bench.tier.name}", datetime.now(UTC)
    texts = {page.file: render_page(page, pages, made_by, now) for page in pages}
    if len(pages) > 1:
        texts[INDEX] = render_index(pages, made_by, now)
    for name, text in texts.items():
        with replace_file(directory / name) as file:
            file.write(text.encode())
    _remove_others(directory, {*texts, *(path for card in cards for path in _files(card))})
    return len(texts), len(cards), drawn


def _cards(bench: Workbench, key: str) -> list[Card]:
    rows = {
        table: found.to_pylist()
        for table in TABLES
        if table != "tag_scores" or not bench.lake.exists("tags", key)
        if (found := bench.lake.read_or_none(table, key)) is not None
    }
    masks = {row["region_id"]: row for row in rows.get("region_masks", ())}

    def with_outlines(card: Card) -> Card:
        regions = tuple(
            dataclasses.replace(region, outline=outline(mask["height"], mask["width"], mask["counts"]))
            if (mask := masks.get(region.region_id))
            else region
            for region in card.regions
        )
        return dataclasses.replace(card, regions=regions)

    return [with_outlines(card) for card in cards_of(rows, bench.taxonomy)]


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
