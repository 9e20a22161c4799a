"""Average precision of regions, as LVISEval and COCOeval count it."""

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.matching import IOU_THRESHOLDS, Matching
from evaluation.metrics.region_tables import by_group_and_score

RECALL_POINTS = np.linspace(0, 1, 101)


def average_precision(matching: Matching) -> NDArray[np.float64]:
    """Average precision of each concept at each threshold.

    All regions of a concept are ranked by score, equal ones by image and then as within the image. Precision at a
    recall is the best one at that recall or a higher one, read at the 101 points of `RECALL_POINTS`, 0 where
    the recall is not reached (`accumulate` of both evaluations). The mean over concepts and thresholds is their AP.

    Returns:
        float64 [thresholds, concepts], 0..1; NaN for a concept that has no region to be found.
    """
    support = matching.support
    order = by_group_and_score(matching.counted_concept, matching.score)
    concept, forgiven = matching.counted_concept[order], matching.forgiven[:, order]
    start = np.searchsorted(concept, np.arange(len(support)))
    index = np.zeros(matching.counted.max(initial=-1) + 1, np.int64)
    index[matching.counted[order]] = np.arange(len(order))
    needed = _needed(support)

    precision = np.full((len(IOU_THRESHOLDS), len(support)), np.nan)
    for t, takers in enumerate(matching.region):
        hits = np.sort(index[takers[takers >= 0]])
        of = concept[hits]
        found = np.bincount(of, minlength=len(support))
        first_hit = np.cumsum(found) - found
        nth = np.arange(1, len(hits) + 1) - first_hit[of]
        # What is forgiven and found nothing has no rank.
        excused = np.flatnonzero(forgiven[t])
        excused_before = np.searchsorted(excused, hits) - np.searchsorted(excused, start)[of]
        found_yet = np.concatenate([[0], np.cumsum(forgiven[t, hits])])
        found_yet = found_yet[:-1] - found_yet[first_hit][of]
        rank = hits - start[of] + 1 - excused_before + found_yet
        best = np.append(_best_from_here_on(nth / (rank + np.spacing(1)), of), 0.0)
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
