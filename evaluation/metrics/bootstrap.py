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


def bounds(ci95: Interval | None) -> dict[str, float | None]:
    """The columns `ci95_low` and `ci95_high` of a table of figures; null where there is no interval."""
    return {"ci95_low": ci95.low if ci95 else None, "ci95_high": ci95.high if ci95 else None}


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


def interval95(samples: np.ndarray) -> Interval | None:
    """The 2.5 % and 97.5 % percentiles of float [resamples]; NaN (no support in that resample) is left out.

    None if no resample had support.
    """
    known = samples[~np.isnan(samples)]
    if known.size == 0:
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return Interval(float(low), float(high))
