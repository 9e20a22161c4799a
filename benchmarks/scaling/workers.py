"""What a second worker brings: python -m benchmarks.scaling.workers --images 60, by a Python that has Ray.

The demo's folders under the demo's tier; each turn in homes of their own whose vocabulary is embedded already. A worker and
a core beside two workers and two cores, as with a second machine; and one worker on both cores, which has work for more
than one: what opens pictures, decodes and finds outlines beside its model. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measuring import VISTAG, cost_of
from demo.corpus import make_corpus
from resources.home import Home, Settings, write_settings

SIDES = {"one worker, one core": (1, 1), "one worker, two cores": (1, 2), "two workers, two cores": (2, 2)}
"""Workers and cores."""


@dataclass(frozen=True, slots=True)
class Timed:
    seconds: float
    cores: float
    """that were busy on average, all programs of the machine together: a worker of one thread has helpers besides"""


def timed(warm: Home, library: Path, root: Path, workers: int, cores: int, shard: int) -> Timed:
    """A run of all folders by so many workers on so many cores, in a copy of the home `warm`."""
    home = root / f"by {workers}"
    shutil.copytree(warm.root, home)
    ray = ["--ray", f"local:{workers}", "--shard", str(shard)]
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(every)[:cores])  # what it starts is held to them too
    before = _busy_s()
    cost = cost_of([*VISTAG, "run", str(library), "--home", str(home), *ray])
    busy_s = _busy_s() - before
    os.sched_setaffinity(0, every)
    shutil.rmtree(home)
    return Timed(cost.seconds, busy_s / cost.seconds)


def _busy_s() -> float:
    """Of all processors since the machine began."""
    times = psutil.cpu_times()
    return float(times.user + times.system)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=120, help="of six folders")
    parser.add_argument("--shard", type=int, default=3, help="folders a run")
    parser.add_argument("--turns", type=int, default=2)
    options = parser.parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="vistag-bench-") as directory:
        root = Path(directory)
        home, first = Home(root / "warm"), root / "first"
        write_settings(home, Settings(tier="demo"))
        make_corpus(root / "corpus", options.images)
        library = root / "corpus" / "library"
        folder = next(path for path in sorted(library.iterdir()) if path.is_dir())
        (first / "one").mkdir(parents=True)
        shutil.copy(next(folder.glob("*.jpg")), first / "one")
        cost_of([*VISTAG, "run", str(first), "--home", str(home.root)])
        turns: list[dict[str, Timed]] = []
        for turn in range(options.turns):
            turns.append(
                {
                    name: timed(home, library, root, workers, cores, options.shard)
                    for name, (workers, cores) in SIDES.items()
                }
            )
            print(
                f"turn {turn + 1}: {', '.join(f'{n}: {_told(t)}' for n, t in turns[-1].items())}", flush=True
            )
    print(json.dumps(summed_up(turns)))


def summed_up(turns: Sequence[Mapping[str, Timed]]) -> dict[str, Any]:
    """The middle of the turns, and of the ratios of each turn."""
    told: dict[str, Any] = {
        name: {
            "seconds": statistics.median(turn[name].seconds for turn in turns),
            "cores_busy": statistics.median(turn[name].cores for turn in turns),
        }
        for name in SIDES
    }
    one, alone, two = SIDES
    for figure, before in (("speed_up", one), ("speed_up_of_shared_cores", alone)):
        told[figure] = statistics.median(turn[before].seconds / turn[two].seconds for turn in turns)
    return told


def _told(run: Timed) -> str:
    return f"{run.seconds:.0f} s with {run.cores:.2f} cores busy"


if __name__ == "__main__":
    main()
