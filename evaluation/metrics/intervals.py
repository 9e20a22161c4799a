"""95 % intervals of shares over images, that cover what they say down to a handful of images and never have no width.

Images are drawn, not tags: the tags of one image are found or missed together, so n tags say less than n independent ones.
How much less is the design effect (Kish, "Survey Sampling", 1965): 1 + (m - 1) rho of m tags an image that are correlated
by rho. With the things that it leaves a share has Wilson's score interval (Wilson, JASA 22, 1927), which is never empty,
also where all or nothing was found. Of the forms for clustered samples this one keeps its promise best with few clusters
(Dean and Pagano, "Evaluating Confidence Interval Methods for Binomial Proportions in Clustered Surveys", Journal of Survey
Statistics and Methodology 3, 2015). `make bench-coverage` simulates it; docs/metrics.md has the figures.

A few images say little about rho: it is drawn toward PRIOR_CORRELATION with the weight of PRIOR_IMAGES images, and the part
that it plays is widened as Student's t is wider than the normal distribution.

Differences of two runs over the same images: Bonett and Price's interval of paired proportions ("Adjusted Wald confidence
interval for a difference of binomial proportions based on paired data", Journal of Educational and Behavioral Statistics
37, 2012), which adds one flip to each side, with the same design effect. The gap between all tags and a band: the bounds of
the band and of the rest, put together as Newcombe does ("Interval estimation for the difference between independent
proportions", Statistics in Medicine 17, 1998), with their correlation over images.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

Floats = NDArray[np.float64]

PRIOR_CORRELATION, PRIOR_IMAGES = 0.2, 2.0
FEW_IMAGES = 10
"""Fewer carry so little that it is said in words beside a figure."""
_Z = float(norm.ppf(0.975))


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


def ratio_interval(counts: NDArray[np.floating | np.integer]) -> Interval | None:
    """The 95 % interval of a ratio of sums over images, within 0..1.

    Args:
        counts: [images, 2]: part and whole of each image, 0 <= part <= whole; an image whose whole is 0 says nothing.

    Returns:
        None for fewer than two images with a whole: one says nothing about how images differ.
    """
    part, whole = _counted(counts).T
    if len(whole) < 2:
        return None
    share = float(part.sum() / whole.sum())
    return _wilson(share, effective_size(whole, part - share * whole, share * (1 - share)))


def paired_interval(counts: NDArray[np.floating | np.integer]) -> Interval | None:
    """The 95 % interval of after - before, two shares of the same things.

    Args:
        counts: [images, 3]: of each image the things that only `after` found, those that only `before` found, and all.

    Returns:
        Within -1..1; None as `ratio_interval`.
    """
    gained, lost, whole = _counted(counts).T
    if len(whole) < 2:
        return None
    up, down = gained.sum() / whole.sum(), lost.sum() / whole.sum()
    residual = gained - lost - (up - down) * whole
    size = effective_size(whole, residual, float(up + down - (up - down) ** 2))
    up, down = (up * size + 1) / (size + 2), (down * size + 1) / (size + 2)
    reach = _Z * np.sqrt((up + down - (up - down) ** 2) / (size + 2))
    return Interval(max(-1.0, float(up - down - reach)), min(1.0, float(up - down + reach)))


def flips_by_image(
    image: NDArray[np.int64], before: NDArray[np.bool_], after: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """What `paired_interval` takes, of things [things] that were found before or after; images in any numbering."""
    kinds = (after & ~before, before & ~after, np.ones(len(image), bool))
    images = int(image.max(initial=-1)) + 1
    return np.stack([np.bincount(image[kind], minlength=images) for kind in kinds], axis=1)


def gap_interval(whole: NDArray[np.floating], part: NDArray[np.floating]) -> Interval | None:
    """The 95 % interval of a ratio minus that of a part of its things, such as of all tags and of those of a band.

    It is that of the rest minus the part, times the share of the rest: these two have no thing in common.

    Args:
        whole, part: [images, 2] as `ratio_interval` takes them, row by row of the same images.

    Returns:
        Within -1..1; None where the part or the rest has no interval.
    """
    rest = whole - part
    bounds = ratio_interval(rest), ratio_interval(part)
    if bounds[0] is None or bounds[1] is None:
        return None
    shares = [float(counts[:, 0].sum() / counts[:, 1].sum()) for counts in (rest, part)]
    residuals = [
        counts[:, 0] - share * counts[:, 1] for counts, share in zip((rest, part), shares, strict=True)
    ]
    spread = float(np.sqrt(np.prod([(residual**2).sum() for residual in residuals])))
    together = float((residuals[0] * residuals[1]).sum()) / spread if spread > 0 else 0.0
    together *= len(rest) / (len(rest) + PRIOR_IMAGES)
    below = shares[0] - bounds[0].low, bounds[1].high - shares[1]
    above = bounds[0].high - shares[0], shares[1] - bounds[1].low
    low, high = (float(np.sqrt(a * a + b * b - 2 * together * a * b)) for a, b in (below, above))
    difference, of_rest = shares[0] - shares[1], float(rest[:, 1].sum() / whole[:, 1].sum())
    return Interval(of_rest * (difference - low), of_rest * (difference + high))


def effective_size(whole: Floats, residual: Floats, variance: float) -> float:
    """How many independent things say as much as those of some images.

    Args:
        whole: [images]: things of each, at least two images.
        residual: [images]: what each image has more than its share of the figure.
        variance: of one thing by itself; 0 where all are alike, which says nothing about how they are correlated.
    """
    images, things = len(whole), float(whole.sum())
    typical = max(1.0, float((whole**2).sum()) / things)  # things of the image of a thing
    seen, correlation = 0.0, 0.0
    if variance > 0 and typical > 1:
        effect = float((residual**2).sum()) * images / (images - 1) / (things * variance)
        seen, correlation = images, float(np.clip((effect - 1) / (typical - 1), 0, 1))
    correlation = (seen * correlation + PRIOR_IMAGES * PRIOR_CORRELATION) / (seen + PRIOR_IMAGES)
    effect = 1 + (typical - 1) * correlation
    narrower = float((_Z / t.ppf(0.975, images - 1)) ** 2)
    return things / effect * (1 - (1 - narrower) * (1 - 1 / effect))


def _wilson(share: float, size: float) -> Interval:
    middle = (share + _Z**2 / (2 * size)) / (1 + _Z**2 / size)
    reach = _Z / (1 + _Z**2 / size) * np.sqrt(share * (1 - share) / size + _Z**2 / (4 * size**2))
    # of all or nothing rounding would put the share itself outside
    return Interval(max(0.0, min(share, float(middle - reach))), min(1.0, max(share, float(middle + reach))))


def _counted(counts: NDArray[np.floating | np.integer]) -> Floats:
    """Without the images whose whole, the last column, is 0."""
    return counts[counts[:, -1] > 0].astype(np.float64)
