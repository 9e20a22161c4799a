"""What a caption names of what is there, by the labels of the vocabulary: computed, not judged."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

import numpy as np

from evaluation.metrics.intervals import Interval, Share, ratio_interval
from taxonomy import Taxonomy

Counts = tuple[int, int, int, int]
"""Of one text: objects there that it names, objects there, objects it names that are not there, objects it names."""


@dataclass(frozen=True, slots=True)
class NamedObjects:
    """How the objects that texts name compare with those that are there; None where there is nothing to count."""

    texts: int
    object_recall: float | None  # objects there that are named / objects there, 0..1
    objects: int  # (image, object) pairs that are there
    recall_ci95: Interval | None
    hallucination_rate: float | None  # objects named that are not there / objects named, 0..1
    mentions: int  # (image, object) pairs that are named
    hallucination_ci95: Interval | None

    @property
    def shares(self) -> dict[str, Share]:
        """`object_recall` and `hallucination_rate`, where there is something to count."""
        shares = {
            "object_recall": (self.object_recall, self.objects, self.recall_ci95),
            "hallucination_rate": (self.hallucination_rate, self.mentions, self.hallucination_ci95),
        }
        return {
            name: Share(value, support, ci95)
            for name, (value, support, ci95) in shares.items()
            if value is not None
        }


def object_counts(
    texts: Mapping[str, str], present: Mapping[str, Set[str]], objects: Set[str], taxonomy: Taxonomy
) -> dict[str, Counts]:
    """Compare what each text names with what is there.

    A concept counts once a text. A label of several concepts names the one that is there, if one is. Naming a
    broader concept of an object that is there (a vessel for a bowl) is neither a hit nor a hallucination.

    Args:
        texts: image -> text.
        present: image -> the true concepts of it; an image without an entry has none.
        objects: the concepts that count, all others are ignored in truth and texts.
        taxonomy: whose labels are looked for, and which concept is broader than which.

    Returns:
        Image -> its counts, in the order of the images' ids.
    """
    return {
        id_: _count(_mentions(text, taxonomy), present.get(id_, frozenset()), objects, taxonomy)
        for id_, text in sorted(texts.items())
    }


def named_objects(counts: Iterable[Counts]) -> NamedObjects:
    """The shares over all images, each with its 95 % interval.

    Args:
        counts: of `object_counts`, of any of its images.

    Returns:
        Object recall: hits / objects there. Hallucination rate: wrong mentions / mentions.
    """
    rows = np.array([*counts], np.float64).reshape(-1, 4)
    hits, there, wrong, named = rows.sum(axis=0)
    return NamedObjects(
        texts=len(rows),
        object_recall=float(hits / there) if there else None,
        objects=int(there),
        recall_ci95=ratio_interval(rows[:, :2]),
        hallucination_rate=float(wrong / named) if named else None,
        mentions=int(named),
        hallucination_ci95=ratio_interval(rows[:, 2:]),
    )


def _mentions(text: str, taxonomy: Taxonomy) -> list[frozenset[str]]:
    """The concepts named, in order; several where a label is that of several concepts."""
    return [frozenset(named.concept_ids) for named in taxonomy.labels.named_in(text)]


def _count(
    mentions: Iterable[frozenset[str]], present: Set[str], objects: Set[str], taxonomy: Taxonomy
) -> Counts:
    there = objects & present
    broader = {above for id_ in there & taxonomy.by_id.keys() for above in taxonomy.ancestors(id_)} - there
    right: set[str] = set()
    wrong: set[frozenset[str]] = set()
    for ids in mentions:
        if ids & there:
            right |= ids & there
        elif ids & objects and not ids & broader:
            wrong.add(ids & objects)
    return len(right), len(there), len(wrong), len(right) + len(wrong)
