"""Renders the pages of the gallery. Each is one HTML file with pictures as files beside it; no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from resources.fingerprint import fingerprint
from vistag_assets.gallery.cards import Card

CARDS_A_PAGE = 100
INDEX = "index.html"
COVERS = 6
# Bright, for lines with a dark edge over a picture; Okabe and Ito's, which the colour-blind can tell apart.
FACET_COLOURS = {
    "object": "#56b4e9",
    "material": "#e69f00",
    "technique": "#2fd3a0",
    "condition": "#f08bc4",
    "text": "#f0e442",
}
OTHER_COLOUR = "#d0d0d0"


@dataclass(frozen=True, slots=True)
class Page:
    """Some images of one folder, or of all of them where there are few."""

    file: str
    title: str
    cards: tuple[Card, ...]

    @property
    def to_review(self) -> int:
        return sum(card.to_review > 0 for card in self.cards)

    @property
    def heavy(self) -> int:
        return sum(card.lane == "heavy" for card in self.cards)


def paginate(folders: Sequence[tuple[str, str, Sequence[Card]]]) -> list[Page]:
    """Pages of at most CARDS_A_PAGE images: one page where everything fits on it, else pages a folder.

    `folders` are (key, name to show, cards); folders without cards have no page.
    """
    filled = [(key, name, tuple(cards)) for key, name, cards in folders if cards]
    if sum(len(cards) for _, _, cards in filled) <= CARDS_A_PAGE:
        cards = tuple(card for _, _, found in filled for card in found)
        return [Page(INDEX, ", ".join(name for _, name, _ in filled) or "no images", cards)]
    pages = []
    for key, name, cards in filled:
        chunks = [cards[start : start + CARDS_A_PAGE] for start in range(0, len(cards), CARDS_A_PAGE)]
        for number, chunk in enumerate(chunks, start=1):
            several = len(chunks) > 1
            title = f"{name}, {number} of {len(chunks)}" if several else name
            pages.append(Page(f"{key}-{number}.html" if several else f"{key}.html", title, chunk))
    return pages


def render_page(page: Page, pages: Sequence[Page], made_by: str, created_at: datetime) -> str:
    """One page of cards, with links to the page before and after it."""
    place = [other.file for other in pages].index(page.file)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            before=pages[place - 1] if place else None,
            after=pages[place + 1] if place + 1 < len(pages) else None,
            index=INDEX if len(pages) > 1 else None,
            made_by=made_by,
            created_at=created_at,
        )
    )


def render_index(pages: Sequence[Page], made_by: str, created_at: datetime) -> str:
    """The page that leads to all others."""
    return (
        _environment()
        .get_template("index.html.j2")
        .render(pages=pages, covers=COVERS, made_by=made_by, created_at=created_at)
    )


def overlay_file(card: Card) -> str:
    """Where the picture with all its regions lies, relative to the pages; another name for other regions."""
    drawn = [(region.label, region.facet, region.box, region.score) for region in card.regions]
    return f"overlays/{card.id}-{fingerprint(regions=repr(drawn))[:8]}.jpg"


def thumbnail_file(card: Card) -> str:
    return f"thumbnails/{card.id}.jpg"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\u00a0%" if 0.01 <= share <= 0.99 or share in (0, 1) else _extreme(share)


def _extreme(share: float) -> str:
    return "<1\u00a0%" if share < 0.5 else ">99\u00a0%"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("vistag_assets.gallery", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        overlay_file=overlay_file,
        thumbnail_file=thumbnail_file,
        facet_colour=lambda facet: FACET_COLOURS.get(facet, OTHER_COLOUR),
    )
    environment.filters.update(percent=_percent, words=lambda code: code.replace("_", " "))
    return environment
