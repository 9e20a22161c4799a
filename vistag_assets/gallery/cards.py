"""What the gallery shows of each image, made of the rows of the lake."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from taxonomy import Facet, Taxonomy

Box = tuple[float, float, float, float]
Row = dict[str, Any]
Rows = Mapping[str, Sequence[Row]]
"""Table -> the rows of one folder, as dictionaries; a table that is not there yet is absent."""

SHOWN_TAGS = 30
SHOWN_PROBABILITY = 0.05
"""Of a machine's tag; the table keeps less likely ones for the figures."""
OTHER_FACET = Facet("other", thing=False)
"""Of phrases that are no concept."""
_MENDED = frozenset({"wrong_region"})
"""Flags of claims that leave no doubt: the regions named are cited in place of the model's."""
# column of `tags`, what it is called, what it says
_SOURCES = (
    ("global_probability", "whole picture", "probability by the image encoder"),
    ("detector_score", "detector", "score of the best box"),
    ("region_probability", "crop", "probability by the encoder on the boxed part alone"),
    ("vlm_logprob", "language model", "probability of the words when asked for tags"),
    (
        "region_caption_score",
        "crop in words",
        "probability of the words when asked what the boxed part shows",
    ),
    ("ocr_score", "text in the picture", "match with text that was read"),
    ("tagger_score", "tagger", "score of a model with tags of its own, uncalibrated"),
)


@dataclass(frozen=True, slots=True)
class Region:
    """A box of a picture, and its mask where there is one."""

    region_id: str
    label: str
    facet: Facet
    box: Box
    """xywh relative to the picture, 0..1"""
    score: float
    verdict: str | None = None
    caption: str | None = None
    outline: str | None = None
    """of the mask, the data of an SVG path in 0..1; to be filled in by who has the masks"""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One source's opinion of a tag."""

    source: str
    meaning: str
    value: float
    """0..1"""


@dataclass(frozen=True, slots=True)
class TagLine:
    """A tag as it is shown."""

    label: str
    facet: Facet
    probability: float
    state: str
    needs_review: bool
    ungrounded: bool
    region_ids: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    iri: str = ""
    notation: str = ""
    concept_id: str | None = None
    shown: str = ""
    """fingerprint of its row"""


@dataclass(frozen=True, slots=True)
class Claim:
    """A part of the description and the regions that it cites."""

    text: str
    aspect: str
    region_ids: tuple[str, ...]
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flag:
    """A rule of a policy that holds of the image, and why."""

    rule: str
    reason: str
    because: tuple[str, ...]
    region_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line of text that was read in the picture."""

    text: str
    confidence: float
    box: Box


@dataclass(frozen=True, slots=True)
class Card:
    """Everything about one image."""

    id: str
    path: str
    proxy: str
    width: int
    """pixels of the proxy, as the height"""
    height: int
    caption: str = ""
    title: str = ""
    description: str = ""
    claims: tuple[Claim, ...] = ()
    tags: tuple[TagLine, ...] = ()
    more_tags: int = 0
    regions: tuple[Region, ...] = ()
    texts: tuple[TextLine, ...] = ()
    lane: str = ""
    reasons: tuple[str, ...] = ()
    problems: tuple[str, ...] = field(default=())
    flags: tuple[Flag, ...] = ()
    unfamiliar: str = ""
    """why its probabilities are not to be believed"""

    @property
    def to_review(self) -> int:
        return sum(tag.needs_review for tag in self.tags)

    @property
    def tags_by_facet(self) -> dict[Facet, list[TagLine]]:
        """In the order of the vocabulary's facets; those of no facet come last."""
        found: dict[Facet, list[TagLine]] = {}
        for tag in sorted(
            self.tags, key=lambda tag: (tag.facet is OTHER_FACET, tag.facet.order, tag.facet.name)
        ):
            found.setdefault(tag.facet, []).append(tag)
        return found

    @property
    def description_parts(self) -> list[tuple[str, Claim | None]]:
        """The description cut at the claims that stand in it word for word."""
        parts: list[tuple[str, Claim | None]] = []
        rest = self.description
        for claim in sorted(self._claims_in_text, key=lambda claim: self.description.find(claim.text)):
            before, found, after = rest.partition(claim.text)
            if found:
                parts += [(before, None), (found, claim)]
                rest = after
        return [(text, claim) for text, claim in [*parts, (rest, None)] if text]

    @property
    def claims_apart(self) -> list[Claim]:
        """The claims that the description does not quote."""
        quoted = {claim for _, claim in self.description_parts if claim}
        return [claim for claim in self.claims if claim not in quoted]

    @property
    def _claims_in_text(self) -> list[Claim]:
        return [claim for claim in self.claims if claim.text and claim.text in self.description]


