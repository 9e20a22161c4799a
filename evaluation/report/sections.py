"""What both reports say beyond tags: regions, masks, texts, the ladder and the lanes."""

from collections.abc import Mapping
from dataclasses import dataclass

from evaluation.figures import TagEvaluation
from evaluation.metrics.ablation import BASE_OPTION, LADDER_K
from evaluation.metrics.bootstrap import Interval
from evaluation.metrics.captions import NamedObjects
from evaluation.metrics.grounding import GroundingFigure
from evaluation.report.view import BAND_ORDER, NBSP, LongTailReport, interval, percent, signed_points

HEAVY = "heavy"
OPTION_NAMES = {
    "A1": "language model alone",
    "A2": "and embeddings",
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


@dataclass(frozen=True, slots=True)
class PartCard:
    """A figure that stands alone."""

    title: str
    value: str
    range: str
    """the interval, empty where there is none"""
    note: str


def of_embeddings_alone(report: LongTailReport) -> TagEvaluation | None:
    """The tags of the embeddings, where the report is about others."""
    alone = report.figures.tags_embeddings
    return None if alone is None or alone is report.figures.tags else alone


def grounding_rows(report: LongTailReport) -> list[GroundingRow]:
    """The bands that have true regions, tail first, then `overall`; none where regions were not measured."""
    grounding = report.figures.grounding
    if grounding is None:
        return []
    rows = []
    for name in BAND_ORDER:
        by_iou = {figure.iou: figure for figure in grounding.recall if figure.band == name}
        if by_iou:
            first = next(iter(by_iou.values()))
            rows.append(GroundingRow(name, first.tags, first.support, by_iou))
    return rows


def part_cards(report: LongTailReport) -> list[PartCard]:
    """Masks, captions, descriptions and text, each where it was measured."""
    figures, cards = report.figures, []
    if figures.masks:
        note = f"mean over {figures.masks.support:,} regions that match a true one and have a mask"
        bounds = figures.masks.ci95
        range_ = f"{bounds.low:.3f} to {bounds.high:.3f}" if bounds else ""
        cards.append(PartCard("Mask IoU", f"{figures.masks.mean_iou:.3f}", range_, note))
    if (named := figures.captions) and named.object_recall is not None:
        note = f"of {named.objects:,} objects in {named.texts:,} images, named by the caption"
        cards.append(PartCard("Objects named", percent(named.object_recall), _range(named.recall_ci95), note))
    if named and named.hallucination_rate is not None:
        note = f"of {named.mentions:,} objects that captions name, not there"
        range_ = _range(named.hallucination_ci95)
        cards.append(PartCard("Objects invented", percent(named.hallucination_rate), range_, note))
    if valid := figures.schema_valid:
        note = f"of {valid.support:,} descriptions fit the schema at the first answer"
        cards.append(PartCard("Valid descriptions", percent(valid.value), _range(valid.ci95), note))
    if ocr := figures.ocr:
        cards.append(
            PartCard("Signs read", percent(ocr.value), _range(ocr.ci95), f"of {ocr.support:,} signs")
        )
    return cards


def _range(bounds: Interval | None) -> str:
    return interval(bounds) if bounds else ""


def ladder_verdict(report: LongTailReport) -> str:
    """What the last option of the ladder gains on the tail; empty where there is nothing to compare."""
    last = report.figures.ladder[-1] if report.figures.ladder else None
    if last is None or last.tail_gain is None:
        return ""
    sentence = (
        f"{last.option} recovers {signed_points(last.tail_gain)} points of tail recall@{LADDER_K} "
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
    lanes = report.figures.lanes
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
