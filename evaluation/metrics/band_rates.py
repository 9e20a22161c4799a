"""Shares of the things of each band that were hit, micro and macro, with intervals over images."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.intervals import Interval, gap_interval, ratio_interval
from evaluation.metrics.region_tables import Rows


@dataclass(frozen=True, slots=True)
class BandRates:
    """Of one band: float64 [columns], 0..1, where not said otherwise."""

    micro: NDArray[np.float64]
    macro: NDArray[np.float64]  # mean over concepts
    support: int  # things
    tags: int  # concepts that have any
    on_image: NDArray[
        np.float64
    ]  # [images, 1 + columns]: of each image that has a thing of any band things and hits

    @property
    def images(self) -> int:
        """That have a thing of the band."""
        return int(np.count_nonzero(self.on_image[:, 0]))

    def counts(self, column: int) -> NDArray[np.float64]:
        """[images, 2]: hits and things of each image that has a thing of any band."""
        return self.on_image[:, [column + 1, 0]]

    def ci95(self, column: int) -> Interval | None:
        """That of `micro`; None for a single image."""
        return ratio_interval(self.counts(column))

    def ci95_of_gap(self, band: "BandRates", column: int) -> Interval | None:
        """That of `micro` minus that of a band that is a part of this one."""
        return gap_interval(self.counts(column), band.counts(column))


def band_rates(
    image: Rows, concept: Rows, hits: NDArray[np.float64], groups: Mapping[str, NDArray[np.bool_]]
) -> dict[str, BandRates]:
    """Micro: hits / things. Macro: the mean over concepts of hits / things.

    Args:
        image, concept: int64 [things], >= 0; images may be numbered in any way.
        hits: float64 [things, columns], 0..1: whether each thing was hit, counted in several ways.
        groups: band -> bool [concepts]; a concept may be in several.

    Returns:
        Band -> its rates, in the order of `groups`, without the bands that have no thing.
    """
    concepts = max((len(mask) for mask in groups.values()), default=0)
    support = np.bincount(concept, minlength=concepts)
    by_concept = _sums(concept, hits, concepts)
    carriers, row = np.unique(image, return_inverse=True)
    counted = np.column_stack([np.ones(len(hits)), hits])
    rates = {}
    for name, group in groups.items():
        mask = group & (support > 0)
        if not mask.any():
            continue
        chosen = mask[concept]
        on_image = _sums(row[chosen], counted[chosen], len(carriers))
        things = int(support[mask].sum())
        rates[name] = BandRates(
            micro=on_image[:, 1:].sum(axis=0) / things,
            macro=(by_concept[mask] / support[mask, None]).mean(axis=0),
            support=things,
            tags=int(mask.sum()),
            on_image=on_image,
        )
    return rates


def _sums(group: Rows, values: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """Sum of the rows of `values` [rows, columns] of each group: [groups, columns]."""
    return np.stack([np.bincount(group, column, minlength=groups) for column in values.T], axis=1)
