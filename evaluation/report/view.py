"""What both reports say: the sentences, the rows and how a number is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evaluation.figures import Figures, TagEvaluation, TagFigures
from evaluation.history import Compared, Run
from evaluation.metrics.bands import LVIS_BANDS, LVIS_COMMON_MAX_IMAGES, LVIS_RARE_MAX_IMAGES, RARE_BAND
from evaluation.metrics.f1 import F1Figure
from evaluation.metrics.intervals import FEW_IMAGES, Interval
from evaluation.metrics.recall_at_k import HEADLINE_K, OVERALL, RecallFigure

# The tail leads every list.
BAND_ORDER = ("tail", "body", "head", OVERALL)
NBSP = "\u00a0"
_NUMBER_WORDS = {1: "one", 5: "five", 10: "ten", 20: "twenty"}


@dataclass(frozen=True, slots=True)
class LongTailReport:
    """The figures of a run and what a reader needs around them."""

    figures: Figures
    created_at: datetime
    model: str | None = None
    taxonomy_fingerprint: str | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # concept id -> prefLabel
    # concept id -> small pictures of images on which it was missed, as data URIs ("data:image/jpeg;base64,...")
    examples: Mapping[str, Sequence[str]] = field(default_factory=lambda: MappingProxyType({}))
    confusions: pa.Table | None = None  # TAG_CONFUSIONS, of tail tags
    missed_on: Mapping[str, Sequence[str]] = field(default_factory=lambda: MappingProxyType({}))
    """concept id -> names of files on which it was missed"""
    remarks: Sequence[str] = ()  # what a reader of the figures has to know
    history: Sequence[Run] = ()  # the oldest first
    compared: Compared | None = None  # with its baseline

    def __post_init__(self) -> None:
        if self.figures.tags is None:
            raise ValueError("a long-tail report needs the figures of an evaluation; evaluate the tags first")
        for concept_id, pictures in self.examples.items():
            if not all(picture.startswith("data:image/") for picture in pictures):
                raise ValueError(
                    f"example images of {concept_id!r} must be data URIs that begin with data:image/"
                )

    @property
    def tag_figures(self) -> TagFigures:
        assert self.figures.tags is not None
        return self.figures.tags

    @property
    def tags(self) -> TagEvaluation:
        return self.tag_figures.reported

    def label(self, concept_id: str) -> str:
        return self.labels.get(concept_id, concept_id)


@dataclass(frozen=True, slots=True)
class MissedTag:
    """A tail tag that some image which carries it lacks among its first HEADLINE_K."""

    concept_id: str
    label: str
    images: int
    found: int  # of those; 0: it is lost entirely
    best_rank: int | None  # None: never scored on an image that carries it
    instead: tuple[tuple[str, int], ...]  # wrong tags of its facet that stand there: label, missed images
    examples: tuple[str, ...]
    files: tuple[str, ...] = ()  # names of some on which it was missed


@dataclass(frozen=True, slots=True)
class BandRow:
    """One line of the tables: a band, its size and edges, and its figures by k."""

    name: str
    tags: int
    min_images: int
    max_images: int
    by_k: Mapping[int, RecallFigure]
    mean_average_precision: float
    f1: F1Figure

    @property
    def headline(self) -> RecallFigure:
        return self.by_k[HEADLINE_K]

    @property
    def edges(self) -> str:
        if self.min_images == self.max_images:
            return f"{self.min_images:,}"
        return f"{self.min_images:,} to {self.max_images:,}"


def by_band_and_k(recall: Sequence[RecallFigure]) -> dict[str, dict[int, RecallFigure]]:
    found: dict[str, dict[int, RecallFigure]] = {}
    for figure in recall:
        found.setdefault(figure.band, {})[figure.k] = figure
    return found


def band_rows(evaluation: TagEvaluation, order: Sequence[str] = BAND_ORDER) -> list[BandRow]:
    """The bands that have tags, in this order: tail first, then `overall`."""
    edges = {name: (band.min_images, band.max_images) for name, band in evaluation.bands.items()}
    edges[OVERALL] = (min(low for low, _ in edges.values()), max(high for _, high in edges.values()))
    rows, recall = [], by_band_and_k(evaluation.recall)
    for name in order:
        if by_k := recall.get(name):
            precision = evaluation.mean_average_precision[name]
            f1 = evaluation.f1_figure(name)
            assert f1 is not None, "every band that has recall has F1"
            rows.append(BandRow(name, by_k[HEADLINE_K].tags, *edges[name], by_k, precision, f1))
    return rows


def headline(evaluation: TagEvaluation) -> str:
    """The answer in one sentence."""
    first = f"stand among the first {_NUMBER_WORDS[HEADLINE_K]} suggestions"
    tail, head = evaluation.recall_figure(RARE_BAND), evaluation.recall_figure("head")
    if tail is None or head is None:
        overall = evaluation.recall_figure(OVERALL)
        assert overall is not None, "an evaluation always has figures over all tags"
        return (
            f"Of {overall.support:,} tags that the ground truth names, {found(overall):,} "
            f"({percent(overall.micro)}) {first}; there are too few tags to tell rare ones from common ones."
        )
    return (
        f"Of {tail.support:,} rare tags that the ground truth names, {found(tail):,} ({percent(tail.micro)}) "
        f"{first}; the head: {percent(head.micro)}."
    )


def consequence(report: LongTailReport) -> str:
    """The second sentence: how many rare concepts are out of reach, and how wide the gap is."""
    tail = report.tags.bands.get(RARE_BAND)
    if tail is None or report.tags.gap is None:
        return ""
    lost = len(lost_tags(report))
    gap = report.tags.gap
    reach = (
        f"Each of the {tail.tags:,} rare concepts is found at least once."
        if lost == 0
        else f"{tail.tags - lost:,} of {tail.tags:,} rare concepts are found at least once, {lost:,} never."
    )
    interval = f" (95{NBSP}% interval {points(gap.ci95.low)} to {points(gap.ci95.high)})" if gap.ci95 else ""
    return f"{reach} The tail lies {points(gap.value)} points of recall below the whole{interval}."


def lost_tags(report: LongTailReport) -> list[MissedTag]:
    """Tail tags with no hit at all, those on the most images first."""
    return [tag for tag in missed_tags(report) if tag.found == 0]


def missed_tags(report: LongTailReport) -> list[MissedTag]:
    """Tail tags that are missed on some image, the lowest recall first, then those on the most images."""
    tags = report.tags.tags
    missed = tags.filter(pc.and_(pc.equal(tags["band"], RARE_BAND), pc.less(tags["found"], tags["images"])))
    instead: dict[str, list[tuple[str, int]]] = {}
    for row in report.confusions.to_pylist() if report.confusions else ():
        if row["instead"] is not None:
            instead.setdefault(row["concept_id"], []).append((report.label(row["instead"]), row["times"]))
    return [
        MissedTag(
            concept_id=row["concept_id"],
            label=report.label(row["concept_id"]),
            images=row["images"],
            found=row["found"],
            best_rank=row["best_rank"],
            instead=tuple(instead.get(row["concept_id"], ())),
            examples=tuple(report.examples.get(row["concept_id"], ())),
            files=tuple(report.missed_on.get(row["concept_id"], ())),
        )
        for row in missed.sort_by([("recall", "ascending"), ("rank", "ascending")]).to_pylist()
    ]


def on_keywords(evaluation: TagEvaluation) -> str:
    """What has to be known of figures that stand on keywords of files."""
    return (
        f"These figures stand on the keywords that people left in {evaluation.images:,} files. What a keyword names is taken "
        "as there; what none names is unknown, not absent. So the report tells what was found of it, and not "
        "what was found too much: no precision, F1, calibration or invented objects."
    )


def weakest_first(report: LongTailReport) -> list[dict[str, Any]]:
    """The rows of the tags with support, by recall, then by the images that carry them."""
    tags = report.tags.tags
    return (
        tags.filter(pc.greater(tags["images"], 0))
        .sort_by([("recall", "ascending"), ("rank", "ascending")])
        .to_pylist()
    )


def lvis_sentence(evaluation: TagEvaluation) -> str:
    """How many tags are rare, common and frequent, and by which edges: LVIS's own, or what the ground truth says."""
    bands = {name: evaluation.bands[name] for name in LVIS_BANDS if name in evaluation.bands}
    counts = ", ".join(f"{band.tags:,} {name}" for name, band in bands.items())
    if evaluation.given_bands:
        return (
            f"The bands of LVIS are those that the ground truth gives its tags (LVIS counts the images of its training "
            f"set), whatever the number of images here: {counts}."
        )
    return f"By the edges of LVIS (rare: up to {LVIS_RARE_MAX_IMAGES} images, common: up to {LVIS_COMMON_MAX_IMAGES}): {counts}."