def cards_of(rows: Rows, taxonomy: Taxonomy) -> list[Card]:
    """One card an image of a folder, by path.

    Where there are no final `tags` the best of `tag_scores` that earned their own score stand in for them.
    """
    labels = {
        concept.id: (taxonomy.shown_labels[concept.id], taxonomy.facets[concept.facet])
        for concept in taxonomy.concepts
    }
    of = {table: _by_id(found) for table, found in rows.items()}
    matches = {row["region_id"]: row["verdict"] for row in rows.get("region_matches", ())}
    captions = {row["region_id"]: row["caption"] for row in rows.get("region_captions", ())}
    proxies = {row["id"]: row for row in rows["proxies"]}

    def one(table: str, id_: str) -> Row:
        return next(iter(of.get(table, {}).get(id_, ())), {})

    cards = []
    for image in sorted(rows["images"], key=lambda row: row["path"]):
        id_, proxy = image["id"], proxies.get(image["id"])
        if proxy is None:
            continue
        routing, caption, description = (one(table, id_) for table in ("routing", "captions", "descriptions"))
        tags = _tags(of, id_, labels)
        cards.append(
            Card(
                id=id_,
                path=image["path"],
                proxy=proxy["path"],
                width=proxy["width"],
                height=proxy["height"],
                caption=caption.get("caption") or "",
                title=description.get("title") or "",
                description=description.get("description") or "",
                claims=tuple(
                    Claim(
                        claim["text"],
                        claim["aspect"] or "",
                        tuple(claim["region_ids"] or ()),
                        tuple(flag for flag in claim["flags"] or () if flag not in _MENDED),
                    )
                    for claim in description.get("claims") or ()
                ),
                tags=tuple(tags[:SHOWN_TAGS]),
                more_tags=max(0, len(tags) - SHOWN_TAGS),
                regions=tuple(
                    _region(row, labels, matches, captions)
                    for row in of.get("grounded_regions", {}).get(id_, ())
                ),
                texts=tuple(
                    TextLine(row["text"], row["confidence"], _box(row["bbox"]))
                    for row in sorted(of.get("ocr_text", {}).get(id_, ()), key=lambda row: row["line"])
                ),
                lane=routing.get("lane") or "",
                reasons=tuple(routing.get("reasons") or ()),
                flags=tuple(
                    Flag(row["rule"], row["reason"], tuple(row["because"]), tuple(row["region_ids"]))
                    for row in of.get("flags", {}).get(id_, ())
                ),
                unfamiliar=one("familiarity", id_).get("unfamiliar") or "",
                problems=(*(caption.get("problems") or ()), *(description.get("problems") or ())),
            )
        )
    return cards


def _tags(
    of: Mapping[str, Mapping[str, Sequence[Row]]], id_: str, labels: Mapping[str, tuple[str, Facet]]
) -> list[TagLine]:
    if "tags" in of:
        rows = sorted(of["tags"].get(id_, ()), key=lambda row: row["rank"])
        return [_final_tag(row, labels) for row in rows if _is_worth_showing(row)]
    scored = sorted(of.get("tag_scores", {}).get(id_, ()), key=lambda row: row["rank"])
    own = [row for row in scored if row["inherited_from"] is None][: SHOWN_TAGS // 2]
    return [
        TagLine(
            *labels.get(row["concept_id"], (row["concept_id"], OTHER_FACET)),
            probability=row["probability"],
            state="machine",
            needs_review=False,
            ungrounded=False,
            region_ids=(),
            evidence=(Evidence(*_SOURCES[0][1:], row["probability"]),),
            concept_id=row["concept_id"],
        )
        for row in own
    ]


def _is_worth_showing(row: Row) -> bool:
    return row["state"] != "machine" or row["needs_review"] or row["probability"] >= SHOWN_PROBABILITY


def _final_tag(row: Row, labels: Mapping[str, tuple[str, Facet]]) -> TagLine:
    values = {column: row[column] for column, _, _ in _SOURCES if row.get(column) is not None}
    if "vlm_logprob" in values:
        values["vlm_logprob"] = math.exp(min(0.0, values["vlm_logprob"]))
    label, facet = labels.get(row["concept_id"] or "", (row["phrase"], OTHER_FACET))
    return TagLine(
        label,
        facet,
        probability=row["probability"],
        state=row["state"],
        needs_review=bool(row["needs_review"]),
        ungrounded=bool(row["ungrounded"]),
        region_ids=tuple(row["region_ids"] or ()),
        evidence=tuple(
            Evidence(name, meaning, values[column]) for column, name, meaning in _SOURCES if column in values
        ),
        iri=row.get("iri") or "",
        notation=row.get("notation") or "",
        concept_id=row["concept_id"],
        shown=row.get("fingerprint") or "",
    )


def _region(
    row: Row,
    labels: Mapping[str, tuple[str, Facet]],
    matches: Mapping[str, str],
    captions: Mapping[str, str],
) -> Region:
    label, facet = labels.get(row["concept_id"] or "", (row["phrase"], OTHER_FACET))
    id_ = row["region_id"]
    return Region(id_, label, facet, _box(row["bbox"]), row["score"], matches.get(id_), captions.get(id_))


def _box(values: Sequence[float]) -> Box:
    x, y, width, height = values
    return x, y, width, height


def _by_id(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["id"], []).append(row)
    return found
