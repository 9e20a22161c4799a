"""Fitting adapters at the size of a museum: seconds and memory, each fit in a process of its own.

    python -m benchmarks.adapters --concepts 5000 --pictures 100000

Vectors are drawn at random, with three concepts a picture by Zipf's law: a fit does not depend on what they mean.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

import numpy as np

from benchmarks.measuring import peak_mib
from vistag_assets.whole_image.adapter_policy import Texts, adapter_of, choose
from vistag_assets.whole_image.adapters import (
    Examples,
    Linear,
    gaussian_heads,
    logistic_heads,
    projected,
)
from vistag_assets.whole_image.scoring import unit_rows
from vistag_assets.whole_image.shared_heads import shared_heads

FITS: Mapping[str, Callable[[np.ndarray, Examples], Linear]] = {
    "gaussian_heads": lambda _, examples: gaussian_heads(examples),
    "projected": projected,
    "shared": shared_heads,
    "logistic_heads": lambda _, examples: logistic_heads(examples),
    "policy": lambda texts, examples: _adapted(Texts(texts, _SCALE), examples),
}
CONCEPTS_A_PICTURE = 3
_SCALE = 100.0
"""Of an encoder's head; a fit does not depend on it."""


def _adapted(texts: Texts, examples: Examples) -> Linear:
    """What `vistag adapt` fits: cross-validation of all remedies, and the adapter of what it chose."""
    return adapter_of(choose(texts, examples), texts, examples)


def drawn(concepts: int, pictures: int, dimension: int) -> tuple[np.ndarray, Examples]:
    """Texts [concepts, dimension], and pictures."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, concepts + 1)
    pairs = np.unique(
        np.stack(
            [
                np.repeat(np.arange(pictures), CONCEPTS_A_PICTURE),
                rng.choice(concepts, CONCEPTS_A_PICTURE * pictures, p=share / share.sum()),
            ]
        ),
        axis=1,
    )
    vectors = unit_rows(rng.standard_normal((pictures, dimension), dtype=np.float32))
    texts = unit_rows(rng.standard_normal((concepts, dimension), dtype=np.float32))
    return texts, Examples(vectors, pairs[0], pairs[1], concepts)


def fit(name: str, texts: np.ndarray, examples: Examples) -> dict[str, float]:
    started = time.perf_counter()
    FITS[name](texts, examples)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_gb": round(peak_mib() / 1024, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concepts", type=int, default=5_000)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=768)
    parser.add_argument("--one", choices=FITS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(fit(given.one, *drawn(given.concepts, given.pictures, given.dimension))))
        return
    print(
        f"{given.concepts:,} concepts, {given.pictures:,} pictures of {given.dimension}, {os.cpu_count()} cores"
    )
    found = {}
    for name in FITS:
        command = [sys.executable, "-m", "benchmarks.adapters", "--one", name]
        sizes = [f"--{size}={getattr(given, size)}" for size in ("concepts", "pictures", "dimension")]
        done = subprocess.run([*command, *sizes], capture_output=True, text=True, check=True)
        found[name] = json.loads(done.stdout)
        print(f"  {name:<16} {found[name]}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
