"""Intervals against their sources and a simulation."""

import numpy as np
import pytest
from scipy.stats import binomtest

from benchmarks.coverage import Setting, simulate
from evaluation.metrics.intervals import flips_by_image, gap_interval, paired_interval, ratio_interval


@pytest.mark.parametrize(("found", "images"), [(5, 5), (4, 5), (0, 7), (29, 30), (50, 100)])
def test_one_tag_an_image_has_wilsons_interval(found: int, images: int) -> None:
    counts = np.stack([np.arange(images) < found, np.ones(images)], axis=1)
    interval = ratio_interval(counts)
    wanted = binomtest(found, images).proportion_ci(method="wilson")
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((wanted.low, wanted.high))
    assert interval.low < interval.high


def test_tags_that_are_found_together_say_less_than_as_many_independent_ones() -> None:
    together = np.array([[4, 4], [0, 4]] * 20)
    apart = np.array([[2, 4]] * 40)
    one, other = ratio_interval(together), ratio_interval(apart)
    assert one is not None
    assert other is not None
    assert one.high - one.low > 1.7 * (other.high - other.low)  # up to the square root of 4
    as_images = binomtest(20, 40).proportion_ci(method="wilson")
    assert one.high - one.low == pytest.approx(as_images.high - as_images.low, rel=0.05)


def test_an_image_without_any_says_nothing_and_one_image_has_no_interval() -> None:
    counts = np.array([[1, 1], [0, 1], [0, 0], [0, 0]])
    assert ratio_interval(counts) == ratio_interval(counts[:2])
    assert ratio_interval(counts[:1]) is None
    assert paired_interval(np.array([[0, 1, 2]])) is None
    assert gap_interval(np.array([[2.0, 3], [1, 1]]), np.array([[1.0, 1], [0, 0]])) is None


@pytest.mark.parametrize(("lost", "real"), [(0, False), (3, False), (5, False), (6, True), (20, True)])
def test_few_flips_are_judged_as_the_exact_test_does(lost: int, real: bool) -> None:
    before, after = np.ones(100, bool), np.arange(100) >= lost
    interval = paired_interval(flips_by_image(np.arange(100), before, after))
    assert interval is not None
    assert (interval.high < 0) == real
    assert interval.low < -lost / 100 < interval.high
    assert real == (lost > 0 and binomtest(0, lost).pvalue < 0.05)


def test_flips_in_one_image_are_one_event() -> None:
    before = np.ones(100, bool)
    spread, packed = np.arange(100) % 10 != 0, np.arange(100) >= 10
    image = np.arange(100) // 10
    intervals = [paired_interval(flips_by_image(image, before, after)) for after in (spread, packed)]
    assert intervals[0] is not None
    assert intervals[1] is not None
    assert intervals[0].high < 0 < intervals[1].high


@pytest.mark.parametrize(
    "setting",
    [
        Setting(5, 0.8, 0.0, 0.0),
        Setting(5, 0.8, 0.3),
        Setting(30, 0.95, 0.0, 0.0),
        Setting(30, 0.8, 0.4, 2.0),
    ],
    ids=str,
)
def test_intervals_hold_the_truth_about_as_often_as_they_say(setting: Setting) -> None:
    rates = simulate(setting, draws=600, seed=1)
    assert 0.92 <= rates["recall"] <= 0.985
    assert rates["paired"] >= 0.94
    assert rates["gap"] >= 0.93
    assert rates["no_width"] == 0
