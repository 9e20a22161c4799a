"""How many images of each rare concept one example finds, beside the same by words: the table of docs/search.md.

    python -m benchmarks.tail_search --home .vistag

Of a home with ground truth, such as the demo's. An example is a region of the lake that lies on a true one, or a whole image
where the concept has no regions; each image of a concept is the example once, and the recall is the mean over them: of the
other images that carry it, those among the first 20 that are found; then the same with `--not-tag` for the images whose tag
does not stand, which no threshold shows. There is no cut-off.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import astuple, dataclass, replace
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
    """Of one concept: shares of its images among the first that are found."""

    concept_id: str
    images: int
    by_example: float
    by_words: float
    missed: int
    """images whose tag does not stand"""
    missed_by_example: float | None
    """None where nothing is missed"""
    missed_by_words: float | None


def tail_recalls(home: Home, most: int | None = None) -> list[TailRecall]:
    """For the concepts of the tail with two images or more, rarest last; `most`: so many of them."""
    workspace = open_workspace(home)
    searcher, lake = Searcher(workspace), workspace.lake
    images_of = defaultdict(set)
    for row in lake.read("ground_truth").to_pylist():
        images_of[row["concept_id"]].add(row["id"])
    example_of = _examples(lake)
    tail = [row["concept_id"] for row in lake.read("frequency_bands").to_pylist() if row["band"] == "tail"]

    def of(concept_id: str) -> TailRecall:
        true, words = images_of[concept_id], workspace.taxonomy.pref_labels[concept_id]
        tagged = {hit.id for hit in searcher.search(_everything(words, concept_id))}
        missed = true - tagged
        examples = [(id_, example_of.get((concept_id, id_), id_)) for id_ in sorted(true)[:EXAMPLES]]

        def by_example(wanted: set[str], not_tags: tuple[str, ...] = ()) -> float | None:
            asked = [(Query(like=example, not_tags=not_tags), wanted - {id_}) for id_, example in examples]
            return _mean([_recall(searcher, query, others) for query, others in asked if others])

        return TailRecall(
            concept_id,
            len(true),
            by_example(true) or 0.0,
            _recall(searcher, Query(text=words), true),
            len(missed),
            by_example(missed, (concept_id,)),
            _recall(searcher, Query(text=words, not_tags=(concept_id,)), missed) if missed else None,
        )

    return [of(concept_id) for concept_id in [each for each in tail if len(images_of[each]) > 1][:most]]


def _everything(words: str, concept_id: str) -> Query:
    return Query(text=words, tags=(concept_id,), within="images", top=10_000, min_score=0.0)


def _recall(searcher: Searcher, query: Query, wanted: Collection[str]) -> float:
    found = {hit.id for hit in searcher.search(replace(query, top=FIRST, min_score=0.0))}
    return len(found & set(wanted)) / min(FIRST, len(wanted))


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


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
    titles = [
        "concept",
        "images",
        "by one example",
        "by words",
        "not tagged",
        "of these by example",
        "by words",
    ]
    rows = [[_cell(value) for value in astuple(recall)] for recall in recalls]
    columns = [[v for v in column if v is not None] for column in zip(*map(astuple, recalls), strict=True)]
    means = [
        f"**{np.mean(columns[number]):.2f}**" if number in (2, 3, 5, 6) else "" for number in range(1, 7)
    ]
    lines = [titles, ["---"] * len(titles), *rows, ["**mean**", *means]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: str | float | None) -> str:
    return "–" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, help="else $VISTAG_HOME, else ./.vistag")
    print(as_markdown(tail_recalls(Home.resolve(parser.parse_args().home))))


if __name__ == "__main__":
    main()
