"""How many images of each rare concept one example finds, beside the same by words: the table of docs/search.md.

    python -m benchmarks.tail_search --home .vistag

Of a home with ground truth, such as the demo's. An example is a region of the lake that lies on a true one, or a whole image
where the concept has no regions; each image of a concept is the example once, and the recall is the mean over them: of the
other images that carry it, those among the first 20 that are found. Neither is filtered, and there is no cut-off.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resources.boxes import iou
from resources.home import Home
from resources.lake import Lake
from resources.workspace import open_workspace
from vistag_assets.search.query import Query, Searcher

FIRST = 20
EXAMPLES = 10
"""Of a concept, at most."""
ON_A_TRUE_ONE_IOU = 0.5


@dataclass(frozen=True, slots=True)
class TailRecall:
    """Of one concept: shares of its other images among the first that are found."""

    concept_id: str
    images: int
    by_example: float
    by_words: float


def tail_recalls(home: Home, most: int | None = None) -> list[TailRecall]:
    """For the concepts of the tail with two images or more, rarest last; `most`: so many of them."""
    workspace = open_workspace(home)
    searcher, lake = Searcher(workspace), workspace.lake
    images_of = defaultdict(set)
    for row in lake.read("ground_truth").to_pylist():
        images_of[row["concept_id"]].add(row["id"])
    example_of = _examples(lake)
    tail = [row["concept_id"] for row in lake.read("frequency_bands").to_pylist() if row["band"] == "tail"]
    recalls = []
    for concept_id in [each for each in tail if len(images_of[each]) > 1][:most]:
        true = images_of[concept_id]
        shown = sorted(true)[:EXAMPLES]
        by_example = [
            _recall(searcher, Query(like=example_of.get((concept_id, id_), id_)), true - {id_})
            for id_ in shown
        ]
        words = workspace.taxonomy.pref_labels[concept_id]
        recalls.append(
            TailRecall(
                concept_id, len(true), float(np.mean(by_example)), _recall(searcher, Query(text=words), true)
            )
        )
    return recalls


def _recall(searcher: Searcher, query: Query, true: Collection[str]) -> float:
    asked = Query(text=query.text, like=query.like, top=FIRST, min_score=0.0)
    found = {hit.id for hit in searcher.search(asked)}
    return len(found & set(true)) / min(FIRST, len(true))


def _examples(lake: Lake) -> dict[tuple[str, str], str]:
    """(concept, image) -> the region of the lake that lies best on a true one of the concept there."""
    regions, true = defaultdict(list), defaultdict(list)
    for row in lake.read_all("grounded_regions", ["id", "region_id", "bbox"]).to_pylist():
        regions[row["id"]].append(row)
    for row in lake.read("ground_truth_regions", columns=["id", "concept_id", "bbox"]).to_pylist():
        true[row["concept_id"], row["id"]].append(row["bbox"])
    found = {}
    for (concept_id, id_), boxes in true.items():
        if id_ in regions:
            overlaps = iou(np.array([row["bbox"] for row in regions[id_]]), np.array(boxes)).max(axis=1)
            if overlaps.max() >= ON_A_TRUE_ONE_IOU:
                found[concept_id, id_] = regions[id_][int(overlaps.argmax())]["region_id"]
    return found


def as_markdown(recalls: Sequence[TailRecall]) -> str:
    lines = ["| concept | images | by one example | by words |", "|---|---|---|---|"]
    lines += [f"| {r.concept_id} | {r.images} | {r.by_example:.2f} | {r.by_words:.2f} |" for r in recalls]
    means = (float(np.mean([getattr(r, way) for r in recalls])) for way in ("by_example", "by_words"))
    return "\n".join([*lines, "| **mean** | | " + " | ".join(f"**{mean:.2f}**" for mean in means) + " |"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, help="else $VISTAG_HOME, else ./.vistag")
    print(as_markdown(tail_recalls(Home.resolve(parser.parse_args().home))))


if __name__ == "__main__":
    main()
