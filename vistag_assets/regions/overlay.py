"""Regions drawn into the picture: boxes and readable labels, coloured by facet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from resources.models.segmenters.masks import Mask
from taxonomy import Taxonomy
from taxonomy.facets import OTHER_COLOUR

TINT = 0.5

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A region to draw. `bbox` is xywh relative to the picture, 0..1."""

    bbox: Sequence[float]
    label: str
    score: float
    """0..1"""
    colour: str = OTHER_COLOUR
    """``#rrggbb``, dark enough for white text: that of its facet; the default for phrases of no concept"""
    mask: Mask | None = None
    """of the picture's size: a tint in the colour of the region"""


def marked_regions(
    rows: Iterable[Mapping[str, Any]], taxonomy: Taxonomy, masks: Mapping[str, Mask] | None = None
) -> dict[str, list[Marked]]:
    """By image id, rows of `grounded_regions` as they are drawn; `masks` by region id."""
    marked: dict[str, list[Marked]] = {}
    for row in rows:
        concept = taxonomy.by_id.get(row["concept_id"] or "")
        colour = taxonomy.facets[concept.facet].colour if concept else OTHER_COLOUR
        mask = (masks or {}).get(row.get("region_id", ""))
        marked.setdefault(row["id"], []).append(
            Marked(row["bbox"], row["phrase"], row["score"], colour, mask)
        )
    return marked


def draw_regions(image: Image.Image, regions: Sequence[Marked]) -> Image.Image:
    """A copy of the picture with the regions in it; the best are drawn last, so that they lie on top.

    A label that would cover another one moves on until it is free, so regions that share a box stack theirs.
    """
    picture = _tinted(image.convert("RGB"), regions)
    draw = ImageDraw.Draw(picture)
    side = max(picture.size)
    line = max(2, side // 250)
    font = _font(max(11, side // 45))
    ordered = sorted(regions, key=lambda region: (region.score, region.label))
    for region in ordered:
        draw.rectangle(_corners(region.bbox, picture.size), outline=region.colour, width=line)
    taken: list[Box] = []
    for region in reversed(ordered):
        text = f"{region.label} {region.score:.2f}"
        place = _free_place(region, text, font, line, picture.size, taken)
        taken.append(place)
        draw.rectangle(place, fill=region.colour)
        draw.text((place[0] + line, place[1]), text, fill="white", font=font)
    return picture


def _tinted(picture: Image.Image, regions: Sequence[Marked]) -> Image.Image:
    """The picture with the masks of its regions, each in the colour of its facet."""
    if not any(region.mask is not None for region in regions):
        return picture.copy()
    pixels = np.asarray(picture).copy()
    for region in regions:
        if region.mask is not None:
            colour = np.array(ImageColor.getrgb(region.colour))
            pixels[region.mask] = (TINT * colour + (1 - TINT) * pixels[region.mask]).astype(np.uint8)
    return Image.fromarray(pixels)


def _font(size_px: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size_px)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType, so labels cannot be drawn: install its wheel")
    return font


def _corners(bbox: Sequence[float], size: tuple[int, int]) -> Box:
    left, top, width, height = bbox
    right, bottom = (left + width) * size[0] - 1, (top + height) * size[1] - 1
    return (left * size[0], top * size[1], max(right, left * size[0]), max(bottom, top * size[1]))


def _free_place(
    region: Marked,
    text: str,
    font: ImageFont.FreeTypeFont,
    padding: int,
    size: tuple[int, int],
    taken: Sequence[Box],
) -> Box:
    """Where the label goes: from its box upwards, else from below it downwards, else inside from its top."""
    left, top, _, bottom = _corners(region.bbox, size)
    width, height = font.getlength(text) + 2 * padding, float(sum(font.getmetrics()))
    left = max(0.0, min(left, size[0] - width))
    for first, step in ((top - height, -1), (bottom, 1), (top, 1)):
        at = first
        while 0 <= at <= size[1] - height:
            place = (left, at, left + width, at + height)
            blocking = [other for other in taken if _overlap(place, other)]
            if not blocking:
                return place
            at = (
                max(other[3] for other in blocking) + 1
                if step > 0
                else min(o[1] for o in blocking) - height - 1
            )
    first = max(0.0, min(top, size[1] - height))
    return (left, first, left + width, first + height)


def _overlap(a: Box, b: Box) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]
