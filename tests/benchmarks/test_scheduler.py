"""The scheduler's simulation: what it must come to where that can be said by hand, and at 1e9 images with failures."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from benchmarks.scaling.cluster import HOUR, Plan, simulate

CALM = Plan(images=800_000, machines=4, images_per_folder=10_000, folders_per_run=20, images_per_second=10)


def test_without_deaths_the_time_is_that_of_the_runs_one_after_the_other() -> None:
    went = simulate(CALM)  # four runs on four machines
    assert went.hours == pytest.approx((60 + 200_000 / 10) / HOUR)
    assert (went.runs, went.deaths, went.images, went.images_again) == (4, 0, 800_000, 0)
    one_more = simulate(replace(CALM, images=800_001))  # has a machine of its own when the first is free
    assert one_more.hours == pytest.approx((2 * 60 + 200_000 / 10 + 0.1) / HOUR)


def test_a_billion_images_are_each_done_once_whatever_dies() -> None:
    plan = Plan(10**9, machines=1024, hours_between_deaths=24)
    went = simulate(plan, seed=1)
    assert went.images == plan.images
    assert went.deaths > 0
    assert went.runs == math.ceil(plan.folders / plan.folders_per_run) + went.deaths
    # a death costs a batch at most
    assert went.images_again < went.deaths * plan.batch_images
    # as many deaths as machine-hours say, within four standard deviations of a Poisson count
    expected = plan.machines * went.hours / plan.hours_between_deaths
    assert went.deaths <= expected + 4 * math.sqrt(expected)
    assert went.hours >= plan.ideal_hours
    assert simulate(plan, seed=1) == went


def test_more_deaths_and_longer_leases_cost_time_and_lose_nothing() -> None:
    plan = Plan(10**8, machines=256)
    hours = [simulate(replace(plan, hours_between_deaths=of)).hours for of in (math.inf, 24, 2)]
    assert hours == sorted(hours)
    slow = simulate(replace(plan, hours_between_deaths=2, lease_seconds=1800))
    assert slow.hours > hours[-1]
    assert slow.images == plan.images
