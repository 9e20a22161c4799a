"""Shares of the things of each band that were hit, micro and macro, with intervals over images."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.bootstrap import Interval, interval95, ratios, resampled_sums
from evaluation.metrics.region_tables import Rows


@dataclass(frozen=True, slots=True)
class BandRates:
    """Of one band: float64 [columns], 0..1, where not said otherwise."""

    micro: NDArray[np.float64]
    macro: NDArray[np.float64]  # mean over concepts
    support: int  # things
    tags: int  # concepts that have any
    samples: NDArray[np.float64]  # [resamples, columns], micro of each resample; NaN without support
    on_images: int

    def ci95(self, column: int) -> Interval | None:
        """That of `micro`; None for a single image, which always resamples to itself."""
        return interval95(self.samples[:, column]) if self.on_images > 1 else None


def band_rates(
    image: Rows,
    concept: Rows,
    hits: NDArray[np.float64],
    groups: Mapping[str, NDArray[np.bool_]],
    resamples: int,
    seed: int = 0,
) -> dict[str, BandRates]:
    """Micro: hits / things. Macro: the mean over concepts of hits / things.

    Args:
        image, concept: int64 [things], >= 0; images may be numbered in any way.
        hits: float64 [things, columns], 0..1: whether each thing was hit, counted in several ways.
        groups: band -> bool [concepts]; a concept may be in several.
        resamples, seed: of the bootstrap over the images that have a thing.

    Returns:
        Band -> its rates, in the order of `groups`, without the bands that have no thing.
    """
    concepts = max((len(mask) for mask in groups.values()), default=0)
    support = np.bincount(concept, minlength=concepts)
    by_concept = _sums(concept, hits, concepts)
    carriers, row = np.unique(image, return_inverse=True)
    members = {name: mask & (support > 0) for name, mask in groups.items()}
    members = {name: mask for name, mask in members.items() if mask.any()}
    if not members:
        return {}
    columns = []
    for mask in members.values():
        chosen = mask[concept]
        columns.append(
            _sums(row[chosen], np.column_stack([np.ones(chosen.sum()), hits[chosen]]), len(carriers))
        )
    sums = resampled_sums(np.concatenate(columns, axis=1), resamples, seed)

    rates = {}
    for (name, mask), counts, drawn in zip(
        members.items(), columns, np.split(sums, len(columns), axis=1), strict=True
    ):
        things = int(support[mask].sum())
        rates[name] = BandRates(
            micro=counts[:, 1:].sum(axis=0) / things,
            macro=(by_concept[mask] / support[mask, None]).mean(axis=0),
            support=things,
            tags=int(mask.sum()),
            samples=ratios(drawn[:, 1:], drawn[:, :1]),
            on_images=int(np.count_nonzero(counts[:, 0])),
        )
    return rates


def _sums(group: Rows, values: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """Sum of the rows of `values` [rows, columns] of each group: [groups, columns]."""
    return np.stack([np.bincount(group, column, minlength=groups) for column in values.T], axis=1)
