"""How often the 95 % intervals of the evaluation hold the true value, by simulation: `make bench-coverage`.

Images carry tags whose recall is correlated within an image (a beta-binomial draw; 0: independent). Printed are the share
of draws whose interval holds the truth and the share of no width: of the recall of a band, of the difference of two runs
over the same images, and of the gap between all tags and those of the band. Ends with one JSON line.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.intervals import Interval, gap_interval, paired_interval, ratio_interval

Counts = NDArray[np.int64]
_FLIPS = 0.1
"""Share of the tags of which the second run is another draw."""
_OTHERS_AN_IMAGE = 3
"""Tags of an image outside the band."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Images that carry a band, the rate at which its tags are found, and how correlated they are in an image."""

    images: int
    rate: float
    correlation: float
    more_tags: float = 1.0  # of the band on an image, beyond the first, on average


SETTINGS = (
    Setting(5, 0.8, 0.0, 0.0),
    Setting(5, 0.5, 0.3),
    Setting(5, 0.8, 0.3),
    Setting(5, 0.95, 0.3),
    Setting(10, 0.8, 0.0, 0.0),
    Setting(10, 0.8, 0.3),
    Setting(10, 0.9, 0.5, 0.5),
    Setting(30, 0.95, 0.0, 0.0),
    Setting(30, 0.5, 0.3),
    Setting(30, 0.8, 0.6, 2.0),
    Setting(100, 0.8, 0.0),
    Setting(100, 0.9, 0.3, 3.0),
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("--draws", type=int, default=4_000, help="of each setting (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    print(f"{'images':>6} {'rate':>5} {'corr.':>5} {'tags':>5}   recall  paired     gap  no width")
    rows = []
    for setting in SETTINGS:
        rates = simulate(setting, options.draws, options.seed)
        rows.append({**{name: getattr(setting, name) for name in Setting.__slots__}, **rates})
        shown = "  ".join(f"{100 * rates[name]:6.1f}" for name in ("recall", "paired", "gap", "no_width"))
        print(
            f"{setting.images:6} {setting.rate:5} {setting.correlation:5} {1 + setting.more_tags:5}   {shown}",
            flush=True,
        )
    print(json.dumps({"coverage": rows, "draws": options.draws}))


def simulate(setting: Setting, draws: int, seed: int = 0) -> dict[str, float]:
    """Shares of the draws: 0..1 whose interval holds the truth, by what it is of; and of recalls without any width."""
    rng = np.random.default_rng(seed)
    held = {"recall": 0, "paired": 0, "gap": 0, "no_width": 0}
    for _ in range(draws):
        tags = 1 + rng.poisson(setting.more_tags, setting.images)
        rates = _rates(rng, setting)
        before = rng.binomial(tags, rates)
        recall = ratio_interval(np.stack([before, tags], axis=1))
        held["recall"] += _holds(recall, setting.rate)
        held["no_width"] += recall is None or recall.low == recall.high
        held["paired"] += _holds(paired_interval(_flips(rng, before, tags, rates)), 0.0)
        others = np.full(setting.images, _OTHERS_AN_IMAGE)
        whole = np.stack([before + rng.binomial(others, rates), tags + others], axis=1)
        held["gap"] += _holds(gap_interval(whole, np.stack([before, tags], axis=1)), 0.0)
    return {name: count / draws for name, count in held.items()}


def _rates(rng: np.random.Generator, setting: Setting) -> NDArray[np.float64]:
    """Of each image."""
    if not setting.correlation:
        return np.full(setting.images, setting.rate)
    size = (1 - setting.correlation) / setting.correlation
    return rng.beta(setting.rate * size, (1 - setting.rate) * size, setting.images)


def _flips(rng: np.random.Generator, before: Counts, tags: Counts, rates: NDArray[np.float64]) -> Counts:
    """A second run that finds as many: [images, 3] as `paired_interval` takes them."""
    hits, misses = rng.binomial(before, _FLIPS), rng.binomial(tags - before, _FLIPS)
    lost, gained = rng.binomial(hits, 1 - rates), rng.binomial(misses, rates)
    return np.stack([gained, lost, tags], axis=1)


def _holds(interval: Interval | None, truth: float) -> bool:
    return interval is not None and interval.low <= truth <= interval.high


if __name__ == "__main__":
    main()
