"""What previews show of a table of regions: the first images that have rows, their regions drawn and told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow.compute as pc
from PIL import Image

from resources.models.segmenters.masks import Mask, decode_rle
from resources.previews import THUMBNAIL_PX, Preview, preview, thumbnail
from vistag_assets.folder_asset import Folder
from vistag_assets.partitions import PREVIEWED_IMAGES
from vistag_assets.regions.overlay import draw_regions, marked_regions

DRAWN_PX = 4 * THUMBNAIL_PX
"""The longer side at which regions are drawn: nothing more of them is left in a thumbnail."""


def preview_regions(table: str, told: Callable[[Mapping[str, Any]], str]) -> Callable[[Folder], Preview]:
    """A preview of `table`; `told`: what it says of a row, after the phrase of its region."""

    def shown(folder: Folder) -> Preview:
        ids = pc.unique(folder.lake.read(table, folder.key, ["id"])["id"]).to_pylist()[:PREVIEWED_IMAGES]
        regions = folder.rows_of("grounded_regions", ids)
        open_image = folder.opener()
        pictures = {id_: _small(open_image(id_)) for id_ in ids}
        masks = {
            row["region_id"]: _shrunk(
                decode_rle(row["counts"], row["height"], row["width"]), pictures[row["id"]].size
            )
            for row in folder.rows_of("region_masks", ids)
        }
        marked = marked_regions(regions, folder.workspace.taxonomy, masks)
        phrases = {row["region_id"]: row["phrase"] for row in regions}
        lines: dict[str, list[str]] = {id_: [] for id_ in ids}
        for row in folder.rows_of(table, ids):
            lines[row["id"]].append(f"{phrases.get(row['region_id'], row['region_id'])} {told(row)}".rstrip())
        rows = [
            (thumbnail(draw_regions(pictures[id_], marked.get(id_, []))), ", ".join(lines[id_]))
            for id_ in ids
        ]
        return preview(["image", "regions"], rows)

    return shown


def _small(image: Image.Image) -> Image.Image:
    image.thumbnail((DRAWN_PX, DRAWN_PX), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return image


def _shrunk(mask: Mask, size: tuple[int, int]) -> Mask:
    """The mask at the size (width, height) of a smaller picture, by its nearest pixels."""
    rows, columns = (np.arange(n) * of // n for n, of in zip(size[::-1], mask.shape, strict=True))
    return mask[np.ix_(rows, columns)]
