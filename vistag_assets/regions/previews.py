"""What previews show of a table of regions: the first images that have rows, their regions drawn and told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow.compute as pc

from resources.metadata import Preview, preview, thumbnail
from resources.models.segmenters.masks import decode_rle
from vistag_assets.folder_asset import Folder
from vistag_assets.partitions import PREVIEWED_IMAGES
from vistag_assets.regions.overlay import draw_regions, marked_regions


def preview_regions(table: str, told: Callable[[Mapping[str, Any]], str]) -> Callable[[Folder], Preview]:
    """A preview of `table`; `told`: what it says of a row, after the phrase of its region."""

    def shown(folder: Folder) -> Preview:
        ids = pc.unique(folder.lake.read(table, folder.key, ["id"])["id"]).to_pylist()[:PREVIEWED_IMAGES]
        regions = folder.rows_of("grounded_regions", ids)
        masks = {
            row["region_id"]: decode_rle(row["counts"], row["height"], row["width"])
            for row in folder.rows_of("region_masks", ids)
        }
        marked = marked_regions(regions, folder.workspace.taxonomy, masks)
        phrases = {row["region_id"]: row["phrase"] for row in regions}
        lines: dict[str, list[str]] = {id_: [] for id_ in ids}
        for row in folder.rows_of(table, ids):
            lines[row["id"]].append(f"{phrases.get(row['region_id'], row['region_id'])} {told(row)}".rstrip())
        open_image = folder.opener()
        rows = [
            (thumbnail(draw_regions(open_image(id_), marked.get(id_, []))), ", ".join(lines[id_]))
            for id_ in ids
        ]
        return preview(["image", "regions"], rows)

    return shown
