"""Recall@IoU of grounded regions, as LVIS counts it, by frequency band.

Regions are matched one to one with true ones within an image and a concept, greedily by descending score: the
matching of `LVISEval` (https://github.com/lvis-dataset/lvis-api). A test compares every recall with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from evaluation.bands import BANDS
from evaluation.bootstrap import RESAMPLES, Interval, interval95, resampled_sums
from evaluation.metrics import OVERALL, band_groups

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
IOU_NAMES: Mapping[str, tuple[int, ...]] = {"0.5": (0,), "0.75": (5,), "0.5:0.95": tuple(range(10))}
"""What is reported -> the thresholds whose recalls are averaged."""
HEADLINE_IOU = "0.5"
MOST_REGIONS_AN_IMAGE = 300

GROUNDING_RECALL_SCHEMA = pa.schema(
    [
        ("band", pa.string()),
        ("iou", pa.string()),
        ("micro", pa.float64()),
        ("macro", pa.float64()),
        ("ci95_low", pa.float64()),
        ("ci95_high", pa.float64()),
        ("support", pa.int64()),
        ("tags", pa.int32()),
    ]
)


@dataclass(frozen=True, slots=True)
class Matching:
    """Which region was matched with which true one, at each of `IOU_THRESHOLDS`."""

    images: pa.Array  # string [images]: those with a true region
    concepts: pa.Array  # string [concepts] with a true region, ascending
    image: NDArray[np.int64]  # [true regions], position in `images`
    concept: NDArray[np.int64]  # [true regions], position in `concepts`
    region: NDArray[np.int64]  # [thresholds, true regions]: row of the regions given, -1 for none
    over_the_cap: int  # regions beyond MOST_REGIONS_AN_IMAGE, left out


@dataclass(frozen=True, slots=True)
class GroundingFigure:
    """Recall of the true regions of one band; `ci95` is that of `micro`, None for a single image."""

    band: str
    iou: str  # a key of IOU_NAMES
    micro: float  # 0..1
    macro: float  # 0..1
    support: int  # true regions
    tags: int  # concepts with true regions
    ci95: Interval | None = None


@dataclass(frozen=True, slots=True)
class GroundingEvaluation:
    """How many of the true regions were found. Bands without true regions are absent."""

    images: int  # with a true region
    recall: tuple[GroundingFigure, ...]
    gap: tuple[float, Interval | None] | None  # overall minus tail, micro at HEADLINE_IOU; None without tail
    resamples: int
    over_the_cap: int

    def figure(self, band: str, iou: str = HEADLINE_IOU) -> GroundingFigure | None:
        return next((figure for figure in self.recall if (figure.band, figure.iou) == (band, iou)), None)

    def rows(self) -> pa.Table:
        """The figures as rows of `GROUNDING_RECALL_SCHEMA`, for the lake."""
        rows = [
            {
                **{name: getattr(f, name) for name in ("band", "iou", "micro", "macro", "support", "tags")},
                "ci95_low": f.ci95 and f.ci95.low,
                "ci95_high": f.ci95 and f.ci95.high,
            }
            for f in self.recall
        ]
        return pa.Table.from_pylist(rows, schema=GROUNDING_RECALL_SCHEMA)


def match_regions(truth: pa.Table, regions: pa.Table) -> Matching:
    """Match regions with true ones, one to one within an image and a concept.

    Regions go by descending score, ties by region id; each takes the free true region that it overlaps most,
    if that is at least the threshold. Of an image only the best MOST_REGIONS_AN_IMAGE count, over all
    concepts.

    Args:
        truth: `id` (image), `concept_id`, `bbox` (x, y, width, height), at least one row.
        regions: `id`, `region_id`, `concept_id` (or null, which matches nothing), `bbox` in the unit of the
            truth's, `score` (larger is better).

    Raises:
        ValueError: there is no true region.
    """
    if truth.num_rows == 0:
        raise ValueError(
            "the ground truth has no regions, so there is nothing to measure their recall against"
        )
    images = pc.unique(truth["id"].cast(pa.string()))
    concepts = pc.unique(truth["concept_id"].cast(pa.string())).sort()
    image, concept = _positions(truth["id"], images), _positions(truth["concept_id"], concepts)
    true_boxes, boxes = _boxes(truth["bbox"]), _boxes(regions["bbox"])

    order = _best_first(regions)
    kept = order[_rank_in_image(regions, order) < MOST_REGIONS_AN_IMAGE]
    key = _positions(regions["id"], images) * len(concepts) + _positions(regions["concept_id"], concepts)
    known = (_positions(regions["id"], images) >= 0) & (_positions(regions["concept_id"], concepts) >= 0)
    rows_of = _group(np.where(known, key, -1)[kept], kept)

    matched = np.full((len(IOU_THRESHOLDS), truth.num_rows), -1)
    for group, true_rows in _group(image * len(concepts) + concept, np.arange(truth.num_rows)).items():
        rows = rows_of.get(group)
        if rows is not None:
            overlap = box_iou(boxes[rows], true_boxes[true_rows])
            for t, threshold in enumerate(IOU_THRESHOLDS):
                takers = _assign(overlap, float(threshold))
                matched[t, true_rows] = np.where(takers >= 0, rows[takers], -1)
    return Matching(images, concepts, image, concept, matched, regions.num_rows - len(kept))


def grounding_recall(
    matching: Matching, bands: pa.Table, resamples: int = RESAMPLES, seed: int = 0
) -> GroundingEvaluation:
    """Recall of the true regions by band, at each of `IOU_NAMES`.

    Micro: true regions found / true regions. Macro: the mean over concepts, LVISEval's recall. The interval
    is a bootstrap over the images that have a true region.

    Args:
        bands: of `bands.frequency_bands`; concepts without true regions count for nothing.
    """
    concept, found = matching.concept, matching.region >= 0
    hits = np.stack([found[list(rows)].mean(axis=0) for rows in IOU_NAMES.values()], axis=1)
    with_regions = bands.filter(pc.is_in(bands["concept_id"], value_set=matching.concepts))
    groups = band_groups(with_regions, matching.concepts)

    positives = np.zeros((len(matching.images), len(groups)))
    found_by_image = np.zeros((len(matching.images), len(groups), len(IOU_NAMES)))
    for g, members in enumerate(groups.values()):
        chosen = members[concept]
        np.add.at(positives[:, g], matching.image[chosen], 1)
        np.add.at(found_by_image[:, g], matching.image[chosen], hits[chosen])
    sums = resampled_sums(
        np.concatenate([positives, found_by_image.reshape(len(positives), -1)], axis=1), resamples, seed
    )
    true_sums = sums[:, : len(groups), None]
    found_sums = sums[:, len(groups) :].reshape(resamples, len(groups), len(IOU_NAMES))
    rates = np.divide(found_sums, true_sums, out=np.full_like(found_sums, np.nan), where=true_sums > 0)

    support = np.bincount(concept, minlength=len(matching.concepts))
    figures, samples = [], {}
    for g, (name, members) in enumerate(groups.items()):
        has_interval = np.count_nonzero(positives[:, g]) > 1
        for j, iou in enumerate(IOU_NAMES):
            samples[name, iou] = rates[:, g, j]
            by_concept = np.bincount(concept, hits[:, j], minlength=len(support)) / support
            figures.append(
                GroundingFigure(
                    band=name,
                    iou=iou,
                    micro=float(hits[members[concept], j].mean()),
                    macro=float(by_concept[members].mean()),
                    support=int(support[members].sum()),
                    tags=int(members.sum()),
                    ci95=interval95(rates[:, g, j]) if has_interval else None,
                )
            )
    gap = _gap(figures, samples)
    return GroundingEvaluation(len(matching.images), tuple(figures), gap, resamples, matching.over_the_cap)


def box_iou(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of boxes [n, 4] and [m, 4], xywh: [n, m], 0..1."""
    a, b = boxes[:, None], others[None]
    sides = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = sides.clip(min=0).prod(axis=-1)
    union = a[..., 2] * a[..., 3] + b[..., 2] * b[..., 3] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _assign(overlap: NDArray[np.float64], threshold: float) -> NDArray[np.int64]:
    """For each column of `overlap` [regions, true regions] the row that takes it, -1 for none."""
    takers = np.full(overlap.shape[1], -1)
    for row, overlaps in enumerate(overlap):
        free = np.where(takers < 0, overlaps, -1.0)
        # of equally good ones the last, as LVISEval does
        best = len(free) - 1 - int(np.argmax(free[::-1]))
        if free[best] >= min(threshold, 1 - 1e-10):
            takers[best] = row
    return takers


