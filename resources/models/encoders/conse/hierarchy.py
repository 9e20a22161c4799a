"""The classes of a classifier and all that they are kinds of: nodes with labels, from WordNet's hypernyms."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

TABLE = Path(__file__).parent / "imagenet_wordnet.csv"
"""The 1,000 synsets of ImageNet and their hypernyms to the root, from WordNet 3.0 (WORDNET_LICENCE.txt): facts, no picture."""
IMAGENET_CLASSES = 1000


@dataclass(frozen=True, slots=True)
class Synset:
    """Words for one thing, and what it is a kind of."""

    id: str
    """of WordNet 3.0: n and the offset of eight digits"""
    class_: int | None
    """its place among ImageNet's classes, which are sorted by id; None where it is none of them"""
    labels: tuple[str, ...]
    hypernyms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A thing that a classifier knows: one of its classes, or what several of them are kinds of."""

    labels: tuple[str, ...]
    classes: tuple[int, ...]
    is_class: bool


@lru_cache(maxsize=1)
def synsets() -> Mapping[str, Synset]:
    """Id -> synset, sorted by id."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = [
            Synset(
                row["id"],
                int(row["class"]) if row["class"] else None,
                tuple(row["labels"].split("|")),
                tuple(filter(None, row["hypernyms"].split("|"))),
            )
            for row in csv.DictReader(file)
        ]
    return {row.id: row for row in rows}


@lru_cache(maxsize=1)
def imagenet_labels() -> tuple[str, ...]:
    """ImageNet's names of its classes, as transformers and timm write them: `tench, Tinca tinca`."""
    named = {synset.class_: ", ".join(synset.labels) for synset in synsets().values()}
    return tuple(named[class_] for class_ in range(IMAGENET_CLASSES))


def ancestors(id_: str) -> frozenset[str]:
    """Ids of all that a synset is a kind of, itself included."""
    found, waiting = set[str](), [id_]
    while waiting:
        if (each := waiting.pop()) not in found:
            found.add(each)
            waiting += synsets()[each].hypernyms
    return frozenset(found)


def nodes(class_names: Sequence[str]) -> list[Node]:
    """What a classifier with classes of these names knows. Classes of names that ImageNet does not have stand alone.

    A name is one label or several with commas between; classes of one synset become one node.
    """
    by_name = {", ".join(synset.labels).casefold(): synset for synset in synsets().values()}
    kinds: dict[str, list[int]] = defaultdict(list)
    own: dict[str, list[int]] = defaultdict(list)
    found: list[Node] = []
    for class_, name in enumerate(class_names):
        synset = by_name.get(name.casefold())
        if synset is None:
            labels = tuple(part.strip() for part in name.replace("_", " ").split(",") if part.strip())
            found.append(Node(labels, (class_,), is_class=True))
            continue
        own[synset.id].append(class_)
        for ancestor in ancestors(synset.id):
            kinds[ancestor].append(class_)
    found += [
        Node(synsets()[id_].labels, tuple(classes), id_ in own) for id_, classes in sorted(kinds.items())
    ]
    return found
