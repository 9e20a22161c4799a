"""Which regions of an image are the same place, and which of them a description may cite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resources.boxes import iou
from taxonomy import Taxonomy

SAME_PLACE_IOU = 0.9
"""Boxes of an image that overlap as much are one place to look at and to write about."""
MAX_CITED = 8

Box = tuple[float, float, float, float]
"""x and y of the top left, width and height, relative to the image: 0..1."""


@dataclass(frozen=True, slots=True)
class Region:
    """A row of `grounded_regions`."""

    region_id: str
    phrase: str
    concept_id: str | None
    box: Box
    score: float


def distinct_boxes(regions: Sequence[Region]) -> list[list[Region]]:
    """The regions, grouped by place: each as its first one, all of the best score first (ties by region_id)."""
    groups: list[list[Region]] = []
    for region in sorted(regions, key=lambda region: (-region.score, region.region_id)):
        same = (group for group in groups if iou([group[0].box], [region.box])[0, 0] >= SAME_PLACE_IOU)
        if group := next(same, None):
            group.append(region)
        else:
            groups.append([region])
    return groups


def cited_regions(regions: Sequence[Region], taxonomy: Taxonomy) -> dict[str, Region]:
    """Short id (r1, r2, ...) -> region, of the MAX_CITED best places, told from left to right.

    A place is called by its best thing: "bowl" says more of it than "terracotta".
    """
    named = [
        next((region for region in group if _is_thing(region, taxonomy)), group[0])
        for group in distinct_boxes(regions)[:MAX_CITED]
    ]
    from_left = sorted(named, key=lambda region: (region.box[0] + region.box[2] / 2, region.region_id))
    return {f"r{number}": region for number, region in enumerate(from_left, start=1)}


def _is_thing(region: Region, taxonomy: Taxonomy) -> bool:
    concept = taxonomy.by_id.get(region.concept_id or "")
    return concept is None or taxonomy.facets[concept.facet].thing
