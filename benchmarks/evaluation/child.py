"""One peer on the workload, in a process of its own: `python -m benchmarks.evaluation.child PEER FOLDER`, a JSON line."""

import contextlib
import importlib
import json
import logging
import sys
import time
from pathlib import Path

from benchmarks.measuring import peak_mib


def main(peer: str, folder: Path) -> None:
    logging.disable(logging.WARNING)
    with contextlib.redirect_stdout(sys.stderr):
        module = importlib.import_module(f"benchmarks.evaluation.peers.{peer}")
        start, cpu_start = time.perf_counter(), time.process_time()
        loaded = module.load(folder)
        ready = time.perf_counter()
        evaluated = module.evaluate(loaded)
        end, cpu_end = time.perf_counter(), time.process_time()
        peak = peak_mib()
        recall = module.recall(evaluated)
    figures = {
        "seconds": end - start,
        "load_seconds": ready - start,
        "cpu_seconds": cpu_end - cpu_start,
        "peak_mib": peak,
        "recall": recall,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
