"""Build time, size, memory, latency and recall of vistag's index at 1,000,000 vectors of 768, beside other ways.

    python -m benchmarks.search --vectors 100000

Each engine is built and asked in processes of its own, on the same vectors. The last line is JSON; an engine that is not
installed, or was left out, is null there.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import peak_mib
from benchmarks.search.engines import ENGINES, PACKAGES, TOP, Ours, Search
from benchmarks.search.vectors import DIMENSION, World, mapped

CLIENTS = 8
ADDED = 1000
FILTERED_SHARE = 0.01
WARM_UP = 5
SLOW_QUERIES = 20
"""Of an engine that looks at every vector."""
SCANS = ("exact", "duckdb")
VECTORS, QUERIES, TRUTH = "vectors.f16", "queries.f16", "truth.npz"
BARS = {
    "recall@10": ">= 0.98",
    "p50": "<= 1/20 of the exact scan's",
    "resident": "<= 1/3 of the vectors",
    "add_1000": "<= 2 % of the build",
    "filtered_recall@10": ">= 0.98",
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--skip", nargs="*", default=[], choices=sorted(ENGINES.keys() - {"exact", "ours"}))
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--step", choices=("build", "ask", "add"), help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.engine:
        print(json.dumps(_STEPS[given.step](given.engine, given.place)))
        return
    with tempfile.TemporaryDirectory(prefix="vistag-bench-search-") as folder:
        place = Path(folder)
        _draw(place, given.vectors, given.queries)
        figures = {name: _figures(name, place, given.skip) for name in ENGINES}
    for line in _held_to_the_bars(figures, given.vectors):
        print(line, file=sys.stderr)
    print(json.dumps({"vectors": given.vectors, **figures}))


def _draw(place: Path, vectors: int, queries: int) -> None:
    world = World()
    _tell(f"Drawing {vectors:,} vectors of {DIMENSION}")
    world.write(place / VECTORS, vectors, seed=1000)
    (place / QUERIES).write_bytes(world.draw(queries, seed=1).data)
    allowed = np.random.default_rng(2).random(vectors) < FILTERED_SHARE
    np.savez(place / "allowed.npz", allowed=allowed)


def _figures(name: str, place: Path, skipped: Sequence[str]) -> dict[str, float] | None:
    if name in skipped or (name in PACKAGES and find_spec(PACKAGES[name]) is None):
        return None
    own = place / name
    own.mkdir()
    built = _step(name, "build", place)
    size = sum(path.stat().st_size for path in own.rglob("*") if path.is_file())
    figures = {**built, "file_mib": round(size / 2**20, 1), **_step(name, "ask", place)}
    if name == "ours":
        figures |= _step(name, "add", place)
    _tell(f"{name}: {figures}")
    return figures


def _step(name: str, step: str, place: Path) -> dict[str, float]:
    _tell(f"{name}: {step}")
    command = [
        sys.executable,
        "-m",
        "benchmarks.search",
        "--engine",
        name,
        "--step",
        step,
        "--place",
        str(place),
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _build(name: str, place: Path) -> dict[str, float]:
    started = time.perf_counter()
    ENGINES[name]().build(place / VECTORS, place / name)
    peak = peak_mib()
    return {"build_s": round(time.perf_counter() - started, 2), "build_peak_mib": round(peak)}


def _ask(name: str, place: Path) -> dict[str, float]:
    """Latency alone and with clients, memory after it, recall with and without a filter."""
    search = ENGINES[name]().open(place / VECTORS, place / name)
    queries = mapped(place / QUERIES).astype(np.float32)
    allowed = np.load(place / "allowed.npz")["allowed"]
    asked = queries[: SLOW_QUERIES if name in SCANS else len(queries)]
    for query in queries[:WARM_UP]:
        search(query, None)
    alone, rows = zip(*(_timed(search, query) for query in asked), strict=True)
    resident = _resident_mib()
    with ThreadPoolExecutor(CLIENTS) as clients:
        together = list(clients.map(lambda query: _timed(search, query)[0], asked))
    filtered_s, filtered = zip(*(_timed(search, query, allowed) for query in asked[:50]), strict=True)
    truth = _truth(name, place, queries, search, allowed)
    return {
        "recall@10": _recall(rows, truth["all"]),
        "p50_ms": _ms(alone, 50),
        "p99_ms": _ms(alone, 99),
        f"p50_ms_{CLIENTS}_clients": _ms(together, 50),
        f"p99_ms_{CLIENTS}_clients": _ms(together, 99),
        "resident_mib": round(resident, 1),
        "filtered_recall@10": _recall(filtered, truth["filtered"]),
        "filtered_p50_ms": _ms(filtered_s, 50),
    }


def _truth(name: str, place: Path, queries: Any, search: Search, allowed: Any) -> dict[str, Any]:
    """What is right: as the exact scan finds it, which is asked first."""
    if name == "exact":
        found = {
            "all": np.stack([search(query, None) for query in queries]),
            "filtered": np.stack([search(query, allowed) for query in queries[:50]]),
        }
        np.savez(place / TRUTH, all=found["all"], filtered=found["filtered"])
        return found
    return dict(np.load(place / TRUTH))


def _add(name: str, place: Path) -> dict[str, float]:
    """One more folder, of as many vectors."""
    count = len(mapped(place / VECTORS))
    with (place / VECTORS).open("ab") as file:
        file.write(World().draw(ADDED, seed=3).data)
    started = time.perf_counter()
    Ours().update(place / VECTORS, place / name, count + ADDED)
    return {"add_1000_s": round(time.perf_counter() - started, 3)}


_STEPS = {"build": _build, "ask": _ask, "add": _add}


def _timed(search: Search, query: Any, allowed: Any = None) -> tuple[float, Any]:
    started = time.perf_counter()
    rows = search(query, allowed)
    return time.perf_counter() - started, rows


def _recall(found: Sequence[Any], right: Any) -> float:
    hits = sum(len(set(rows.tolist()) & set(best.tolist())) for rows, best in zip(found, right, strict=False))
    return round(hits / (len(found) * TOP), 4)


def _ms(seconds: Sequence[float], percentile: int) -> float:
    return round(1000 * float(np.percentile(seconds, percentile)), 2)


def _resident_mib() -> float:
    """Of this process, with what it has mapped and looked at."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _held_to_the_bars(figures: dict[str, Any], vectors: int) -> list[str]:
    ours, exact = figures["ours"], figures["exact"]
    vectors_mib = vectors * DIMENSION * 2 / 2**20
    measured = {
        "recall@10": (ours["recall@10"], ours["recall@10"] >= 0.98),
        "p50": (f"1/{exact['p50_ms'] / ours['p50_ms']:.0f}", 20 * ours["p50_ms"] <= exact["p50_ms"]),
        "resident": (f"1/{vectors_mib / ours['resident_mib']:.1f}", 3 * ours["resident_mib"] <= vectors_mib),
        "add_1000": (
            f"{100 * ours['add_1000_s'] / ours['build_s']:.2f} %",
            ours["add_1000_s"] <= 0.02 * ours["build_s"],
        ),
        "filtered_recall@10": (ours["filtered_recall@10"], ours["filtered_recall@10"] >= 0.98),
    }
    return [
        f"{name}: {value}, {BARS[name]}: {'yes' if met else 'NO'}" for name, (value, met) in measured.items()
    ]


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
