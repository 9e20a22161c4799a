"""Figures of a big vocabulary: seconds and memory of reading it, and of scoring images against it.

    python -m benchmarks.taxonomy --concepts 50000 --images 2000

Each figure is of a process of its own. Vectors are drawn at random: scoring does not depend on what they mean.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.measuring import peak_mib

DIMENSION = 768
KEEP_TOP = 200


def draw(path: Path, concepts: int) -> None:
    """Turtle of concepts with labels in two languages, two synonyms, a definition, a parent each."""
    with path.open("w", encoding="utf-8") as file:
        file.write(
            "@prefix s: <http://www.w3.org/2004/02/skos/core#> .\n@prefix c: <http://m.example/c/> .\n"
            "@prefix f: <http://m.example/f/> .\n"
        )
        for n in range(concepts):
            above = f" ; s:broader c:{n // 7}" if n else ""
            file.write(
                f'c:{n} a s:Concept ; s:prefLabel "carved figure {n}"@en, "figuur {n}"@nl ; '
                f's:altLabel "variant {n}"@en, "form {n}"@en ; s:notation "{n}" ; s:inScheme c:s ; '
                f's:definition "A thing numbered {n}."@en{above} .\n'
            )
        members = ", ".join(f"c:{n}" for n in range(concepts))
        file.write(f"f:object a s:Collection ; s:member {members} .\n")


def check(path: Path) -> dict[str, float]:
    from taxonomy import check_report

    check_report(path)
    return {}


def match(path: Path) -> dict[str, float]:
    """Seconds a caption, once the index of labels is there."""
    from taxonomy import load_taxonomy

    labels = load_taxonomy(path).labels
    started = time.perf_counter()
    for n in range(1000):
        labels.concepts_in(f"A carved figure {n} and two variants {n} stand beside a figuur {n}.")
    return {"ms_a_caption": time.perf_counter() - started}


def score(path: Path, images: int) -> dict[str, float]:
    from resources.models.encoders.heads import ScoreHead
    from taxonomy import load_taxonomy
    from vistag_assets.whole_image.scoring import Scorer, descendant_rows, score_images, unit_rows

    vocabulary = load_taxonomy(path)
    random = np.random.default_rng(0)
    ids = [concept.id for concept in vocabulary.concepts]
    concepts = unit_rows(random.normal(size=(len(ids), DIMENSION)).astype(np.float32))
    pictures = unit_rows(random.normal(size=(images, DIMENSION)).astype(np.float32))
    head = ScoreHead("sigmoid", 100.0, -10.0)
    scorer = Scorer(ids, concepts, head, None, descendant_rows(ids, vocabulary.broader_pairs()), KEEP_TOP)
    started = time.perf_counter()
    rows = score_images([str(n) for n in range(images)], pictures, scorer)
    return {"rows": rows.num_rows, "ms_an_image": 1000 * (time.perf_counter() - started) / images}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concepts", type=int, default=50_000)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--one", choices=("check", "match", "score"), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        started = time.perf_counter()
        found = score(given.file, given.images) if given.one == "score" else globals()[given.one](given.file)
        found |= {"seconds": time.perf_counter() - started}
        used = resource.getrusage(resource.RUSAGE_SELF)
        found |= {
            "cpu_seconds": used.ru_utime + used.ru_stime
        }  # what a machine that is not shared would take
        found |= {"peak_mb": peak_mib()}
        print(json.dumps({name: round(value, 2) for name, value in found.items()}))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "v.ttl"
        draw(file, given.concepts)
        size = f"{file.stat().st_size / 2**20:.0f} MiB of Turtle"
        print(f"{given.concepts:,} concepts, {size}; {given.images:,} images; {os.cpu_count()} cores")
        for one in ("check", "match", "score"):
            command = [sys.executable, "-m", "benchmarks.taxonomy", "--one", one, "--file", str(file)]
            done = subprocess.run(
                [*command, "--images", str(given.images)], capture_output=True, text=True, check=True
            )
            print(f"{one}: {done.stdout.strip()}")


if __name__ == "__main__":
    main()
