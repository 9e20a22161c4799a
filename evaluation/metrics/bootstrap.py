"""Bootstrap intervals over images.

The percentile interval of Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13. Images
are resampled, not tags: the tags of one image are found or missed together, so they are no independent draws.
"""

from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000
_WEIGHTS_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Interval:
    """A closed interval, in the unit of the figure it belongs to."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Share:
    """A share of `support` things; the interval is over images, None where there are fewer than two."""

    value: float  # 0..1
    support: int
    ci95: Interval | None = None


def resampled_sums(values: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Sum each column over images drawn with replacement.

    A resample is a vector of multinomial counts (how often each image was drawn), so all of them together are
    one matrix product, done in chunks of bounded memory. One seed and one number of images always give the
    same draws: two systems measured on the same images can be compared resample by resample.

    Args:
        values: float or int [images, columns], at least one image.
        resamples: how many times the images are drawn, > 0.
        seed: of numpy's PCG64 generator.

    Returns:
        float64 [resamples, columns].

    Raises:
        ValueError: there is no image, or no resample was asked for.
    """
    images = len(values)
    if images == 0 or resamples < 1:
        raise ValueError(
            f"a bootstrap needs at least one image and one resample, not {images} and {resamples}"
        )
    generator = np.random.default_rng(seed)
    columns = values.astype(np.float64)
    rows = min(resamples, max(1, _WEIGHTS_BYTES // (8 * images)))
    weights = np.empty((rows, images))
    sums = np.empty((resamples, columns.shape[1]))
    for start in range(0, resamples, rows):
        chunk = sums[start : start + rows]
        for row in weights[: len(chunk)]:
            # Counting n uniform draws is an exact multinomial, and faster than n conditional binomials.
            row[:] = np.bincount(generator.integers(images, size=images), minlength=images)
        chunk[:] = weights[: len(chunk)] @ columns
    return sums


def ratios(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    """parts / wholes, element by element: float64; NaN where the whole is 0 or less, which has no ratio."""
    return np.divide(parts, wholes, out=np.full(np.shape(parts), np.nan), where=wholes > 0)


def ratio_interval(counts: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> Interval | None:
    """The 95 % interval of a ratio of sums over images.

    Args:
        counts: float or int [images, 2]: part and whole of each image; images whose whole is 0 are not drawn.
        resamples, seed: as `resampled_sums` takes them.

    Returns:
        None for fewer than two such images: one always resamples to itself.
    """
    counted = counts[counts[:, 1] > 0]
    if len(counted) < 2:
        return None
    sums = resampled_sums(counted, resamples, seed)
    return interval95(sums[:, 0] / sums[:, 1])


def interval95(samples: np.ndarray) -> Interval | None:
    """The 2.5 % and 97.5 % percentiles.

    Args:
        samples: float [resamples]; NaN, where a resample had no support, is left out.

    Returns:
        None if no resample had support.
    """
    known = samples[~np.isnan(samples)]
    if known.size == 0:
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return Interval(float(low), float(high))
