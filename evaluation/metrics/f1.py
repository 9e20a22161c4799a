"""F1 of tags, from the pairs that were predicted; `recall_at_k.pair_up` encodes them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from evaluation.metrics.intervals import Interval, ratio_interval
from evaluation.metrics.recall_at_k import TagPairs


@dataclass(frozen=True, slots=True)
class F1Figure:
    """F1 of one band; `ci95` is that of `micro`, None where there is only one image."""

    band: str
    micro: float  # 0..1
    macro: float  # 0..1
    support: int  # true (image, tag) pairs
    predicted: int  # pairs of the band that were taken as predicted
    ci95: Interval | None = None


def f1_scores(
    pairs: TagPairs,
    chosen: np.ndarray,
    groups: Mapping[str, np.ndarray],
) -> tuple[F1Figure, ...]:
    """F1 of the tags that are taken as predicted, micro and macro, with a 95 % interval over images.

    scikit-learn's definition (`f1_score` with `labels` the tags of the group and `zero_division=0`): of one
    tag 2 TP / (2 TP + FP + FN), that is 2 TP / (predicted + true). Micro: the same of the sums over the
    group. Macro: the mean over the tags of the group that have support.

    Args:
        pairs: of `recall_at_k.pair_up`.
        chosen: bool [predicted pairs]: a score alone predicts nothing, so something must cut, such as
            `pairs.rank <= 10` or `pairs.score >= 0.5`.
        groups: name -> bool [tags]; a group without support is left out of the result.

    Returns:
        A figure a group, in the order of `groups`.
    """
    support = pairs.tag_support
    hit = chosen & (pairs.true_pair >= 0)
    count = len(pairs.concepts)
    predicted, hits = (np.bincount(pairs.tag[rows], minlength=count) for rows in (chosen, hit))
    by_tag = np.divide(2 * hits, predicted + support, out=np.zeros(count), where=predicted + support > 0)

    supported = {name: mask & (support > 0) for name, mask in groups.items() if support[mask].any()}
    sums = {
        name: [int(part[mask].sum()) for part in (hits, predicted, support)]
        for name, mask in supported.items()
    }
    images = len(pairs.images)
    by_image = np.empty((images, len(supported), 2))
    for g, mask in enumerate(supported.values()):
        in_group = mask[pairs.tag]
        by_image[:, g, 0] = 2 * np.bincount(pairs.image[hit & in_group], minlength=images)
        by_image[:, g, 1] = np.bincount(pairs.image[chosen & in_group], minlength=images) + np.bincount(
            pairs.true_image[mask[pairs.true_tag]], minlength=images
        )
    return tuple(
        F1Figure(
            band=name,
            micro=2 * sums[name][0] / (sums[name][1] + sums[name][2]),
            macro=float(by_tag[mask].mean()),
            support=sums[name][2],
            predicted=sums[name][1],
            # halves: F1 is the share of the mean of predicted and true pairs that is right
            ci95=ratio_interval(by_image[:, g] / 2),
        )
        for g, (name, mask) in enumerate(supported.items())
    )
