"""The contact sheet of a home: everything that was found, as pages to look at."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
from PIL import Image

from resources.metadata import OWNERS, page_link
from resources.previews import Preview, preview, thumbnail
from resources.workspace import VistagResource
from vistag_assets.failures import told_first
from vistag_assets.gallery.pages import TABLES, gallery_page, make_contact_sheet
from vistag_assets.partitions import PREVIEWED_IMAGES
from vistag_assets.progress import Meter
from vistag_assets.regions.grounded_regions import PREVIEW_PX


@dg.asset(
    deps=[table for table in TABLES if table not in ("images", "proxies")],
    description="A gallery: each picture with its regions, tags, what stands behind them, and its texts.",
    group_name="gallery",
    kinds={"html"},
    owners=OWNERS,
    code_version="1",
)
@told_first()
def contact_sheet(vistag: VistagResource) -> dg.MaterializeResult[None]:
    workspace = vistag.open()
    sheet = make_contact_sheet(workspace, Meter("Contact sheet"))
    index = gallery_page(workspace.home)
    return dg.MaterializeResult(
        metadata={
            **_preview(index.parent).in_metadata(),
            **page_link("gallery/index.html"),
            "path": dg.MetadataValue.path(index),
            "pages": sheet.pages,
            "pages_written": sheet.written,
            "images": sheet.images,
            "pictures_drawn": sheet.drawn,
        }
    )


def _preview(gallery: Path) -> Preview:
    """Some pictures with their regions."""
    pictures = []
    for file in sorted((gallery / "overlays").glob("*.jpg"))[:PREVIEWED_IMAGES]:
        with Image.open(file) as picture:
            pictures.append(thumbnail(picture, PREVIEW_PX))
    return preview([f"{len(pictures)} of the pictures"], [(picture,) for picture in pictures])
