"""What the hard museum shows: its vocabulary, each facet from the most common concept to the rarest, and how often."""

import csv
from functools import cache
from pathlib import Path

from demo.world.scene import World
from taxonomy import Taxonomy, load_taxonomy

VOCABULARY = Path(__file__).parent / "vocabulary.csv"
"""300 concepts that are drawn, from the most common of each facet to the rarest, and the 30 kinds of its objects."""


@cache
def hard_taxonomy() -> Taxonomy:
    return load_taxonomy(VOCABULARY)


def _drawn(facet: str) -> tuple[str, ...]:
    """In the order of the file; a kind of objects is drawn as one of its own kinds only."""
    with VOCABULARY.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["facet"] == facet]
    kinds = {row["broader"] for row in rows}
    return tuple(row["id"] for row in rows if row["id"] not in kinds)


HARD = World(
    objects=_drawn("object"),
    materials=_drawn("material"),
    techniques=_drawn("motif"),
    conditions=_drawn("condition"),
    settings=_drawn("setting"),
    lightings=_drawn("lighting"),
    props=(),
    suits={},
    zipf_exponent=1.3,
    object_chances=(0.8, 0.16, 0.04),
    sizes=((0.5, 0.9), (0.34, 0.6), (0.26, 0.46)),
    small_chance=0.12,
    technique_chance=0.18,
    condition_chance=0.35,
)
"""Small, worn objects among clutter, and a long tail: seven concepts of ten are in fewer than ten of 2,000 pictures."""
