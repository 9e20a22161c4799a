"""How far the probabilities of tags can be believed: reliability by bin, and the expected calibration error.

Source: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, section 2.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.bootstrap import RESAMPLES, Interval, interval95, ratios, resampled_sums

BINS = 10


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The pairs whose probability lies within low <= p < high (the last bin: <= 1)."""

    low: float
    high: float
    pairs: int
    mean_probability: float  # 0..1
    share_true: float  # 0..1
    ci95: Interval | None  # of share_true; None where all pairs are of one image


@dataclass(frozen=True, slots=True)
class Reliability:
    """Bins that hold pairs, and `expected_error`: the mean over pairs of |mean probability - share true| of
    their bin, 0..1."""

    bins: tuple[ReliabilityBin, ...]
    pairs: int
    expected_error: float


def reliability(
    probability: NDArray[np.float64],
    is_true: NDArray[np.bool_],
    image: NDArray[np.int64],
    bins: int = BINS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Reliability | None:
    """Reliability over bins of equal width, with 95 % bootstrap intervals over images.

    Args:
        probability: float64 [pairs], 0..1, of predicted (image, tag) pairs.
        is_true: bool [pairs].
        image: int64 [pairs], >= 0: which image a pair belongs to; any numbering.
        bins: >= 1.
        resamples, seed: of the bootstrap.

    Returns:
        None where there is no pair.

    Raises:
        ValueError: a probability is NaN or lies outside 0..1.
    """
    if len(probability) == 0:
        return None
    outside = np.flatnonzero(~((probability >= 0) & (probability <= 1)))
    if outside.size:
        raise ValueError(f"the probability of row {outside[0]} is {probability[outside[0]]}, not within 0..1")
    bin_of = np.minimum((probability * bins).astype(np.int64), bins - 1)
    images, row = np.unique(image, return_inverse=True)
    cell, cells = row * bins + bin_of, len(images) * bins
    pairs = np.bincount(cell, minlength=cells).reshape(-1, bins)
    true = np.bincount(cell, is_true, minlength=cells).reshape(-1, bins)
    total, mean = pairs.sum(axis=0), np.bincount(bin_of, probability, minlength=bins)
    filled = np.flatnonzero(total)
    sums = resampled_sums(np.concatenate([pairs[:, filled], true[:, filled]], axis=1), resamples, seed)
    shares = ratios(sums[:, len(filled) :], sums[:, : len(filled)])
    found = tuple(
        ReliabilityBin(
            low=float(number / bins),
            high=float((number + 1) / bins),
            pairs=int(total[number]),
            mean_probability=float(mean[number] / total[number]),
            share_true=float(true[:, number].sum() / total[number]),
            ci95=interval95(shares[:, n]) if np.count_nonzero(pairs[:, number]) > 1 else None,
        )
        for n, number in enumerate(filled)
    )
    error = sum(bin_.pairs * abs(bin_.mean_probability - bin_.share_true) for bin_ in found)
    return Reliability(found, len(probability), float(error / len(probability)))