def _best_first(regions: pa.Table) -> NDArray[np.int64]:
    """Rows by image, then descending score, then region id."""
    score = regions["score"].cast(pa.float64()).to_numpy()
    if np.isnan(score).any():
        raise ValueError(f"{int(np.isnan(score).sum())} regions have a score that is no number")
    ids = regions["region_id"].cast(pa.string()).to_numpy().astype(str)
    return np.lexsort((ids, -score, _codes(regions["id"])))


def _rank_in_image(regions: pa.Table, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each place of `order`, how many regions of its image come before."""
    image = _codes(regions["id"])[order]
    return np.arange(len(image)) - np.searchsorted(image, image)


def _group(keys: NDArray[np.int64], rows: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Key -> its rows, in their order; negative keys are left out."""
    order = np.argsort(keys, kind="stable")
    unique, starts = np.unique(keys[order], return_index=True)
    parts = np.split(rows[order], starts[1:])
    return {int(key): part for key, part in zip(unique, parts, strict=len(unique) > 0) if key >= 0}


def _gap(
    figures: list[GroundingFigure], samples: Mapping[tuple[str, str], NDArray[np.float64]]
) -> tuple[float, Interval | None] | None:
    at = {f.band: f for f in figures if f.iou == HEADLINE_IOU}
    tail = at.get(BANDS[-1])
    if tail is None:
        return None
    differences = samples[OVERALL, HEADLINE_IOU] - samples[tail.band, HEADLINE_IOU]
    return at[OVERALL].micro - tail.micro, interval95(differences) if tail.ci95 else None


def _boxes(column: pa.ChunkedArray) -> NDArray[np.float64]:
    flat = pc.list_flatten(column).to_numpy().astype(np.float64)
    return flat.reshape(-1, 4)


def _codes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    return _positions(column, pc.unique(column.cast(pa.string())))


def _positions(values: pa.ChunkedArray, known: pa.Array) -> NDArray[np.int64]:
    positions = pc.index_in(values.cast(pa.string()), value_set=known, skip_nulls=True)
    return np.asarray(pc.fill_null(positions, -1).to_numpy(), np.int64)
