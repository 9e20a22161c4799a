"""How often a run loads its models: python -m benchmarks.model_loads --folders 50 --images 2."""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from demo.corpus import make_corpus
from resources.home import Home, Settings, write_settings
from resources.models.load_counter import model_loads
from sensors.memory import Memory
from sensors.new_folders import LOOK_SECONDS, tick
from vistag_assets.automation.instance import home_instance
from vistag_assets.definitions import defs
from vistag_assets.partitions import TAG_FOLDERS

_LIBRARY = "library"


@dataclass(frozen=True, slots=True)
class Loads:
    """Of the runs that the sensor asked for: their number, model -> loads, and asset -> loads, where there were any."""

    runs: int
    models: Counter[str]
    assets: Counter[str]


def count_loads(home: Home, library: Path) -> Loads:
    """Look at a library as the daemon does, and execute what the sensor asks for."""
    assets: Counter[str] = Counter()
    with home_instance(home.root) as instance:
        seen = tick(Memory(home), {_LIBRARY: library}, 0.0, instance, None, LOOK_SECONDS)
        requests = tick(Memory(home), {_LIBRARY: library}, 0.0, instance, seen.cursor, LOOK_SECONDS).requests
        before = model_loads()
        for request in requests:
            result = defs.resolve_job_def(TAG_FOLDERS).execute_in_process(
                instance=instance, run_config=request.run_config, tags=request.tags
            )
            for asset, loads in _told(result).items():
                assets[asset] += loads
    return Loads(len(requests), model_loads() - before, assets)


def _told(result: dg.ExecuteInProcessResult) -> dict[str, int]:
    """Asset -> what its metadata says of loads; each folder of a run says its own."""
    told = Counter[str]()
    for event in result.all_events:
        if event.is_step_materialization:
            made = event.step_materialization_data.materialization
            if "model_loads" in made.metadata and made.metadata["model_loads"].value:
                told[made.asset_key.to_user_string()] += int(str(made.metadata["model_loads"].value))
    return told


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folders", type=int, default=50)
    parser.add_argument("--images", type=int, default=2, help="in each folder")
    parser.add_argument("--tier", default="demo")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        make_corpus(Path(directory), options.folders * options.images, options.folders, workers=1)
        home = Home(Path(directory) / "home")
        write_settings(home, Settings(tier=options.tier))
        loads = count_loads(home, Path(directory) / "library")
    print(
        f"{options.folders} folders of {options.images} images in {loads.runs} runs of the tier {options.tier}"
    )
    for title, counts in (("model", loads.models), ("asset", loads.assets)):
        for name, count in sorted(counts.items()):
            print(f"{title} {name}: {count} loads")


if __name__ == "__main__":
    main()
