"""What the lake knows of the images of a folder before they are described: text, regions, tags, lanes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from resources.fingerprint import fingerprint
from resources.models.vlms.tasks import Question
from taxonomy import Taxonomy
from vistag_assets.language.describing import Known
from vistag_assets.lineage import column_by_id
from vistag_assets.regions.boxes import Region, cited_regions
from vistag_assets.whole_image.ocr_text import text_lines

CONFIRMED_PROBABILITY = 0.5


@dataclass(frozen=True)
class ImageContext:
    """By image id, each only where there is something to say."""

    captions: Mapping[str, str]
    """of the fast lane"""
    text: Mapping[str, tuple[str, ...]]
    regions: Mapping[str, Mapping[str, Region]]
    """short id of the prompt -> region"""
    tags: Mapping[str, frozenset[str]]
    lanes: Mapping[str, str]

    def lane(self, id_: str) -> str:
        return self.lanes.get(id_, "fast")

    def caption_prompt(self, id_: str, question: Question) -> str:
        return question.about(self.text.get(id_, ()))

    def prompt(self, id_: str, question: Question) -> str:
        phrases = [(short, region.phrase) for short, region in self.regions.get(id_, {}).items()]
        return question.about(self.text.get(id_, ()), phrases)

    def known(self, id_: str, caption: str) -> Known:
        return Known(
            self.regions.get(id_, {}), caption, self.text.get(id_, ()), self.tags.get(id_, frozenset())
        )

    def fingerprint(self, id_: str, vlm: str, caption: Question, description: Question | None) -> str:
        """Of all that decides the description of an image by a model of this fingerprint, asked these questions."""
        return fingerprint(
            vlm=vlm,
            lane=self.lane(id_),
            caption_prompt=self.caption_prompt(id_, caption) if self.lane(id_) == "heavy" else None,
            prompt=self.prompt(id_, description) if description else None,
            regions=[region.region_id for region in self.regions.get(id_, {}).values()],
            tags=sorted(self.tags.get(id_, ())),
            caption=self.captions.get(id_),
        )


def gather_context(
    captions: pa.Table,
    ocr_text: pa.Table | None,
    grounded_regions: pa.Table | None,
    tag_scores: pa.Table | None,
    routing: pa.Table | None,
    taxonomy: Taxonomy,
) -> ImageContext:
    """Of the tables of a folder."""
    regions = regions_by_id(grounded_regions) if grounded_regions else {}
    return ImageContext(
        captions=column_by_id(captions, "caption"),
        text=text_lines(ocr_text),
        regions={id_: cited_regions(rows, taxonomy) for id_, rows in regions.items()},
        tags=confirmed_tags(tag_scores, taxonomy),
        lanes=column_by_id(routing, "lane") if routing else {},
    )


def regions_by_id(grounded_regions: pa.Table) -> dict[str, list[Region]]:
    columns = ["id", "region_id", "phrase", "concept_id", "bbox", "score"]
    regions: dict[str, list[Region]] = {}
    for row in grounded_regions.select(columns).to_pylist():
        x, y, width, height = row["bbox"]
        region = Region(
            row["region_id"], row["phrase"], row["concept_id"], (x, y, width, height), row["score"]
        )
        regions.setdefault(row["id"], []).append(region)
    return regions


def confirmed_tags(tag_scores: pa.Table | None, taxonomy: Taxonomy) -> dict[str, frozenset[str]]:
    """The concepts that the encoder holds for more probable than not; none without the table."""
    if tag_scores is None:
        return {}
    tags: dict[str, set[str]] = {}
    for row in tag_scores.select(["id", "concept_id", "probability"]).to_pylist():
        if row["probability"] >= CONFIRMED_PROBABILITY and row["concept_id"] in taxonomy.by_id:
            tags.setdefault(row["id"], set()).add(row["concept_id"])
    return {id_: frozenset(concepts) for id_, concepts in tags.items()}
