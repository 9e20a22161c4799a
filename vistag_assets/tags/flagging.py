"""Which rules of a policy hold of an image, and what in the lake makes them hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vistag_assets.tags.decided import ACCEPTED, MACHINE, REJECTED
from vistag_assets.tags.flag_policy import BoundRule, Policy, folded

Row = Mapping[str, Any]
_MOST_NAMED = 3
"""Pieces of evidence of one condition that a flag names."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the lake says of one image: rows of the tables of these names."""

    tags: Sequence[Row] = ()
    grounded_regions: Sequence[Row] = ()
    ocr_text: Sequence[Row] = ()
    caption: str = ""
    description: str = ""
    """title and text"""
    file_words: Sequence[str] = ()
    """title, description and keywords of people, from the file"""
    keywords: Sequence[str] = ()
    unfamiliar: str | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that makes a condition hold: a sentence, and where in the picture it is, if anywhere."""

    told: str
    region_ids: tuple[str, ...] = ()
    box: Sequence[float] | None = None
    """xywh relative to the upright picture, 0..1"""


@dataclass(frozen=True, slots=True)
class Flag:
    """A rule that holds of an image."""

    rule: str
    reason: str
    because: list[str]
    region_ids: list[str] = field(default_factory=list)
    bbox: list[float] | None = None
    """of the first piece of evidence that is somewhere in the picture"""


def flags_of(seen: Seen, policy: Policy) -> list[Flag]:
    """The flags of an image, in the order of the policy."""
    return [flag for bound in policy.rules if (flag := _flag(seen, bound)) is not None]


def _flag(seen: Seen, bound: BoundRule) -> Flag | None:
    """None where a condition of the rule does not hold."""
    every = [list(evidence)[:_MOST_NAMED] for evidence in _conditions(seen, bound)]
    if not all(every):
        return None
    named = [evidence for one in every for evidence in one]
    regions = dict.fromkeys(id_ for evidence in named for id_ in evidence.region_ids)
    box_of = {row["region_id"]: row["bbox"] for row in seen.grounded_regions}
    boxes = [evidence.box or box_of.get(next(iter(evidence.region_ids), "")) for evidence in named]
    return Flag(
        bound.rule.name,
        bound.rule.reason,
        [evidence.told for evidence in named],
        list(regions),
        next((list(box) for box in boxes if box), None),
    )


def _conditions(seen: Seen, bound: BoundRule) -> Iterator[Iterable[Evidence]]:
    """Of each condition that the rule gives, what makes it hold."""
    rule = bound.rule
    if rule.concept:
        yield _tagged(seen, bound)
    if rule.found:
        yield _found(seen, bound)
    if rule.words:
        yield _written(seen, bound)
    if bound.keywords:
        yield (Evidence(f"keyword “{word}”") for word in seen.keywords if bound.keywords.match(folded(word)))
    if rule.unfamiliar:
        yield [Evidence(f"unfamiliar: {seen.unfamiliar}")] if seen.unfamiliar else []


def _tagged(seen: Seen, bound: BoundRule) -> Iterator[Evidence]:
    """What people said first, then the machine's tags from the probability on; the narrower one stands for those that it
    lent its probability to."""
    rows = [row for row in seen.tags if row["concept_id"] in bound.concepts and not row.get("inherited_from")]
    for row in sorted(rows, key=lambda row: (row["state"] != ACCEPTED, -row["probability"])):
        if row["state"] == ACCEPTED:
            yield Evidence(f"{row['phrase']}, said by a person", tuple(row["region_ids"] or ()))
        elif row["state"] == MACHINE and row["probability"] >= bound.rule.min_probability:
            yield Evidence(f"{row['phrase']} {row['probability']:.2f}", tuple(row["region_ids"] or ()))


def _found(seen: Seen, bound: BoundRule) -> Iterator[Evidence]:
    """Boxes, the best first; not of a tag that a person rejected."""
    rejected = {(row["concept_id"] or row["phrase"]) for row in seen.tags if row["state"] == REJECTED}
    for row in sorted(seen.grounded_regions, key=lambda row: -row["score"]):
        is_meant = row["concept_id"] in bound.found or folded(row["phrase"]) in bound.found_phrases
        if not is_meant or row["score"] < bound.rule.min_score:
            continue
        if (row["concept_id"] or row["phrase"]) not in rejected:
            yield Evidence(f"{row['phrase']} found, {row['score']:.2f}", (row["region_id"],), row["bbox"])


def _written(seen: Seen, bound: BoundRule) -> Iterator[Evidence]:
    texts: dict[str, Iterable[tuple[str, Sequence[float] | None]]] = {
        "picture": ((row["text"], row["bbox"]) for row in seen.ocr_text),
        "caption": [(seen.caption, None)],
        "description": [(seen.description, None)],
        "file": ((text, None) for text in seen.file_words),
    }
    for place in bound.rule.where:
        for text, box in texts[place]:
            if bound.words and (match := bound.words.search(folded(text))):
                yield Evidence(f"“{match.group()}” in the {place}", (), box)
