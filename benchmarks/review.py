"""What people's decisions find, by simulation: `make bench-review`, on the home of `make demo`.

A reviewer who answers from the ground truth, and errs in a share of the pairs, works the real queue: leases of a
screen at a time, decisions in the real log, the queue made anew from both now and then. Beside it the same number of
decisions on the tags that are likeliest, on those that are least certain (probability closest to 0.5), on tags of the
machine by chance (`random`), and on pairs of all images and concepts by chance (`random_pairs`). Counted are the true
pairs of tail concepts that were rightly accepted.

Images are parted in two by their content; the queue was tuned on those of `--part tuning`, figures are of the others.
Decisions change no score by themselves, so nothing is said here of images that nobody looked at. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from resources.decisions import Event, Pair
from resources.home import Home
from resources.workspace import Workspace, open_workspace
from taxonomy import Taxonomy
from vistag_assets.review.desk import Desk
from vistag_assets.review.pool import Library, read_pool
from vistag_assets.review.queue import SOURCES, update_queue
from vistag_assets.review.selection import FEWEST_A_CONCEPT
from vistag_assets.review.uniform import permanent_number

WHO = "simulated reviewer"
SCREEN = 24
ERRORS = (0.0, 0.05, 0.10)
PARTS = ("held-out", "tuning")
Curve = list[list[int]]
"""[decisions, true pairs of the tail found], ..."""


@dataclass(frozen=True)
class Truth:
    """What is true in the images that are reviewed."""

    pairs: frozenset[Pair]
    """with the broader concepts of each"""
    tail: frozenset[Pair]

    @classmethod
    def read(cls, home: Home, taxonomy: Taxonomy, ids: frozenset[str]) -> Truth:
        bands, named = home.lake.read("frequency_bands"), home.lake.read("ground_truth")
        tail = {row["concept_id"] for row in bands.to_pylist() if row["band"] == "tail"}
        own = [
            (row["id"], row["concept_id"])
            for row in named.to_pylist()
            if row["id"] in ids and row["concept_id"] in taxonomy.by_id
        ]
        broader = {(id_, above) for id_, concept in own for above in taxonomy.ancestors(concept)}
        return cls(frozenset(own) | broader, frozenset(pair for pair in own if pair[1] in tail))


@dataclass
class Reviewer:
    """Answers from the truth, and wrongly in a share of the pairs, always in the same ones."""

    truth: Truth
    error: float
    decisions: int = 0
    found: int = 0

    def accepts(self, pair: Pair) -> bool:
        self.decisions += 1
        errs = permanent_number(f"error {pair[0]}", pair[1]) < self.error
        accepted = (pair in self.truth.pairs) != errs
        self.found += accepted and pair in self.truth.tail
        return accepted


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.review", description=__doc__)
    parser.add_argument("--home", type=Path, help="of make demo; else $VISTAG_HOME, else ./.vistag")
    parser.add_argument("--decisions", type=int, default=1000, help="of each curve (default %(default)s)")
    parser.add_argument("--every", type=int, default=96, help="decisions after which the queue is made anew")
    parser.add_argument("--part", choices=PARTS, default=PARTS[0])
    options = parser.parse_args(arguments)
    home = Home.resolve(options.home)
    if not home.lake.exists("ground_truth"):
        parser.error(f"{home.root} holds no evaluated images: make it with vistag demo")
    results = {}
    for error in ERRORS:
        with TemporaryDirectory() as folder:
            copy = part_of(home, Path(folder), options.part)
            results[f"{error:.2f}"] = curves = play(copy, home, error, options.decisions, options.every)
        print(f"reviewer errs in {error:.0%} of the pairs")
        for name, curve in curves.items():
            marks = ", ".join(f"{found} after {at}" for at, found in curve if at % 200 == 0)
            print(f"  {name:<12} {marks}")
    print(json.dumps(summary(home, options.part, results)))


def part_of(home: Home, folder: Path, part: str) -> Home:
    """A home of its own with one half of the images, and no decision."""
    copy = Home(folder / "home")
    for table in SOURCES:
        for key in home.lake.folders(table):
            copy.lake.write(table, home.lake.read(table, key), key)
    shutil.copy(home.root / "settings.json", copy.root)
    for key in copy.lake.folders("images"):
        rows = copy.lake.read("images", key)
        chosen = [part_of_image(id_) == part for id_ in rows["id"].to_pylist()]
        copy.lake.write("images", rows.filter(pa.array(chosen)), key)
    return copy


def part_of_image(id_: str) -> str:
    return PARTS[int(id_[-1], 16) % 2]


def play(copy: Home, home: Home, error: float, decisions: int, every: int) -> dict[str, Curve]:
    """The curve of each way to choose what to ask."""
    workspace = open_workspace(copy)
    library = Library.read(workspace)
    truth = Truth.read(home, workspace.taxonomy, frozenset(library.folder_of))
    named = [row for row in read_pool(workspace, library, FEWEST_A_CONCEPT).to_pylist() if row["named"]]
    pairs = [(row["id"], row["concept_id"]) for row in named]
    likeliest = np.argsort([-row["probability"] for row in named], kind="stable")
    unsure = np.argsort(np.abs([row["probability"] - 0.5 for row in named]), kind="stable")
    rng = np.random.default_rng(0)
    ids, concepts = list(library.folder_of), sorted(workspace.taxonomy.by_id)
    of_all = rng.choice(len(ids) * len(concepts), min(decisions, len(ids) * len(concepts)), replace=False)
    ways: dict[str, Callable[[Reviewer], Iterator[None]]] = {
        "queue": lambda reviewer: work_the_queue(workspace, reviewer, every),
        "likeliest": lambda reviewer: answer(reviewer, (pairs[place] for place in likeliest)),
        "uncertainty": lambda reviewer: answer(reviewer, (pairs[place] for place in unsure)),
        "random": lambda reviewer: answer(reviewer, (pairs[place] for place in rng.permutation(len(pairs)))),
        "random_pairs": lambda reviewer: answer(
            reviewer, ((ids[cell // len(concepts)], concepts[cell % len(concepts)]) for cell in of_all)
        ),
    }
    curves = {}
    for name, way in ways.items():
        reviewer = Reviewer(truth, error)
        curve: Curve = [[0, 0]]
        for _ in way(reviewer):
            if reviewer.decisions % 20 == 0 or reviewer.decisions == decisions:
                curve.append([reviewer.decisions, reviewer.found])
            if reviewer.decisions >= decisions:
                break
        curves[name] = curve
    return curves


def answer(reviewer: Reviewer, pairs: Iterator[Pair]) -> Iterator[None]:
    for pair in pairs:
        reviewer.accepts(pair)
        yield


def work_the_queue(workspace: Workspace, reviewer: Reviewer, every: int) -> Iterator[None]:
    desk = Desk(workspace)
    while True:
        update_queue(workspace)
        until = reviewer.decisions + every
        while reviewer.decisions < until:
            batch = desk.next_batch(WHO, min(SCREEN, until - reviewer.decisions))
            if not batch:
                return
            for item in batch:
                verdict = "accept" if reviewer.accepts(item.pair) else "reject"
                workspace.decisions.append(
                    [
                        Event(
                            who=WHO,
                            verdict=verdict,  # type: ignore[arg-type]
                            image_id=item.id,
                            pixel_hash=item.pixel_hash,
                            concept_id=item.concept_id,
                            region_id=item.region_id,
                            folder=item.folder_key,
                            shown=item.shown,
                        )
                    ]
                )
                yield


def decisions_for(curve: Curve, found: int) -> float | None:
    """After how many decisions a curve has found so many, between two of its points in a line; None: it never has."""
    for (before, less), (after, more) in itertools.pairwise(curve):
        if more >= found:
            return (
                before + (after - before) * (found - less) / (more - less) if more > less else float(before)
            )
    return None


def summary(home: Home, part: str, results: dict[str, dict[str, Curve]]) -> dict[str, object]:
    """The curves, and which share of each other way's decisions the queue needs for as many pairs of the tail."""
    shares: dict[str, dict[str, float | None]] = {}
    for error, curves in results.items():
        shares[error] = {}
        for name, curve in curves.items():
            at, found = curve[-1]
            needed = decisions_for(curves["queue"], found) if name != "queue" else None
            if needed is not None:
                shares[error][name] = round(needed / at, 3)
    taxonomy = open_workspace(home).taxonomy
    ids = frozenset(home.lake.read_all("images", ["id"])["id"].to_pylist())
    truth = Truth.read(home, taxonomy, frozenset(id_ for id_ in ids if part_of_image(id_) == part))
    return {
        "part": part,
        "images": sum(part_of_image(id_) == part for id_ in ids),
        "concepts": len(taxonomy.concepts),
        "tail_pairs": len(truth.tail),
        "share_of_decisions_for_the_same": shares,
        "curves": results,
    }


if __name__ == "__main__":
    main()
