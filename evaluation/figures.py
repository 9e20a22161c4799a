"""The figures of an evaluation: what there is to know about a run, and those of its tags."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.metrics.ablation import AblationRow
from evaluation.metrics.bands import BANDS, LVIS_BANDS, RARE_BAND, ZERO, frequency_bands
from evaluation.metrics.calibration import Reliability
from evaluation.metrics.captions import NamedObjects
from evaluation.metrics.f1 import F1Figure, f1_scores
from evaluation.metrics.grounding import GroundingEvaluation
from evaluation.metrics.intervals import Interval, Share
from evaluation.metrics.masks import MaskFigures
from evaluation.metrics.phrase_grounding import PhraseFigure
from evaluation.metrics.recall_at_k import (
    HEADLINE_K,
    KS,
    OVERALL,
    UNRANKED,
    Recall,
    RecallFigure,
    TagPairs,
    average_precision,
    band_groups,
    looked_for,
    pair_up,
    recall_at_k,
    tag_hits,
    true_ranks,
)
from evaluation.metrics.rows import ArrowRows, as_row
from resources.tables import TAG_FIGURES, TAG_RECALL, TEXT_FIGURES


@dataclass(frozen=True, slots=True)
class BandFigure:
    """A frequency band: how many tags it holds, and on how many images its tags stand."""

    tags: int
    min_images: int
    max_images: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Micro recall overall minus micro recall of the tail, both at HEADLINE_K, in -1..1."""

    value: float
    ci95: Interval | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """Which scored tags F1 takes as predicted: the first of each image, or those with enough score."""

    first: int | None = HEADLINE_K
    min_score: float | None = None

    def __post_init__(self) -> None:
        if (self.first is None) == (self.min_score is None):
            raise ValueError(
                "a cut is either a number of first tags or a least score, not both and not neither"
            )

    def chosen(self, pairs: TagPairs) -> np.ndarray:
        """bool [predicted pairs]"""
        return pairs.rank <= self.first if self.first is not None else pairs.score >= self.min_score


@dataclass(frozen=True, slots=True)
class Federated:
    """What stands beside the figures of a federated truth, in which not every tag was looked for in every image."""

    recall: tuple[RecallFigure, ...]  # ranked among what was looked for in each image
    plain_mean_average_precision: Mapping[str, float]  # what nobody looked for taken as absent
    plain_f1: tuple[F1Figure, ...]


@dataclass(frozen=True, slots=True)
class TagEvaluation:
    """How well the tags of a ground truth were recovered. Bands and figures without support are absent.

    Of a federated truth average precision and F1 are over the images in which a tag was looked for; recall is plain.
    """

    images: int  # evaluated
    ranked_concepts: int  # among which the first k were taken
    bands: Mapping[str, BandFigure]
    recall: tuple[RecallFigure, ...]
    mean_average_precision: Mapping[str, float]  # band -> 0..1
    f1: tuple[F1Figure, ...]
    f1_cut: Cut
    gap: Gap | None
    tags: Annotated[pa.Table, ArrowRows(TAG_FIGURES.schema)]  # a row a concept of the vocabulary, by rank
    ignored_image_rows: int  # predictions about images that are not evaluated
    ignored_concept_rows: int  # predictions of tags that are not ranked
    floor: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """band -> mean average precision of no prediction at all"""
    federated: Federated | None = None
    given_bands: bool = False  # rare, common and frequent are as the ground truth says, not counted on it
    absent_is_unknown: bool = False
    """The ground truth names what is there, and nobody looked for the rest: keywords of files. Recall alone is measured;
    what takes the unnamed for absent (average precision, F1) is not told."""

    def recall_figure(self, band: str, k: int = HEADLINE_K) -> RecallFigure | None:
        return next((figure for figure in self.recall if (figure.band, figure.k) == (band, k)), None)

    def f1_figure(self, band: str) -> F1Figure | None:
        return next((figure for figure in self.f1 if figure.band == band), None)

    def recall_rows(self) -> pa.Table:
        """The figures as rows of `tag_recall`, for the lake."""
        of_band = {
            f1.band: {
                "mean_average_precision": self.mean_average_precision[f1.band],
                "f1_micro": f1.micro,
                "f1_macro": f1.macro,
            }
            for f1 in self.f1
            if not self.absent_is_unknown
        }
        rows = [as_row(figure) | of_band.get(figure.band, {}) for figure in self.recall]
        return pa.Table.from_pylist(rows, schema=TAG_RECALL.schema)

    @property
    def zero_support_tags(self) -> list[str]:
        return self.tags.filter(pc.equal(self.tags["band"], ZERO))["concept_id"].to_pylist()


