"""Renders the pages of the gallery. Each is one HTML file with pictures as files beside it; no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment

from resources.fingerprint import fingerprint
from resources.web.templates import page_templates
from vistag_assets.gallery.cards import Card

CARDS_A_PAGE = 100
INDEX = "index.html"
COVERS = 6
TEXT_COLOUR = "#f0e442"
"""Of text that was read in a picture."""
WHITENED = 0.4

Around = tuple["Page | None", "Page | None"]
"""The pages before and after one."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some images of one folder, or of all of them where there are few.

    What the index tells of it beside their number is known when it was rendered: `to_review`, `heavy` and `flagged` are
    numbers of images, `covers` the thumbnails of its first ones.
    """

    file: str
    title: str
    images: int
    to_review: int = 0
    heavy: int = 0
    flagged: int = 0
    covers: tuple[str, ...] = ()

    def told_of(self, cards: Sequence[Card]) -> Page:
        """The page with what the index tells of it."""
        return replace(
            self,
            to_review=sum(card.to_review > 0 for card in cards),
            heavy=sum(card.lane == "heavy" for card in cards),
            flagged=sum(bool(card.flags) for card in cards),
            covers=tuple(map(thumbnail_file, cards[:COVERS])),
        )


def one_page(folders: Sequence[tuple[str, str, int]]) -> Page | None:
    """The page of everything, where it fits on one. `folders` are (key, name to show, number of images)."""
    images = sum(images for _, _, images in folders)
    if images > CARDS_A_PAGE:
        return None
    return Page(INDEX, ", ".join(name for _, name, images in folders if images) or "no images", images)


def paginate(key: str, name: str, images: int) -> list[Page]:
    """The pages of a folder, of at most CARDS_A_PAGE images each."""
    sizes = [min(CARDS_A_PAGE, images - start) for start in range(0, images, CARDS_A_PAGE)]
    if len(sizes) < 2:
        return [Page(f"{key}.html", name, size) for size in sizes]
    return [
        Page(f"{key}-{number}.html", f"{name}, {number} of {len(sizes)}", size)
        for number, size in enumerate(sizes, start=1)
    ]


def render_page(
    page: Page, cards: Sequence[Card], made_by: str, created_at: datetime, around: Around | None = None
) -> str:
    """A page, told of its cards; `around`, the pages before and after it, where it is one of several."""
    before, after = around or (None, None)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            cards=cards,
            before=before,
            after=after,
            index=INDEX if around else None,
            made_by=made_by,
            created_at=created_at,
        )
    )


def render_index(pages: Sequence[Page], made_by: str, created_at: datetime) -> str:
    """The page that leads to all others."""
    return (
        _environment()
        .get_template("index.html.j2")
        .render(pages=pages, made_by=made_by, created_at=created_at)
    )


def render_vocabulary(lines: Sequence[object], made_by: str, created_at: datetime) -> str:
    """The page of the vocabulary; `lines`: those of `vocabulary_page.tree`."""
    template = _environment().get_template("vocabulary.html.j2")
    return template.render(lines=lines, made_by=made_by, created_at=created_at)


@cache
def design() -> str:
    """What decides how a page looks, beside what it shows: other when this package is."""
    files = sorted(path for path in Path(__file__).parent.glob("[!.]*") if path.is_file())
    return fingerprint(files=[path.read_text(encoding="utf-8") for path in files])


def overlay_file(card: Card) -> str:
    """Where the picture with all its regions lies, relative to the pages; another name for other regions."""
    drawn = [(region.label, region.facet.colour, region.box, region.score) for region in card.regions]
    return f"overlays/{card.id}-{fingerprint(regions=repr(drawn))[:8]}.jpg"


def thumbnail_file(card: Card) -> str:
    return f"thumbnails/{card.id}.jpg"


def percent(share: float) -> str:
    """A share as it is shown: never 0 or 100 % where it is neither."""
    return f"{100 * share:.0f}\u00a0%" if 0.01 <= share <= 0.99 or share in (0, 1) else _extreme(share)


def _extreme(share: float) -> str:
    return "<1\u00a0%" if share < 0.5 else ">99\u00a0%"


def bright(colour: str) -> str:
    """A colour for lines with a dark edge over a picture: `#rrggbb` with some white in it."""
    channels = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(value + WHITENED * (255 - value)):02x}" for value in channels)


@cache
def _environment() -> Environment:
    environment = page_templates("vistag_assets.gallery")
    environment.globals.update(
        overlay_file=overlay_file,
        thumbnail_file=thumbnail_file,
        text_colour=TEXT_COLOUR,
    )
    environment.filters.update(bright=bright, percent=percent, words=lambda code: code.replace("_", " "))
    return environment