def found(figure: RecallFigure) -> int:
    """The number of true tags among the first k."""
    return round(figure.micro * figure.support)


def percent(share: float, decimals: int = 0) -> str:
    """`46 %`; never rounded to 0 % or 100 % unless it is just that."""
    for digits in range(decimals, decimals + 2):
        text = f"{100 * share:.{digits}f}"
        if float(text) not in (0, 100) or share in (0, 1):
            return f"{text}{NBSP}%"
    return f"{'<' if share < 0.5 else '>'}{0.1 if share < 0.5 else 99.9}{NBSP}%"


def points(difference: float, decimals: int = 0) -> str:
    """A difference of two shares, in percentage points."""
    return f"{100 * difference:z.{decimals}f}".replace("-", "\u2212")


def signed_points(difference: float, decimals: int = 0) -> str:
    """A gain or a loss, in percentage points, with its sign."""
    text = points(difference, decimals)
    return text if text.startswith("\u2212") or not float(text) else f"+{text}"


def share(value: float | None) -> str:
    """A percentage, or a dash where it was not measured."""
    return "\u2013" if value is None else percent(value, 1)


def seconds(value: float | None) -> str:
    """Seconds with three significant digits, or a dash."""
    return "\u2013" if value is None else f"{value:.3g}{NBSP}s"


def few_images(images: int) -> str:
    """`only 3 images`, where a band stands on so few that its figures say little; images: 0 where nobody counted."""
    return f"only {images} image{'s' if images > 1 else ''}" if 0 < images < FEW_IMAGES else ""


def interval(ci95: Interval | None) -> str:
    """`55 to 61 %`."""
    if ci95 is None:
        return "no interval: one image"
    return f"{percent(ci95.low).removesuffix(f'{NBSP}%')} to {percent(ci95.high)}"
