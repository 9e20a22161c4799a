"""How far the probabilities of tags can be believed: reliability by bin, and the expected calibration error.

Source: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, section 2.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.band_rates import band_rates
from evaluation.metrics.intervals import Interval

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
) -> Reliability | None:
    """Reliability over bins of equal width, with 95 % intervals over images.

    Args:
        probability: float64 [pairs], 0..1, of predicted (image, tag) pairs.
        is_true: bool [pairs].
        image: int64 [pairs], >= 0: which image a pair belongs to; any numbering.
        bins: >= 1.

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
    total = np.bincount(bin_of, probability, minlength=bins)
    members = {str(number): np.arange(bins) == number for number in range(bins)}
    rates = band_rates(image, bin_of, is_true[:, None].astype(np.float64), members)
    found = tuple(
        ReliabilityBin(
            low=int(number) / bins,
            high=(int(number) + 1) / bins,
            pairs=of.support,
            mean_probability=float(total[int(number)] / of.support),
            share_true=float(of.micro[0]),
            ci95=of.ci95(0),
        )
        for number, of in rates.items()
    )
    error = sum(bin_.pairs * abs(bin_.mean_probability - bin_.share_true) for bin_ in found)
    return Reliability(found, len(probability), float(error / len(probability)))
