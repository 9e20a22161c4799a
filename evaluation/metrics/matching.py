"""Which region finds which true one: the greedy matching of LVISEval and COCOeval, all pictures at once.

Both evaluations (https://github.com/lvis-dataset/lvis-api, https://github.com/cocodataset/cocoapi) let the regions
of an image and a concept choose one after another, best score first, each taking the free true region that
it overlaps most. Where all chosen rank their choosers alike, as here by score, that is the one stable matching (Gale
and Shapley, 1962), which rounds of simultaneous proposals find too: a few rounds over all images, concepts
and thresholds instead of a loop over each. docs/decisions/0005 has what else was tried, and the times.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from evaluation.metrics.region_tables import (
    Rows,
    best_first,
    boxes,
    equal_keys,
    in_order,
    indices,
    positions,
    rank_in_group,
    scores,
)
from resources.boxes import paired_iou, shared_area

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)


@dataclass(frozen=True, slots=True)
class Cap:
    """How many regions count, the best by score: of an image, or of each of its concepts."""

    regions: int
    each_concept: bool = False


class Overlap(Protocol):
    """Of regions with true ones, both by their rows in the tables."""

    def __call__(self, rows: Rows, true_rows: Rows) -> NDArray[np.float64]:
        """Intersection over union of each region with its true one: float64 [rows], 0..1."""

    def in_crowd(self, rows: Rows, true_rows: Rows) -> NDArray[np.float64]:
        """The share of each region that lies in its crowd: float64 [rows], 0..1."""


EVERY_AREA = (0.0, float("inf"))
AREAS = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, float("inf"))}
"""COCO's and LVIS's, in pixels of the image."""
LVIS_CAP = Cap(300)
COCO_CAP = Cap(100, each_concept=True)


@dataclass(frozen=True, slots=True)
class Matching:
    """Which region was matched with which true one, at each of `IOU_THRESHOLDS`, and which count for precision.

    "True rows" and "rows of the regions" are those of the tables given to `match_regions`.
    """

    images: pa.Array  # string [images]: those that are evaluated, in the order of `region_tables.in_order`
    concepts: pa.Array  # string [concepts] with a true region, ascending
    image: Rows  # [true rows], position in `images`
    concept: Rows  # [true rows], position in `concepts`
    crowd: NDArray[np.bool_]  # [true rows]: a crowd, which nobody has to find
    region: Rows  # [thresholds, true rows]: row of the regions, -1 for none and for a crowd
    counted: Rows  # [counted], rows of the regions that are right or wrong; by image, then best first
    counted_concept: Rows  # [counted], position in `concepts`
    score: NDArray[np.float64]  # [counted]
    forgiven: NDArray[np.bool_]  # [thresholds, counted]: it is not wrong if it finds nothing
    over_the_cap: int  # regions of evaluated images beyond the cap, left out

    @property
    def support(self) -> NDArray[np.int64]:
        """int64 [concepts]: true regions that are to be found."""
        return np.bincount(self.concept[~self.crowd], minlength=len(self.concepts))


def match_regions(
    truth: pa.Table,
    regions: pa.Table,
    *,
    negatives: pa.Table | None = None,
    not_exhaustive: pa.Table | None = None,
    images: Sequence[str] | None = None,
    cap: Cap = LVIS_CAP,
    area: tuple[float, float] = EVERY_AREA,
    overlap: Overlap | None = None,
    groups_once: bool = False,
) -> Matching:
    """Match regions with true ones, one to one within an image and a concept.

    Regions go by descending score, ties by region id; each takes the free true region that it overlaps most,
    the last of equal ones, if that is at least the threshold. With `LVIS_CAP` and `negatives` these are the rules of
    LVISEval, with `COCO_CAP`, `crowd` and no `negatives` those of COCOeval. Recall depends on none of
    `negatives`, `not_exhaustive` and `images`; precision does.

    Args:
        truth: `id` (image), `concept_id`, `bbox` (x, y, width, height), at least one row; and, where there are
            any, `crowd` (bool): a box around many, which nobody has to find and in which nothing is wrong. Of
            a crowd's overlap the region alone is the whole, as COCOeval has it; LVIS has no crowds.
        regions: `id`, `region_id`, `concept_id` (or null, which matches nothing), `bbox` in the unit of the
            truth's, `score` (larger is better).
        negatives: `id`, `concept_id`: concepts that somebody looked for in an image and did not find. If given, the
            truth is federated: a region of a concept that nobody looked for is neither right nor wrong.
        not_exhaustive: `id`, `concept_id`: not all regions are marked, so what finds nothing is not wrong.
        images: all evaluated images, by default those of `truth` and `negatives`. Regions of others are left out.
        cap: regions beyond it are left out, whatever they say, before all else.
        area: of the true regions that are to be found, from and to (both within) in the unit of the boxes, squared;
            the truth's column `area` where it has one. Others need not be found: what finds one, or finds nothing and
            is of another area itself, is not wrong.
        groups_once: a crowd is to be found like any other, by the best region that lies in it and finds nothing else, as
            the OpenImages challenge has its groups; else it need not be found.
        overlap: of masks, say; by default that of the boxes. With it comes `regions`' column `area`, if areas matter.

    Returns:
        Row numbers of the two tables, for every threshold.

    Raises:
        ValueError: there is no true region or one of an image that is not evaluated, a box is not four finite
            numbers, or a score is none.
    """
    crowd = _crowd(truth)
    elsewhere = ~crowd & ~_within(_areas(truth, "ground truth"), area)
    if crowd.all() and not groups_once:
        raise ValueError(
            "the ground truth has no regions, so there is nothing to measure their recall against"
        )
    evaluated = in_order(_ids(truth, negatives, images))
    concepts = pc.unique(truth["concept_id"].cast(pa.string())).sort()
    image, concept = positions(truth["id"], evaluated), positions(truth["concept_id"], concepts)
    if (image < 0).any():
        stranger = truth["id"][int(np.argmin(image))].as_py()
        raise ValueError(f"the ground truth has regions of image {stranger!r}, which is not evaluated")
    true_key = image * len(concepts) + concept
    true_boxes, all_boxes, all_scores = (
        boxes(truth, "ground truth"),
        boxes(regions, "regions"),
        scores(regions, "regions"),
    )

    on_image, of_concept = positions(regions["id"], evaluated), positions(regions["concept_id"], concepts)
    group = on_image * (len(concepts) + 1) + of_concept + 1 if cap.each_concept else on_image
    on_evaluated = np.flatnonzero(on_image >= 0)
    within = _within_cap(on_evaluated, group, all_scores, regions["region_id"], cap.regions)
    rows = within[of_concept[within] >= 0]
    key = on_image * len(concepts) + of_concept
    if negatives is not None:
        looked_for = np.union1d(true_key, _keys(negatives, evaluated, concepts))
        rows = rows[indices(key[rows], looked_for) >= 0]
    rows = best_first(rows, on_image, all_scores, regions["region_id"])
    key = key[rows]

    overlap = overlap or _BoxOverlap(all_boxes, true_boxes)
    found = _match(overlap, rows, key, np.where(crowd | elsewhere, -1, true_key))
    if groups_once:
        found = np.maximum(found, _finds_a_group(overlap, rows, key, np.where(crowd, true_key, -1), found))
    forgiven = np.arange(len(IOU_THRESHOLDS))[:, None] < _in_a_crowd(overlap, rows, key, crowd, true_key)
    if area != EVERY_AREA:
        forgiven |= ~_within(_areas(regions, "regions")[rows], area)
        forgiven |= _finds_another(overlap, rows, key, np.where(elsewhere, true_key, -1), found)
    if not_exhaustive is not None:
        forgiven |= indices(key, np.unique(_keys(not_exhaustive, evaluated, concepts))) >= 0
    return Matching(
        images=evaluated,
        concepts=concepts,
        image=image,
        concept=concept,
        crowd=elsewhere if groups_once else crowd | elsewhere,
        region=np.where(found >= 0, rows[found] if len(rows) else -1, -1),
        counted=rows,
        counted_concept=of_concept[rows],
        score=all_scores[rows],
        forgiven=forgiven,
        over_the_cap=len(on_evaluated) - len(within),
    )


def _within_cap(
    rows: Rows, group: Rows, score: NDArray[np.float64], names: pa.ChunkedArray, most: int
) -> Rows:
    """The rows without those beyond the best `most` of their group."""
    _, of, sizes = np.unique(group[rows], return_inverse=True, return_counts=True)
    too_many = sizes[of] > most
    if not too_many.any():
        return rows
    ranked = best_first(rows[too_many], group, score, names)
    return np.concatenate([rows[~too_many], ranked[rank_in_group(group[ranked]) < most]])


@dataclass(frozen=True, slots=True)
class _BoxOverlap:
    found: NDArray[np.float64]
    true: NDArray[np.float64]

    def __call__(self, rows: Rows, true_rows: Rows) -> NDArray[np.float64]:
        return paired_iou(self.found[rows], self.true[true_rows])

    def in_crowd(self, rows: Rows, true_rows: Rows) -> NDArray[np.float64]:
        shared = shared_area(self.found[rows], self.true[true_rows])
        area = self.found[rows, 2] * self.found[rows, 3]
        return np.divide(shared, area, out=np.zeros_like(shared), where=area > 0)


def _match(overlap: Overlap, rows: Rows, key: Rows, true_key: Rows) -> Rows:
    """Which of the regions [n] by their rows, in the order in which they choose, gets each true one [m] of its key.

    Returns int64 [thresholds, m]: position in `rows`, -1 for none.
    """
    chooser, chosen, level = _wishes(overlap, rows, key, true_key)
    first = np.flatnonzero(np.diff(chooser, prepend=-1))
    choosers, n, m = chooser[first], len(first), len(true_key)
    above = np.arange(len(IOU_THRESHOLDS))[:, None] < level
    wishes = (
        np.add.reduceat(above, first, axis=1, dtype=np.int64) if n else np.empty((len(above), 0), np.int64)
    )

    # Thresholds do not meet: (threshold, chooser) proposes to (threshold, true one). The smaller number has
    # the better score, so a true one keeps the smallest.
    wish = np.tile(first, len(above))
    last = wish + wishes.ravel()
    nobody = len(wish)
    kept = np.full(len(above) * m, nobody)
    proposing = np.flatnonzero(wish < last)
    while proposing.size:
        wanted = proposing // n * m + chosen[wish[proposing]]
        before = kept[wanted]
        np.minimum.at(kept, wanted, proposing)
        after = kept[wanted]
        replaced = np.unique(before[(before != after) & (before != nobody)])
        refused = np.concatenate([proposing[after != proposing], replaced])
        wish[refused] += 1
        proposing = refused[wish[refused] < last[refused]]
    return np.append(np.tile(choosers, len(above)), -1)[kept].reshape(len(above), m)


def _wishes(overlap: Overlap, rows: Rows, key: Rows, true_key: Rows) -> tuple[Rows, Rows, Rows]:
    """Pairs of a region and a true one of its key that overlap enough for the lowest threshold.

    By region, then descending overlap, the last of equal ones first: position and row of both, and at how many thresholds
    they overlap enough.
    """
    parts = [(np.empty(0, np.int64),) * 3]
    for row, true_row in equal_keys(key, true_key):
        iou = overlap(rows[row], true_row)
        near = np.flatnonzero(iou >= IOU_THRESHOLDS[0])
        row, true_row, iou = row[near], true_row[near], iou[near]
        order = np.lexsort((-true_row, -iou, row))
        level = np.searchsorted(IOU_THRESHOLDS, iou[order], side="right")
        parts.append((row[order], true_row[order], level))
    row, true_row, level = (np.concatenate(column) for column in zip(*parts, strict=True))
    return row, true_row, level


def _in_a_crowd(overlap: Overlap, rows: Rows, key: Rows, crowd: NDArray[np.bool_], true_key: Rows) -> Rows:
    """Of each region [n], at how many thresholds enough of it lies in a crowd of its key: int64 [n]."""
    share, crowds = np.zeros(len(rows)), np.flatnonzero(crowd)
    for row, of in equal_keys(key, true_key[crowds]):
        np.maximum.at(share, row, overlap.in_crowd(rows[row], crowds[of]))
    return np.searchsorted(IOU_THRESHOLDS, share, side="right")


def _finds_a_group(overlap: Overlap, rows: Rows, key: Rows, group_key: Rows, found: Rows) -> Rows:
    """The best region that lies in each group most of all groups and finds nothing else: [thresholds, m], -1 for none."""
    share, group = np.zeros(len(rows)), np.full(len(rows), -1)
    for row, of in equal_keys(key, group_key):
        inside = overlap.in_crowd(rows[row], of)
        order = np.argsort(inside, kind="stable")
        np.maximum.at(share, row, inside)
        group[row[order]] = of[order]
    finds = np.full((len(IOU_THRESHOLDS), len(group_key)), -1)
    for t, takers in enumerate(found):
        free = np.flatnonzero((share >= IOU_THRESHOLDS[t]) & (group >= 0))
        free = np.setdiff1d(free, takers)[::-1]  # the best of an image comes first, so it is written last
        finds[t, group[free]] = free
    return finds


def _finds_another(
    overlap: Overlap, rows: Rows, key: Rows, other_key: Rows, found: Rows
) -> NDArray[np.bool_]:
    """[thresholds, n]: regions that find none that counts, but one that need not be found; one each, best first."""
    finds = np.zeros((len(IOU_THRESHOLDS), len(rows)), bool)
    for t, takers in enumerate(found):
        free = np.ones(len(rows), bool)
        free[takers[takers >= 0]] = False
        of = _match(overlap, rows, np.where(free, key, -2), other_key)[t]
        finds[t, of[of >= 0]] = True
    return finds


def _areas(table: pa.Table, what: str) -> NDArray[np.float64]:
    """[rows]: of the column `area`, of the boxes where there is none."""
    sides = boxes(table, what)[:, 2:].prod(axis=1)
    if "area" not in table.column_names:
        return np.asarray(sides, np.float64)
    given = table["area"].cast(pa.float64()).to_numpy()
    return np.where(np.isnan(given), sides, given)


def _within(areas: NDArray[np.float64], area: tuple[float, float]) -> NDArray[np.bool_]:
    return (areas >= area[0]) & (areas <= area[1])


def _crowd(truth: pa.Table) -> NDArray[np.bool_]:
    if "crowd" not in truth.column_names:
        return np.zeros(truth.num_rows, bool)
    return truth["crowd"].fill_null(False).to_numpy().astype(bool)


def _ids(truth: pa.Table, negatives: pa.Table | None, images: Sequence[str] | None) -> pa.ChunkedArray:
    if images is not None:
        return pa.chunked_array([pa.array(images, pa.string())])
    named = [table["id"].cast(pa.string()) for table in (truth, negatives) if table is not None]
    return pa.chunked_array([chunk for ids in named for chunk in ids.chunks], pa.string())


def _keys(pairs: pa.Table, images: pa.Array, concepts: pa.Array) -> Rows:
    """Key of each (image, concept) pair that can matter."""
    image, concept = positions(pairs["id"], images), positions(pairs["concept_id"], concepts)
    return (image * len(concepts) + concept)[(image >= 0) & (concept >= 0)]
