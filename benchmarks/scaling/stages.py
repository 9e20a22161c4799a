"""What each stage of a home holds and costs to bring its largest folder up to date: python -m benchmarks.scaling.stages HOME.

Each works in a process of its own, in the order of the graph, and leaves its table as a run would. Change something first
(a file more in the folder), or see what nothing new costs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring import peak_mib
from resources.home import Home
from resources.tables import PER_FOLDER_TABLES
from resources.workspace import Workspace, open_workspace
from vistag_assets.folder_asset import declared, update_table
from vistag_assets.ingest.files import ingest_files
from vistag_assets.progress import Meter

INGEST = "ingest"


def stages(workspace: Workspace) -> list[str]:
    """`ingest`, and the tables that the tier of the home makes of a folder."""
    assets = {table: declared(table) for table in PER_FOLDER_TABLES}
    return [INGEST, *(name for name, of in assets.items() if of and not of.lacks_model(workspace.tier))]


def work(workspace: Workspace, key: str, stage: str) -> dict[str, float]:
    """Brings one stage up to date: images that were computed, seconds of processors, MiB at the peak."""
    worked = time.process_time()
    if stage == INGEST:
        computed = ingest_files(workspace, workspace.home.folder(key), Meter("Reading images")).decoded
    else:
        computed = update_table(stage, workspace, key).computed
    return {
        "computed": computed,
        "processor_seconds": time.process_time() - worked,
        "peak_mib": peak_mib(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    workspace = open_workspace(Home(options.home))
    sizes = {key: workspace.lake.read("images", key, []).num_rows for key in workspace.lake.folders("images")}
    key = max(sizes, key=lambda one: sizes[one])
    if options.stage:  # the process that is measured
        print(json.dumps(work(workspace, key, options.stage)))
        return
    print(
        f"{sizes[key]:,} images in {key}\n| stage | images computed | s of processors | peak MiB |\n|---|---|---|---|"
    )
    for stage in stages(workspace):
        command = [sys.executable, "-m", __spec__.name, str(options.home), "--stage", stage]
        cost = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])
        print(
            f"| {stage} | {cost['computed']:,} | {cost['processor_seconds']:.1f} | {cost['peak_mib']:,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
