"""The pictures of the gallery: thumbnails, pictures with their regions drawn in, outlines of masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from vistag_assets.gallery.cards import Region
from vistag_assets.regions.overlay import Marked, draw_regions

THUMBNAIL_PX = 560
# in units of the mask's pixels: an outline need not follow every step of it
_OUTLINE_TOLERANCE_PX = 1.5


def thumbnail(image: Image.Image) -> Image.Image:
    small = image.copy()
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    return small


def overlay(image: Image.Image, regions: Sequence[Region]) -> Image.Image:
    """The picture with all its regions drawn in."""
    return draw_regions(
        image, [Marked(region.box, region.label, region.score, region.facet.colour) for region in regions]
    )


def outline(height: int, width: int, counts: str) -> str:
    """The data of an SVG path around a mask (COCO compressed RLE), relative to the picture, 0..1."""
    import cv2
    from pycocotools import mask as coco

    mask = coco.decode({"size": [height, width], "counts": counts})
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    parts = []
    for contour in contours:
        points = cv2.approxPolyDP(contour, _OUTLINE_TOLERANCE_PX, closed=True)[:, 0, :]
        if len(points) > 2:
            # the contour runs through the centres of pixels
            steps = (points + 0.5) / np.array([width, height])
            parts.append("M" + "L".join(f"{x:.4g} {y:.4g}" for x, y in steps) + "Z")
    return "".join(parts)
