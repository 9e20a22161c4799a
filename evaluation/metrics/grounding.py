"""Recall and average precision of grounded regions, as LVIS counts them, by frequency band.

Recall@IoU is that of `LVISEval` (https://github.com/lvis-dataset/lvis-api), average precision too; tests compare
them with it. docs/metrics.md has the formulas.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from evaluation.metrics.band_rates import BandRates, band_rates
from evaluation.metrics.bands import RARE_BAND
from evaluation.metrics.detection_ap import average_precision
from evaluation.metrics.intervals import Interval
from evaluation.metrics.matching import Matching
from evaluation.metrics.recall_at_k import OVERALL, band_groups

IOU_NAMES: Mapping[str, tuple[int, ...]] = {"0.5": (0,), "0.75": (5,), "0.5:0.95": tuple(range(10))}
"""What is reported -> the thresholds whose figures are averaged."""
HEADLINE_IOU = "0.5"
GROUNDING_CONCEPTS_SCHEMA = pa.schema(
    [
        ("concept_id", pa.string()),
        ("support", pa.int64()),  # true regions
        *((f"recall@{iou}", pa.float64()) for iou in IOU_NAMES),
        *((f"average_precision@{iou}", pa.float64()) for iou in IOU_NAMES),
    ]
)


@dataclass(frozen=True, slots=True)
class GroundingFigure:
    """The true regions of one band; `ci95` is that of `micro`, None for a single image."""

    band: str
    iou: str  # a key of IOU_NAMES
    micro: float  # recall, 0..1
    macro: float  # recall, 0..1
    support: int  # true regions
    tags: int  # concepts with true regions
    ci95: Interval | None = None
    mean_average_precision: float | None = None  # 0..1


@dataclass(frozen=True, slots=True)
class GroundingEvaluation:
    """How many of the true regions were found. Bands without true regions are absent."""

    images: int  # with a true region
    recall: tuple[GroundingFigure, ...]
    gap: tuple[float, Interval | None] | None  # overall minus tail, micro at HEADLINE_IOU; None without tail
    over_the_cap: int

    def figure(self, band: str, iou: str = HEADLINE_IOU) -> GroundingFigure | None:
        return next((figure for figure in self.recall if (figure.band, figure.iou) == (band, iou)), None)


def grounding_recall(
    matching: Matching, bands: pa.Table, precision: NDArray[np.float64] | None = None
) -> GroundingEvaluation:
    """Recall of the true regions by band, and mean average precision, at each of `IOU_NAMES`.

    Micro: true regions found / true regions. Macro: the mean over concepts: over all of them LVISEval's recall,
    and pycocotools' AR if the matching has its cap. Mean average precision: the mean over concepts, LVISEval's AP,
    of the bands rare, common and frequent its APr, APc and APf. The interval is over the images
    that have a true region.

    Args:
        matching: of `match_regions`.
        bands: of `bands.frequency_bands`; concepts without true regions count for nothing.
        precision: of `precision_by_concept`, where it is known already.

    Returns:
        A figure a band and IoU, and the gap between all regions and those of the tail.
    """
    truth = ~matching.crowd
    image, hits = matching.image[truth], _hits(matching)[truth]
    known = bands.filter(pc.is_in(bands["concept_id"], value_set=matching.concepts))
    groups = band_groups(known, matching.concepts)
    rates = band_rates(image, matching.concept[truth], hits, groups)
    precision = precision_by_concept(matching) if precision is None else precision
    figures = tuple(
        GroundingFigure(
            band=band,
            iou=iou,
            micro=float(of.micro[j]),
            macro=float(of.macro[j]),
            support=of.support,
            tags=of.tags,
            ci95=of.ci95(j),
            mean_average_precision=float(np.nanmean(precision[groups[band], j])),
        )
        for band, of in rates.items()
        for j, iou in enumerate(IOU_NAMES)
    )
    return GroundingEvaluation(len(np.unique(image)), figures, _gap(rates), matching.over_the_cap)


def recall_by_concept(matching: Matching, precision: NDArray[np.float64] | None = None) -> pa.Table:
    """Recall and average precision of each concept that has true regions: GROUNDING_CONCEPTS_SCHEMA."""
    precision = precision_by_concept(matching) if precision is None else precision
    truth, support = ~matching.crowd, matching.support
    found = [np.bincount(matching.concept[truth], h, len(support)) for h in _hits(matching)[truth].T]
    with np.errstate(invalid="ignore"):
        columns = [matching.concepts, support, *(f / support for f in found), *precision.T]
    arrays = [
        pa.array(column, field.type) for column, field in zip(columns, GROUNDING_CONCEPTS_SCHEMA, strict=True)
    ]
    return pa.table(arrays, schema=GROUNDING_CONCEPTS_SCHEMA).filter(pa.array(support > 0))


def _hits(matching: Matching) -> NDArray[np.float64]:
    """[true rows, IOU_NAMES]: at what share of the thresholds each was found."""
    found = matching.region >= 0
    return np.stack([found[list(rows)].mean(axis=0) for rows in IOU_NAMES.values()], axis=1)


def precision_by_concept(matching: Matching) -> NDArray[np.float64]:
    """Average precision: float64 [concepts, IOU_NAMES], 0..1; NaN for a concept without true regions."""
    precision = average_precision(matching)
    return np.stack([precision[list(rows)].mean(axis=0) for rows in IOU_NAMES.values()], axis=1)


def _gap(rates: Mapping[str, BandRates]) -> tuple[float, Interval | None] | None:
    overall, tail = rates.get(OVERALL), rates.get(RARE_BAND)
    if overall is None or tail is None:
        return None
    j = list(IOU_NAMES).index(HEADLINE_IOU)
    return float(overall.micro[j] - tail.micro[j]), overall.ci95_of_gap(tail, j)
