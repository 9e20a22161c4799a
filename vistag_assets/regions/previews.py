"""Pictures of regions for people: masks as a tint, boxes as a line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from resources.lake import Lake
from resources.models.segmenters.masks import Mask, box_slices, decode_rle

COLOURS = ((230, 60, 50), (40, 130, 230), (40, 170, 80), (240, 170, 20), (160, 80, 200), (20, 180, 190))
"""One a region, in turn."""
TINT = 0.5


def overlay(
    image: Image.Image, boxes_xywh: Sequence[Sequence[float]], masks: Sequence[Mask | None]
) -> Image.Image:
    """The image with each region in its colour: the mask as a tint where there is one, and the relative box."""
    pixels = np.asarray(image.convert("RGB")).copy()
    for place, mask in enumerate(masks):
        if mask is not None:
            colour = np.array(COLOURS[place % len(COLOURS)])
            pixels[mask] = (TINT * colour + (1 - TINT) * pixels[mask]).astype(np.uint8)
    drawn = Image.fromarray(pixels)
    pen = ImageDraw.Draw(drawn)
    line_px = max(1, round(max(image.size) / 150))
    for place, box in enumerate(boxes_xywh):
        rows, columns = box_slices(np.array(box), image.height, image.width)
        corners = (columns.start, rows.start, columns.stop - 1, rows.stop - 1)
        pen.rectangle(corners, outline=COLOURS[place % len(COLOURS)], width=line_px)
    return drawn


def region_overlay(lake: Lake, folder: str, image_id: str, image: Image.Image) -> Image.Image:
    """The overlay of an image's regions as they are in the lake; boxes alone where there are no masks."""
    regions = [row for row in lake.read("grounded_regions", folder).to_pylist() if row["id"] == image_id]
    stored = lake.read_or_none("region_masks", folder)
    masks = {
        row["region_id"]: decode_rle(row["counts"], row["height"], row["width"])
        for row in (stored.to_pylist() if stored is not None else [])
        if row["id"] == image_id
    }
    return overlay(image, [row["bbox"] for row in regions], [masks.get(row["region_id"]) for row in regions])