@dataclass(frozen=True, slots=True)
class RankedRecall:
    """Recall@k alone, of tags that are ranked in another way than those that the report is about."""

    ranked_concepts: int
    recall: tuple[RecallFigure, ...]


@dataclass(frozen=True, slots=True)
class TagFigures:
    """All figures of tags."""

    reported: TagEvaluation  # of the final tags, of the embeddings alone where there are none
    embeddings: RankedRecall | None = None  # of the embeddings, where the reported tags are others
    whole_vocabulary: RankedRecall | None = None  # ranked among all concepts, where some are not evaluated
    calibration: Mapping[str, Reliability] = field(default_factory=lambda: MappingProxyType({}))
    """of the probabilities of all reported tags, and of those of the tail"""

    def with_tags(self, tags: pa.Table) -> "TagFigures":
        """The same with other rows tag by tag: they are a table of their own in the lake."""
        return replace(self, reported=replace(self.reported, tags=tags))


@dataclass(frozen=True, slots=True)
class RegionFigures:
    """All figures of regions; None where there is nothing to compare."""

    grounding: GroundingEvaluation | None = None
    masks: MaskFigures | None = None


@dataclass(frozen=True, slots=True)
class Throughput:
    """How fast one asset worked, and on what."""

    images_per_second: float
    device: str


@dataclass(frozen=True, slots=True)
class LaneFigures:
    """The images of one lane of the routing, and what was said about them."""

    images: int
    reasons: Mapping[str, int]  # reason -> images; an image may have several
    tag_recall: float | None  # micro recall@HEADLINE_K of the final tags
    captions: NamedObjects | None
    descriptions: NamedObjects | None


@dataclass(frozen=True, slots=True)
class TextFigures:
    """All figures of texts; what was not measured is None or empty."""

    ocr: Share | None = None  # of the lines of text that are there, those that were read
    captions: NamedObjects | None = None
    schema_valid: Share | None = None  # of the descriptions, those whose first answer fits the schema
    lanes: Mapping[str, LaneFigures] = field(default_factory=lambda: MappingProxyType({}))

    def rows(self) -> pa.Table:
        """The shares as rows of `text_figures`, for the lake."""
        named: list[tuple[str, str | None, NamedObjects | None]] = [("caption", None, self.captions)]
        for lane, found in self.lanes.items():
            named += [("caption", lane, found.captions), ("description", lane, found.descriptions)]
        shares = [
            ("sign_recall", None, self.ocr),
            ("schema_valid", None, self.schema_valid),
            *(
                (f"{text}_{name}", lane, share)
                for text, lane, objects in named
                if objects
                for name, share in objects.shares.items()
            ),
        ]
        rows = [{"figure": figure, "lane": lane} | as_row(share) for figure, lane, share in shares if share]
        return pa.Table.from_pylist(rows, schema=TEXT_FIGURES.schema)


@dataclass(frozen=True, slots=True)
class Figures:
    """Every figure of one evaluated run; what was not measured is None or empty, and absent from the JSON."""

    tier: str
    images: int
    rejects: int
    tags: TagFigures | None = None
    regions: RegionFigures = RegionFigures()
    phrases: tuple[PhraseFigure, ...] = ()
    texts: TextFigures = TextFigures()
    ladder: tuple[AblationRow, ...] = ()
    throughput: Mapping[str, Throughput] = field(default_factory=lambda: MappingProxyType({}))


def compute_tag_figures(
    truth: pa.Table,
    predictions: pa.Table,
    concepts: Sequence[str],
    *,
    images: Sequence[str] | None = None,
    ranked_among: Sequence[str] | None = None,
    bands: pa.Table | None = None,
    negatives: pa.Table | None = None,
    f1_cut: Cut = Cut(),
) -> TagEvaluation:
    """Recall@k, average precision, F1 and the gap, by frequency band and by tag.

    Args:
        truth: `id`, `concept_id`, one row a true tag.
        predictions: `id`, `concept_id`, `score`, any subset of the pairs; rows about other images or concepts
            are counted and left out. Recall@k needs the best k of the ranked concepts for each image.
        concepts: the evaluated vocabulary, also the concepts that no image carries.
        images: the evaluated images; by default those that the truth names.
        ranked_among: the concepts that compete for the first k places, besides the evaluated ones. By default
            none: predictions are restricted to the evaluated vocabulary before they are ranked. Give the
            whole taxonomy here for the stricter figure of somebody who sees every suggestion.
        bands: of `frequency_bands`; by default with its default shares.
        negatives: `id`, `concept_id`: what was verified to be absent. If given, the truth is federated: what is
            neither in it nor here was not looked for and is neither right nor wrong.
        f1_cut: which of the scored tags F1 takes as predicted, by default the first HEADLINE_K of each image.

    Raises:
        ValueError: as `frequency_bands` and `metrics.pair_up` do, among others where there is no truth.
    """
    if bands is None:
        bands = frequency_bands(truth, concepts)
    pairs = pair_up(truth, predictions, [*concepts, *(ranked_among or ())], images)
    return evaluate_pairs(pairs, bands, negatives, f1_cut)


