"""What a second worker brings: python -m benchmarks.scaling.workers --images 60, by a Python that has Ray.

The demo's folders under the demo's tier, a core a worker; each turn in homes of their own whose vocabulary is embedded already.
Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring import VISTAG, Cost, cost_of
from demo.corpus import make_corpus
from resources.home import Home, Settings, write_settings


def timed(warm: Home, library: Path, root: Path, workers: int, shard: int) -> Cost:
    """A run of all folders by so many workers, in a copy of the home `warm`."""
    home = root / f"by {workers}"
    shutil.copytree(warm.root, home)
    ray = ["--ray", f"local:{workers}", "--shard", str(shard)]
    cost = cost_of([*VISTAG, "run", str(library), "--home", str(home), *ray])
    shutil.rmtree(home)
    return cost


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
        turns = []
        for turn in range(options.turns):
            one, two = (timed(home, library, root, workers, options.shard) for workers in (1, 2))
            turns.append((one.seconds, two.seconds))
            print(
                f"turn {turn + 1}: {one.seconds:.0f} s by one worker, {two.seconds:.0f} s by two", flush=True
            )
    one_s, two_s = (statistics.median(turn[by] for turn in turns) for by in (0, 1))
    speed_up = statistics.median(one / two for one, two in turns)
    print(json.dumps({"one_worker_s": one_s, "two_workers_s": two_s, "speed_up": speed_up}))


if __name__ == "__main__":
    main()
