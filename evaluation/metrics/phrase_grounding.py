"""Phrase grounding: is the best region for a phrase where one of the things that it names is?

Top-1 accuracy at an IoU, as on Flickr30k Entities (Plummer et al., ICCV 2015), of several true boxes any one counts
(the "any box" protocol; Kamath et al., "MDETR", ICCV 2021, section 4.2). A phrase is a concept of an image.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from evaluation.metrics.band_rates import band_rates
from evaluation.metrics.intervals import Interval
from evaluation.metrics.recall_at_k import band_groups
from evaluation.metrics.region_tables import best_first, boxes, equal_keys, in_order, positions, scores
from resources.boxes import paired_iou

PHRASE_IOU = 0.5


@dataclass(frozen=True, slots=True)
class PhraseFigure:
    """The phrases of one band whose best region is right; `ci95` is that of `micro`, None for a single image."""

    band: str
    micro: float  # 0..1, of the phrases
    macro: float  # 0..1, the mean over concepts
    support: int  # phrases
    tags: int  # concepts
    ci95: Interval | None = None


def grounded_phrases(truth: pa.Table, regions: pa.Table, min_iou: float = PHRASE_IOU) -> pa.Table:
    """For each (image, concept) of the truth, whether its best region is where a true one is.

    Args:
        truth, regions: as `matching.match_regions` takes them. The best region of a phrase is the one with the
            highest score, of equal ones the first by region id; a phrase without a region is not grounded. A crowd
            is as true as any other box.
        min_iou: of the best region with the true box that it overlaps most.

    Returns:
        `id`, `concept_id`, `iou` (0..1, of the best region with the true box that it overlaps most, 0
        without a region) and `grounded` (bool), one row a phrase, by image and concept.
    """
    images, concepts = in_order(truth["id"]), in_order(truth["concept_id"])

    def keys(table: pa.Table) -> NDArray[np.int64]:
        image, concept = positions(table["id"], images), positions(table["concept_id"], concepts)
        return np.where((image >= 0) & (concept >= 0), image * len(concepts) + concept, -1)

    of_truth, of_regions = keys(truth), keys(regions)
    rows = np.flatnonzero(of_regions >= 0)
    rows = best_first(rows, of_regions, scores(regions, "regions"), regions["region_id"])
    asked, first = np.unique(of_regions[rows], return_index=True)

    phrases = np.unique(of_truth)
    overlap = np.zeros(len(phrases))
    best, true = boxes(regions, "regions")[rows[first]], boxes(truth, "ground truth")
    for region, true_row in equal_keys(asked, of_truth):
        phrase = np.searchsorted(phrases, asked[region])
        np.maximum.at(overlap, phrase, paired_iou(best[region], true[true_row]))
    return pa.table(
        {
            "id": images.take(pa.array(phrases // len(concepts))),
            "concept_id": concepts.take(pa.array(phrases % len(concepts))),
            "iou": overlap,
            "grounded": overlap >= min_iou,
        }
    )


def phrase_grounding(phrases: pa.Table, bands: pa.Table) -> tuple[PhraseFigure, ...]:
    """Of the phrases of each band the share that is grounded, with its interval over images.

    Args:
        phrases: of `grounded_phrases`.
        bands: of `bands.frequency_bands`.

    Returns:
        A figure a band that has phrases, `overall` first.
    """
    concepts = in_order(phrases["concept_id"])
    groups = band_groups(bands.filter(pc.is_in(bands["concept_id"], value_set=concepts)), concepts)
    hits: NDArray[np.float64] = phrases["grounded"].to_numpy().astype(np.float64)[:, None]
    image = positions(phrases["id"], in_order(phrases["id"]))
    rates = band_rates(image, positions(phrases["concept_id"], concepts), hits, groups)
    return tuple(
        PhraseFigure(band, float(of.micro[0]), float(of.macro[0]), of.support, of.tags, of.ci95(0))
        for band, of in rates.items()
    )