def evaluate_pairs(
    pairs: TagPairs,
    bands: pa.Table,
    negatives: pa.Table | None = None,
    f1_cut: Cut = Cut(),
    *,
    absent_is_unknown: bool = False,
) -> TagEvaluation:
    """As `compute_tag_figures`, of pairs that are encoded already."""
    ranks = true_ranks(pairs)
    groups = band_groups(bands, pairs.concepts)
    recall = recall_at_k(pairs, ranks, groups, KS)
    precision = average_precision(pairs)
    f1 = f1_scores(pairs, f1_cut.chosen(pairs), groups)
    federated, judged = None, pairs
    if negatives is not None:
        judged, kept = looked_for(pairs, negatives)
        among = recall_at_k(judged, true_ranks(judged), groups, KS)
        federated = Federated(among.figures, _means(precision, groups), f1)
        precision = average_precision(judged)
        f1 = f1_scores(judged, f1_cut.chosen(pairs)[kept], groups)

    best_rank = np.full(len(pairs.concepts), UNRANKED, np.int32)
    np.minimum.at(best_rank, pairs.true_tag, ranks)
    by_concept = {
        "found": tag_hits(pairs, ranks, HEADLINE_K),
        "best_rank": best_rank,
        "average_precision": np.full_like(precision, np.nan) if absent_is_unknown else precision,
    }
    return TagEvaluation(
        images=len(pairs.images),
        ranked_concepts=len(pairs.concepts),
        bands=_band_figures(bands),
        recall=recall.figures,
        mean_average_precision=_means(precision, groups),
        floor=_means(judged.tag_support / np.maximum(judged.tag_judged, 1), groups),
        f1=f1,
        f1_cut=f1_cut,
        gap=_gap(recall),
        tags=_tag_table(bands, pairs.concepts, by_concept),
        ignored_image_rows=pairs.ignored_image_rows,
        ignored_concept_rows=pairs.ignored_concept_rows,
        federated=federated,
        absent_is_unknown=absent_is_unknown,
    )


def _means(of_tags: np.ndarray, groups: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {name: float(of_tags[mask].mean()) for name, mask in groups.items()}


def ranked_recall(pairs: TagPairs, bands: pa.Table) -> RankedRecall:
    """Recall@k by band alone, of pairs that are encoded already."""
    recall = recall_at_k(pairs, true_ranks(pairs), band_groups(bands, pairs.concepts), KS)
    return RankedRecall(len(pairs.concepts), recall.figures)


def _gap(recall: Recall) -> Gap | None:
    overall, tail = recall.rates[OVERALL], recall.rates.get(RARE_BAND)
    if tail is None:
        return None
    column = KS.index(HEADLINE_K)
    return Gap(float(overall.micro[column] - tail.micro[column]), overall.ci95_of_gap(tail, column))


def _band_figures(bands: pa.Table) -> dict[str, BandFigure]:
    found = {}
    for column in ("band", "lvis_band"):
        counted = bands.group_by(column).aggregate(
            [("images", "count"), ("images", "min"), ("images", "max")]
        )
        for row in counted.to_pylist():
            found[row[column]] = BandFigure(row["images_count"], row["images_min"], row["images_max"])
    return {band: found[band] for band in (*BANDS, *LVIS_BANDS) if band in found}


def _tag_table(bands: pa.Table, concepts: pa.Array, by_concept: Mapping[str, np.ndarray]) -> pa.Table:
    position = pc.index_in(bands["concept_id"], value_set=concepts).to_numpy()
    images = bands["images"].to_numpy()
    found, best_rank, precision = (values[position] for values in by_concept.values())
    columns = {
        **{name: bands[name] for name in ("concept_id", "band", "lvis_band", "images", "rank")},
        "found": pa.array(found, pa.int32()),
        "recall": pa.array(found / np.maximum(images, 1), mask=images == 0),
        "best_rank": pa.array(best_rank, mask=best_rank == UNRANKED),
        "average_precision": pa.array(precision, mask=(images == 0) | np.isnan(precision)),
    }
    return pa.table(columns, schema=TAG_FIGURES.schema)
