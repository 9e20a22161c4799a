"""Which images go to the heavy lane: rows of the lake to signals, signals to lanes. No model, no lake here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from resources.models.tiers import Option
from resources.models.tiers.routing import RoutingSpec

Lane = Literal["fast", "heavy"]
Reason = Literal["low_coverage", "caption_entropy", "hedging", "text"]

WEIGHTS: Mapping[Reason, float] = {"low_coverage": 1.0, "caption_entropy": 1.0, "hedging": 0.75, "text": 0.5}
"""What each reason adds to the priority at its full strength. Text alone is the weakest one: a label that
was read with confidence is handed to the fast lane's prompt as it is."""

ROUTED_OPTIONS: frozenset[Option] = frozenset({"B2", "B3"})
HEAVY_OPTIONS: frozenset[Option] = frozenset({"B1"})

FEWEST_CHARACTERS = 3
"""Letters and digits of a line that counts as text."""

HEDGES = re.compile(
    r"\b(possibly|perhaps|maybe|probably|likely|presumably|apparently|seemingly|supposedly|unclear|unidentified|"
    r"(?:appears?|seems?|believed|thought|assumed) to be|(?:might|may|could) (?:have been|be(?! seen))|"
    r"(?:seems?|looks?) like|(?:some|a) (?:kind|sort|type) of|resembl(?:es|ing)|hard to tell)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Signals:
    """What is known of one image; None where nothing was measured."""

    id: str
    tags: int | None = None
    """tags of its own at least as probable as the spec asks"""
    caption: str | None = None
    entropy_nats: float | None = None
    """mean entropy of the caption's tokens"""
    text_confidence: float | None = None
    """0..1, of the surest line of text"""


@dataclass(frozen=True, slots=True)
class Route:
    id: str
    lane: Lane
    reasons: tuple[Reason, ...]
    """strongest first"""
    priority: float
    """weighted sum of the strengths of the reasons, 0 without a reason"""


def gather_signals(
    ids: Sequence[str],
    tag_scores: pa.Table | None,
    captions: pa.Table | None,
    ocr_text: pa.Table | None,
    spec: RoutingSpec,
) -> list[Signals]:
    """The signals of each id, out of the tables of its folder; None for a table that was not made.

    Args:
        tag_scores: id, probability, inherited_from. Tags that a narrower one lent its score do not count.
        captions: id, caption, entropy (nats).
        ocr_text: id, text, confidence (0..1).
    """
    tags = _count_tags(tag_scores, spec) if tag_scores is not None else {}
    said = {row["id"]: row for row in captions.to_pylist()} if captions is not None else {}
    surest = _surest_line(ocr_text) if ocr_text is not None else {}
    return [
        Signals(
            id_,
            tags=tags.get(id_),
            caption=said[id_]["caption"] if id_ in said else None,
            entropy_nats=said[id_]["entropy"] if id_ in said else None,
            text_confidence=surest.get(id_),
        )
        for id_ in ids
    ]


def strengths(signals: Signals, spec: RoutingSpec) -> dict[Reason, float]:
    """The reasons of an image, each with its strength in 0..1 (never 0).

    low_coverage: the share of `fewest_tags` that is missing. caption_entropy: e / (e + entropy_nats), half at
    the bar. text: the confidence of the surest line. hedging: 1.
    """
    found: dict[Reason, float] = {}
    if signals.tags is not None and signals.tags < spec.fewest_tags:
        found["low_coverage"] = 1 - signals.tags / spec.fewest_tags
    if signals.entropy_nats is not None and signals.entropy_nats >= spec.entropy_nats:
        found["caption_entropy"] = signals.entropy_nats / (signals.entropy_nats + spec.entropy_nats)
    if signals.caption is not None and HEDGES.search(signals.caption):
        found["hedging"] = 1.0
    if signals.text_confidence is not None and signals.text_confidence >= max(spec.text_confidence, 1e-6):
        found["text"] = signals.text_confidence
    return found


def route(images: Sequence[Signals], spec: RoutingSpec, option: Option) -> list[Route]:
    """The lanes of all images of one folder, in the order they are given.

    In the options with two lanes (B2, B3) the images with a reason go to the heavy lane by descending
    priority, ties by id, until the budget is spent: `heavy_places` of them. An image without a reason never
    goes. B1 has the heavy lane only, A1, A2 and A3 the fast one only; reasons and priority are the same in
    every option, so that it can be seen what routing would do.
    """
    return assign([weigh(image, spec) for image in images], spec, option)


def weigh(image: Signals, spec: RoutingSpec) -> Route:
    """What asks for the heavy lane of an image, and how much. Its lane depends on the others: see `assign`."""
    found = strengths(image, spec)
    weights = {reason: WEIGHTS[reason] * strength for reason, strength in found.items()}
    reasons = tuple(sorted(weights, key=lambda reason: (-weights[reason], reason)))
    return Route(image.id, "fast", reasons, sum(weights[reason] for reason in reasons))


def assign(weighed: Sequence[Route], spec: RoutingSpec, option: Option) -> list[Route]:
    """All images of one folder in their lanes, as `route` says."""
    asking = sorted((-image.priority, image.id) for image in weighed if image.reasons)
    places = heavy_places(len(weighed), spec.budget) if option in ROUTED_OPTIONS else 0
    heavy = {id_ for _, id_ in asking[:places]}
    if option in HEAVY_OPTIONS:
        heavy = {image.id for image in weighed}
    return [replace(image, lane="heavy" if image.id in heavy else "fast") for image in weighed]


def heavy_places(images: int, budget: float) -> int:
    """How many images of a folder the budget sends to the heavy lane at most, in whole images.

    Rounded down, but for one: a folder that is too small for its share may still send one image.
    """
    if budget <= 0 or images == 0:
        return 0
    # 0.29 * 100 is a little less than 29
    return max(1, int(budget * images + 1e-9))


def _count_tags(tag_scores: pa.Table, spec: RoutingSpec) -> dict[str, int]:
    own = pc.is_null(tag_scores["inherited_from"])
    sure = pc.and_(own, pc.greater_equal(tag_scores["probability"], spec.tag_probability))
    rows = pa.table({"id": tag_scores["id"], "sure": sure})
    counts = rows.group_by("id").aggregate([("sure", "sum")])
    return dict(zip(counts["id"].to_pylist(), counts["sure_sum"].to_pylist(), strict=True))


def _surest_line(ocr_text: pa.Table) -> dict[str, float]:
    surest: dict[str, float] = {}
    for row in ocr_text.select(["id", "text", "confidence"]).to_pylist():
        if sum(character.isalnum() for character in row["text"]) >= FEWEST_CHARACTERS:
            surest[row["id"]] = max(surest.get(row["id"], 0.0), row["confidence"])
    return surest
