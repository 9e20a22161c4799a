"""What both reports say beyond tags: regions, masks, texts, the ladder and the lanes."""

from collections.abc import Mapping
from dataclasses import dataclass

from evaluation.metrics.ablation import BASE_OPTION
from evaluation.metrics.captions import NamedObjects
from evaluation.metrics.grounding import GroundingFigure
from evaluation.metrics.phrase_grounding import PhraseFigure
from evaluation.metrics.recall_at_k import HEADLINE_K
from evaluation.report.view import BAND_ORDER, NBSP, LongTailReport, interval, percent, signed_points

HEAVY = "heavy"
OPTION_NAMES = {
    "A1": "language model alone",
    "A2": "and embeddings",
    "A2T": "and a tagger",
    "A3": "and grounding",
    "B2": "two lanes",
    "B3": "everything",
}


@dataclass(frozen=True, slots=True)
class GroundingRow:
    """One line of the table of regions: a band and its figures by IoU."""

    name: str
    tags: int
    support: int
    by_iou: Mapping[str, GroundingFigure]
    phrases: PhraseFigure | None
    """whether the best region of each concept of an image is right"""


@dataclass(frozen=True, slots=True)
class PartCard:
    """A figure that stands alone."""

    title: str
    value: str
    range: str
    """the interval, empty where there is none"""
    note: str


def grounding_rows(report: LongTailReport) -> list[GroundingRow]:
    """The bands that have true regions, tail first, then `overall`; none where regions were not measured."""
    grounding = report.figures.regions.grounding
    if grounding is None:
        return []
    rows, phrases = [], {figure.band: figure for figure in report.figures.phrases}
    for name in BAND_ORDER:
        by_iou = {figure.iou: figure for figure in grounding.recall if figure.band == name}
        if by_iou:
            first = next(iter(by_iou.values()))
            rows.append(GroundingRow(name, first.tags, first.support, by_iou, phrases.get(name)))
    return rows


def part_cards(report: LongTailReport) -> list[PartCard]:
    """Masks, captions, descriptions and text, each where it was measured."""
    masks, texts, cards = report.figures.regions.masks, report.figures.texts, []
    if masks:
        note = f"mean over {masks.support:,} regions that match a true one and have a mask"
        range_ = f"{masks.ci95.low:.3f} to {masks.ci95.high:.3f}" if masks.ci95 else ""
        cards.append(PartCard("Mask IoU", f"{masks.mean_iou:.3f}", range_, note))
    named = texts.captions
    shares = (
        (
            "Objects named",
            named and named.shares.get("object_recall"),
            f"objects in {named.texts:,} images, named by the caption" if named else "",
        ),
        (
            "Objects invented",
            named and named.shares.get("hallucination_rate"),
            "objects that captions name, not there",
        ),
        ("Valid descriptions", texts.schema_valid, "descriptions fit the schema at the first answer"),
        ("Signs read", texts.ocr, "signs"),
    )
    for title, share, things in shares:
        if share:
            range_ = interval(share.ci95) if share.ci95 else ""
            cards.append(PartCard(title, percent(share.value), range_, f"of {share.support:,} {things}"))
    return cards


def ladder_verdict(report: LongTailReport) -> str:
    """What the last option of the ladder gains on the tail; empty where there is nothing to compare."""
    last = report.figures.ladder[-1] if report.figures.ladder else None
    if last is None or last.tail_gain is None:
        return ""
    sentence = (
        f"{last.option} recovers {signed_points(last.tail_gain)} points of tail recall@{HEADLINE_K} "
        f"against {BASE_OPTION}"
    )
    bounds = last.tail_gain_ci95
    if bounds is None:
        return f"{sentence}."
    return (
        f"{sentence} (95{NBSP}% interval {signed_points(bounds.low)} to {signed_points(bounds.high)}, "
        "the same images on both sides)."
    )


def lane_sentence(report: LongTailReport) -> str:
    """How many images went to the heavy lane, and why; empty without routing."""
    lanes = report.figures.texts.lanes
    if not lanes:
        return ""
    images = sum(lane.images for lane in lanes.values())
    heavy = lanes.get(HEAVY)
    if heavy is None:
        return f"All {images:,} images stayed in the fast lane."
    reasons = ", ".join(
        f"{reason.replace('_', ' ')} {count:,}"
        for reason, count in sorted(heavy.reasons.items(), key=lambda item: (-item[1], item[0]))
    )
    return (
        f"{heavy.images:,} of {images:,} images ({percent(heavy.images / images)}) went to the heavy lane"
        f"{f': {reasons}' if reasons else ''}."
    )


def named(found: NamedObjects | None) -> float | None:
    """Share of the objects there that are named."""
    return found.object_recall if found else None


def invented(found: NamedObjects | None) -> float | None:
    """Share of the objects named that are not there."""
    return found.hallucination_rate if found else None
