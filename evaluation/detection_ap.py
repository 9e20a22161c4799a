"""Average precision of regions, as LVISEval and COCOeval count it."""

import numpy as np
from numpy.typing import NDArray

from evaluation.matching import IOU_THRESHOLDS, Matching

RECALL_POINTS = np.linspace(0, 1, 101)


def average_precision(matching: Matching) -> NDArray[np.float64]:
    """Average precision of each concept at each threshold: float64 [thresholds, concepts], 0..1.

    All regions of a concept are ranked by score, equal ones by image and then as within the image. Precision at a
    recall is the best one at that recall or a higher one, read at the 101 points of `RECALL_POINTS`, 0 where
    the recall is not reached (`accumulate` of both evaluations). The mean over concepts and thresholds is their AP.
    NaN for a concept that has no region to be found.
    """
    support = matching.support
    order = np.lexsort((-matching.score, matching.counted_concept))
    rows, concept, forgiven = (
        of[order] for of in (matching.counted, matching.counted_concept, matching.forgiven)
    )
    before = np.searchsorted(concept, np.arange(len(support)))
    needed = _needed(support)

    precision = np.full((len(IOU_THRESHOLDS), len(support)), np.nan)
    right_rows = np.zeros(max(rows, default=-1) + 1, bool)
    for t, takers in enumerate(matching.region):
        right_rows[:] = False
        right_rows[takers[takers >= 0]] = True
        right = right_rows[rows]
        hits = np.flatnonzero(right)
        of = concept[hits]
        found = np.bincount(of, minlength=len(support))
        first_hit = np.cumsum(found) - found
        ranked = np.concatenate([[0], np.cumsum(right | (forgiven <= t))])
        nth = np.arange(1, len(hits) + 1) - first_hit[of]
        at_hit = nth / (ranked[hits + 1] - ranked[before[of]] + np.spacing(1))
        best = np.append(_best_from_here_on(at_hit, of), 0.0)
        reached = needed <= found[:, None]
        points = best[np.where(reached, first_hit[:, None] + needed - 1, len(hits))]
        precision[t, support > 0] = points.mean(axis=1)[support > 0]
    return precision


def _needed(support: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of the true regions must be found for each recall: [concepts, points], at least 1.

    As floats compare: the smallest n with `n / support >= recall`.
    """
    of = np.maximum(support, 1)[:, None]
    near = np.ceil(RECALL_POINTS * of)
    near -= (near - 1) / of >= RECALL_POINTS
    near += near / of < RECALL_POINTS
    return np.maximum(near, 1).astype(np.int64)


def _best_from_here_on(values: NDArray[np.float64], group: NDArray[np.int64]) -> NDArray[np.float64]:
    """The largest value of the same group (ascending) at this place or a later one."""
    ascending = np.sort(values)
    rank = np.searchsorted(ascending, values)
    later_groups_rank_lower = (group.max(initial=0) - group) * len(values)
    running = np.maximum.accumulate((rank + later_groups_rank_lower)[::-1])[::-1]
    return ascending[running - later_groups_rank_lower]
