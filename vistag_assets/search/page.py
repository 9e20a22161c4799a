"""What was found as a page to look at: one file, with its pictures in it; no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from resources.home import Home
from resources.images import open_proxy
from resources.lake.files import replace_file
from resources.previews import thumbnail
from resources.text import one_line
from resources.web.templates import page_templates
from resources.workspace import Workspace
from vistag_assets.regions.crops import square_crop
from vistag_assets.search.query import Box, Hit, Query

PICTURE_PX = 360
EXAMPLE_PX = 160


def search_page(home: Home) -> Path:
    """Where the page of the last search lies."""
    return home.reports_dir / "search" / "index.html"


@dataclass(frozen=True, slots=True)
class _Shown:
    """A hit as the page shows it."""

    name: str
    picture: str
    """data URI"""
    width: int
    height: int
    score: float
    box: Box | None
    region_id: str | None


def write_page(workspace: Workspace, query: Query, hits: Sequence[Hit]) -> Path:
    """Write the page of a search; returns where."""
    page = search_page(workspace.home)
    text = render(workspace, query, hits)
    with replace_file(page) as file:
        file.write(text.encode())
    return page


def render(workspace: Workspace, query: Query, hits: Sequence[Hit]) -> str:
    environment = page_templates("vistag_assets.search")
    shown = [_shown(workspace.home.root, hit) for hit in hits]
    return environment.get_template("page.html.j2").render(
        asked=_asked(query), example=_example(query), hits=shown, tier=workspace.tier.name
    )


def _asked(query: Query) -> str:
    """The query in words."""
    parts = [
        query.text,
        f"like {query.like}" if query.like else "",
        "like this picture" if query.image and not query.box else "",
        "like this part of a picture" if query.box else "",
        *(f"without {words}" for words in query.without),
        *(f"tagged {tag}" for tag in query.tags),
        *(f"not tagged {tag}" for tag in query.not_tags),
        *(f"flagged {rule}" for rule in query.flags),
        *(f"not flagged {rule}" for rule in query.not_flags),
        query.state or "",
        f"since {query.since}" if query.since else "",
    ]
    return one_line(", ".join(part for part in parts if part))


def _example(query: Query) -> str | None:
    """The picture that was given, or the part of it."""
    if query.image is None:
        return None
    part: Image.Image = square_crop(query.image, query.box) if query.box else query.image  # type: ignore[arg-type]
    return thumbnail(part, EXAMPLE_PX)


def _shown(root: Path, hit: Hit) -> _Shown:
    picture = open_proxy(root, hit.proxy)
    picture_uri = thumbnail(picture, PICTURE_PX)
    return _Shown(
        one_line(hit.path), picture_uri, picture.width, picture.height, hit.score, hit.box, hit.region_id
    )
