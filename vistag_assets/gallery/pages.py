"""Writes the pages of the contact sheet, those that show something else than what is in the lake."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from resources.fingerprint import fingerprint
from resources.home import Home
from resources.images import open_proxy
from resources.images.scan import shown
from resources.lake.files import make_directory, path_below, replace_file
from resources.lake.rows_by_id import RowsById
from resources.lake.versions import glance
from resources.workspace import Workspace
from vistag_assets.gallery import Card, Page, cards_of, design, one_page, paginate, render_index, render_page
from vistag_assets.gallery.html import CARDS_A_PAGE, INDEX, Around, overlay_file, thumbnail_file
from vistag_assets.gallery.pictures import outline, overlay, thumbnail
from vistag_assets.progress import Meter

_GALLERY = "gallery"
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
    "familiarity",
    "flags",
)
_COLUMNS = {"images": ["id", "path"], "proxies": ["id", "path", "width", "height"]}
_LOCK = ".lock"
_MADE = ".made"
_JPEG_QUALITY = 82
_THREADS = 4


def gallery_page(home: Home) -> Path:
    """Where the gallery begins."""
    return home.reports_dir / _GALLERY / INDEX


@dataclass(frozen=True, slots=True)
class Sheet:
    """What making the contact sheet came to: pages in all, those written, images in all, those drawn."""

    pages: int
    written: int
    images: int
    drawn: int


@dataclass(frozen=True, slots=True)
class _Made:
    """What is remembered of a folder whose pages are there: `made_of` says what they show, `pictures` is theirs."""

    made_of: str
    pages: tuple[Page, ...]
    pictures: tuple[str, ...]


def make_contact_sheet(workspace: Workspace, meter: Meter) -> Sheet:
    """Write the pages and draw the pictures of what is new or has changed; those of what is gone go,
    folders that are marked as gone included.

    One page after another is in memory. A second call waits for the first, which would remove what it draws.
    """
    directory = gallery_page(workspace.home).parent
    with workspace.home.locks.held(directory / _LOCK):
        writer = _Writer(workspace, directory, meter)
        folders = [
            (key, _name(workspace.home, key), _count(workspace, key))
            for key in workspace.lake.folders("images")
            if not workspace.home.folder(key).gone_since
        ]
        if only := one_page(folders):
            sheet = writer.write_only(only, [key for key, _, _ in folders])
        else:
            sheet = writer.write_folders(folders)
        writer.remove_others()
    return sheet


class _Writer:
    """Writes into the directory of a gallery, and knows what is to stay there."""

    def __init__(self, workspace: Workspace, directory: Path, meter: Meter) -> None:
        self._written = self._drawn = 0
        self._workspace, self._directory, self._meter = workspace, directory, meter
        self._made_by, self._now = f"tier {workspace.tier.name}", datetime.now(UTC)
        self._there = {
            path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()
        }
        self._wanted = {_LOCK, INDEX}

    def write_only(self, page: Page, keys: Sequence[str]) -> Sheet:
        """The one page of a small gallery, anew each time."""
        _, pictures = self._write_page(
            page, [card for key in keys for card in _full_cards(self._workspace, key)]
        )
        self._wanted.update(pictures)
        return Sheet(1, self._written, page.images, self._drawn)

    def write_folders(self, folders: Sequence[tuple[str, str, int]]) -> Sheet:
        """The pages of each folder, those of unchanged ones as they are, and the index."""
        pages_of = {key: pages for key, name, images in folders if (pages := paginate(key, name, images))}
        keys = list(pages_of)
        told: list[Page] = []
        for before, key, after in zip([None, *keys], keys, [*keys[1:], None], strict=False):
            around = (pages_of[before][-1] if before else None, pages_of[after][0] if after else None)
            made = self._made(key, pages_of[key], around)
            told += made.pages
            self._wanted |= {_memory(key), *_own_files(made)}
        _write(self._directory / INDEX, render_index(told, self._made_by, self._now))
        return Sheet(len(told) + 1, self._written + 1, sum(page.images for page in told), self._drawn)

    def remove_others(self) -> None:
        for path in self._there - self._wanted:
            (self._directory / path).unlink(missing_ok=True)

    def _made(self, key: str, pages: Sequence[Page], around: Around) -> _Made:
        """The pages of a folder: those that are there where they show what is in the lake, else written now."""
        memory = self._directory / _memory(key)
        made_of = self._made_of(key, pages, around)
        known = _remembered(memory)
        if known and known.made_of == made_of and self._there.issuperset(_own_files(known)):
            return known
        full, told, pictures = _full_cards(self._workspace, key), list[Page](), list[str]()
        neighbours = [around[0], *pages, around[1]]
        for number, page in enumerate(pages):
            beside = (neighbours[number], neighbours[number + 2])
            written, drawn = self._write_page(page, list(islice(full, page.images)), beside)
            told.append(written)
            pictures += drawn
        made = _Made(made_of, tuple(told), tuple(pictures))
        _write(memory, json.dumps(asdict(made)))
        return made

    def _made_of(self, key: str, pages: Sequence[Page], around: Around) -> str:
        lake = self._workspace.lake
        tables = [table for table in TABLES if lake.exists(table, key)]
        return fingerprint(
            tables=tables,
            rows=glance([lake.data_file(table, key) for table in tables]),
            taxonomy=self._workspace.taxonomy.fingerprint,
            identity=self._workspace.taxonomy.identity,
            facets=repr(self._workspace.taxonomy.facets),
            pages=[(page.file, page.title, page.images) for page in pages],
            around=[page and (page.file, page.title) for page in around],
            made_by=self._made_by,
            design=design(),
        )

    def _write_page(
        self, page: Page, cards: Sequence[Card], around: Around | None = None
    ) -> tuple[Page, list[str]]:
        """Write a page, and draw what is missing of its pictures; returns what the index tells of it, and those."""
        self._draw(cards)
        told = page.told_of(cards)
        _write(self._directory / page.file, render_page(told, cards, self._made_by, self._now, around))
        self._written += 1
        return told, [path for card in cards for path in _files(card)]

    def _draw(self, cards: Sequence[Card]) -> None:
        missing = [card for card in cards if not self._there.issuperset(_files(card))]
        files = {path for card in missing for path in _files(card)}
        on_progress = self._meter.folder()
        for name in {Path(file).parent for file in files}:
            make_directory(self._directory / name)

        def draw(card: Card) -> None:
            picture = open_proxy(self._workspace.home.root, card.proxy)
            small = thumbnail(picture)
            with replace_file(path_below(self._directory, thumbnail_file(card))) as file:
                small.save(file, "JPEG", quality=_JPEG_QUALITY)
            if card.regions:
                with replace_file(path_below(self._directory, overlay_file(card))) as file:
                    overlay(picture, card.regions).save(file, "JPEG", quality=_JPEG_QUALITY)

        with ThreadPoolExecutor(_THREADS) as threads:
            for done, _ in enumerate(threads.map(draw, missing), start=1):
                on_progress(done, len(missing))
        self._there |= files
        self._drawn += len(missing)


def _memory(key: str) -> str:
    return f"{_MADE}/{key}.json"


def _remembered(memory: Path) -> _Made | None:
    """What the last writer of these pages left; None where that is not to be read, and they are written again."""
    try:
        made = json.loads(memory.read_bytes())
        pages = tuple(Page(**{**page, "covers": tuple(page["covers"])}) for page in made["pages"])
        return _Made(made["made_of"], pages, tuple(made["pictures"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _own_files(made: _Made) -> set[str]:
    return {*made.pictures, *(page.file for page in made.pages)}


def _count(workspace: Workspace, key: str) -> int:
    """How many images of a folder can be shown."""
    ids = [workspace.lake.read_or_none(table, key, ["id"]) for table in ("images", "proxies")]
    images, proxies = (set() if found is None else set(found["id"].to_pylist()) for found in ids)
    return len(images & proxies)


def _bare_cards(workspace: Workspace, key: str) -> list[Card]:
    """The images of a folder, and nothing of what was found in them."""
    tables = {table: workspace.lake.read_or_none(table, key, _COLUMNS[table]) for table in _COLUMNS}
    rows = {table: [] if found is None else found.to_pylist() for table, found in tables.items()}
    return cards_of(rows, workspace.taxonomy)


def _full_cards(workspace: Workspace, key: str) -> Iterator[Card]:
    """A card an image of a folder, with all that was found, a page at a time."""
    bare = _bare_cards(workspace, key)
    rows_of = {
        table: RowsById(found)
        for table in TABLES
        if table != "tag_scores" or not workspace.lake.exists("tags", key)
        if (found := workspace.lake.read_or_none(table, key, _COLUMNS.get(table))) is not None
    }
    for start in range(0, len(bare), CARDS_A_PAGE):
        batch = bare[start : start + CARDS_A_PAGE]
        ids = [card.id for card in batch]
        rows = {table: found.of(ids).to_pylist() for table, found in rows_of.items()}
        masks = {row["region_id"]: row for row in rows.get("region_masks", ())}
        full = {card.id: card for card in cards_of(rows, workspace.taxonomy)}
        yield from (with_outlines(full.get(card.id, card), masks) for card in batch)


def with_outlines(card: Card, masks: Mapping[str, Mapping[str, Any]]) -> Card:
    """The card with the outlines of its regions; `masks`: rows of `region_masks` by region."""
    regions = tuple(
        replace(region, outline=outline(mask["height"], mask["width"], mask["counts"]))
        if (mask := masks.get(region.region_id))
        else region
        for region in card.regions
    )
    return replace(card, regions=regions)


def _write(path: Path, text: str) -> None:
    with replace_file(path) as file:
        file.write(text.encode())


def _files(card: Card) -> list[str]:
    return [thumbnail_file(card), *([overlay_file(card)] if card.regions else [])]


def _name(home: Home, key: str) -> str:
    folder = home.folder(key)
    return shown(PurePosixPath(folder.library, folder.relative))
