"""The scheduler of `vistag run --ray` at any size, with machines that die: python -m benchmarks.scaling.cluster.

A simulation by events: shards of folders wait in a queue, each machine takes the next one, loads its models, and works;
machines die at random moments and come back. It obeys the rules of `vistag_assets.automation.cluster` and of the lake: what
a batch had finished is kept, the next run of that shard waits until the leases of the dead one have ended, and goes on from
there.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A library, and the machines that are to work through it."""

    images: int
    machines: int
    images_per_folder: int = 10_000
    folders_per_run: int = 20
    images_per_second: float = 10.0
    """of one machine, all stages of the tier together"""
    start_seconds: float = 60.0
    """of a run: the process, imports, models"""
    batch_images: int = 64
    """what a death costs at most of finished work"""
    lease_seconds: float = 60.0
    hours_between_deaths: float = math.inf
    """of one machine, on average"""
    rebirth_seconds: float = 300.0
    """until another machine stands in the place of a dead one"""

    @property
    def folders(self) -> int:
        return math.ceil(self.images / self.images_per_folder)

    @property
    def ideal_hours(self) -> float:
        """Without starts, deaths and a tail: all machines at work all the time."""
        return self.images / (self.images_per_second * self.machines) / HOUR


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went."""

    hours: float
    runs: int
    """started in all, those after a death included"""
    deaths: int
    """of machines at work"""
    images: int
    """whose rows are in the lake at the end"""
    images_again: int
    """computed for nothing: their batch died with the machine"""
    most_deaths: int
    """of one shard; vistag run --ray takes five for a fault of the shard"""
    busy_share: float
    """of the machines' time, spent on images that count"""


@dataclass(slots=True)
class _Shard:
    images: int
    done: int = 0
    free_at: float = 0.0
    """from when on its leases can be had"""
    deaths: int = 0


def simulate(plan: Plan, seed: int = 0) -> Outcome:
    """Work a plan through. The same seed gives the same outcome."""
    chance = random.Random(seed)
    waiting = deque(_shards(plan))
    ready = [(0.0, machine) for machine in range(plan.machines)]
    end, runs, deaths, most, again, useful = 0.0, 0, 0, 0, 0, 0
    while waiting:
        now, machine = heapq.heappop(ready)
        shard = waiting.popleft()
        runs += 1
        begins = max(now, shard.free_at) + plan.start_seconds
        ends = begins + (shard.images - shard.done) / plan.images_per_second
        dies = now + _life(chance, plan)
        if dies >= ends:
            useful += shard.images - shard.done
            shard.done = shard.images
            end = max(end, ends)
            heapq.heappush(ready, (ends, machine))
            continue
        deaths += 1
        shard.deaths += 1
        most = max(most, shard.deaths)
        computed = max(0, math.floor((dies - begins) * plan.images_per_second))
        kept = computed - computed % plan.batch_images
        again += computed - kept
        useful += kept
        shard.done += kept
        shard.free_at = dies + plan.lease_seconds
        waiting.appendleft(shard)
        heapq.heappush(ready, (dies + plan.rebirth_seconds, machine))
    busy = useful / plan.images_per_second / (plan.machines * end) if end else 0.0
    return Outcome(end / HOUR, runs, deaths, useful, again, most, busy)


def _shards(plan: Plan) -> list[_Shard]:
    size = plan.images_per_folder * plan.folders_per_run
    whole, rest = divmod(plan.images, size)
    return [_Shard(size) for _ in range(whole)] + ([_Shard(rest)] if rest else [])


def _life(chance: random.Random, plan: Plan) -> float:
    """Seconds until a machine dies; machines do not age."""
    if math.isinf(plan.hours_between_deaths):
        return math.inf
    return chance.expovariate(1 / (plan.hours_between_deaths * HOUR))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="*", default=[10**6, 10**8, 10**9])
    parser.add_argument("--machines", type=int, nargs="*", default=[8, 256, 1024])
    parser.add_argument("--images-per-second", type=float, default=10.0, help="of one machine")
    options = parser.parse_args(arguments)
    print(
        "| images | machines | folders a run | hours between deaths | hours | ideal | busy | runs | deaths | of one | again |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for images, machines in zip(options.images, options.machines, strict=True):
        for between, folders in itertools.product((math.inf, 168.0, 24.0, 4.0), (20, 2)):
            plan = Plan(
                images,
                machines,
                images_per_folder=min(10_000, max(1, images // 1000)),
                folders_per_run=folders,
                images_per_second=options.images_per_second,
                hours_between_deaths=between,
            )
            went = simulate(plan)
            figures = f"{went.hours:,.1f} | {plan.ideal_hours:,.1f} | {went.busy_share:.1%} | {went.runs:,}"
            lost = f"{went.deaths:,} | {went.most_deaths} | {went.images_again:,}"
            print(
                f"| {images:.0e} | {machines:,} | {folders} | {between:g} | {figures} | {lost} |", flush=True
            )


if __name__ == "__main__":
    main()
