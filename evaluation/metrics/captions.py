"""What a caption names of what is there, by the labels of the vocabulary: computed, not judged."""

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass

import numpy as np

from evaluation.metrics.bootstrap import RESAMPLES, Interval, Share, ratio_interval
from taxonomy import Taxonomy

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_IRREGULAR = {"foot": "feet", "tooth": "teeth", "goose": "geese", "mouse": "mice", "leaf": "leaves"}


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


class LabelMatcher:
    """Finds the concepts of a vocabulary in text: longest match first, whole words, singular or plural."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        exact: dict[tuple[str, ...], set[str]] = {}
        for concept in taxonomy.concepts:
            for label in concept.labels:
                exact.setdefault(_words(label), set()).add(concept.id)
        inexact: dict[tuple[str, ...], set[str]] = {}
        for words, ids in exact.items():
            for form in _forms(words[-1]) if words else ():
                inexact.setdefault((*words[:-1], form), set()).update(ids)
        # "glasses" is a label of its own and no plural of "glass"
        self._concepts: Mapping[tuple[str, ...], set[str]] = inexact | exact
        self._longest = max(map(len, exact), default=0)

    def mentions(self, text: str) -> list[frozenset[str]]:
        """The concepts named, in order; several where a label is that of several concepts."""
        words = _words(text)
        found = []
        start = 0
        while start < len(words):
            for length in range(min(self._longest, len(words) - start), 0, -1):
                ids = self._concepts.get(words[start : start + length])
                if ids:
                    found.append(frozenset(ids))
                    start += length
                    break
            else:
                start += 1
        return found


def named_objects(
    texts: Mapping[str, str],
    present: Mapping[str, Set[str]],
    objects: Set[str],
    matcher: LabelMatcher,
    taxonomy: Taxonomy,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> NamedObjects:
    """Compare what texts name with what is there.

    A concept counts once a text. A label of several concepts names the one that is there, if one is. Naming a
    broader concept of an object that is there (a vessel for a bowl) is neither a hit nor a hallucination.

    Args:
        texts: image -> text.
        present: image -> the true concepts of it; an image without an entry has none.
        objects: the concepts that count, all others are ignored in truth and texts.
    """
    rows = np.array(
        [
            _count(list(matcher.mentions(text)), present.get(id_, frozenset()), objects, taxonomy)
            for id_, text in sorted(texts.items())
        ],
        np.float64,
    ).reshape(-1, 4)
    hits, there, wrong, named = rows.sum(axis=0)
    return NamedObjects(
        texts=len(rows),
        object_recall=float(hits / there) if there else None,
        objects=int(there),
        recall_ci95=ratio_interval(rows[:, :2], resamples, seed),
        hallucination_rate=float(wrong / named) if named else None,
        mentions=int(named),
        hallucination_ci95=ratio_interval(rows[:, 2:], resamples, seed),
    )


def _count(
    mentions: Iterable[frozenset[str]], present: Set[str], objects: Set[str], taxonomy: Taxonomy
) -> tuple[int, int, int, int]:
    """Hits, objects there, wrong mentions, mentions."""
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


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.replace("’", "'").removesuffix("'s") for word in _WORD.findall(text.casefold()))


def _forms(word: str) -> Iterator[str]:
    """Other numbers of a noun: its plural, and its singular where it looks like a plural."""
    yield from _plurals(word)
    if word.endswith("s") and not word.endswith("ss"):
        yield word[:-1]
        if word.endswith("es"):
            yield word[:-2]
        if word.endswith("ies"):
            yield f"{word[:-3]}y"


def _plurals(word: str) -> Iterator[str]:
    if word in _IRREGULAR:
        yield _IRREGULAR[word]
    elif word.endswith("man"):
        yield f"{word[:-3]}men"
    elif word.endswith(("s", "x", "z", "ch", "sh")):
        yield f"{word}es"
    elif word.endswith("y") and word[-2:-1] not in "aeiou":
        yield f"{word[:-1]}ies"
    else:
        yield f"{word}s"
        if word.endswith("f"):
            yield f"{word[:-1]}ves"
        elif word.endswith("fe"):
            yield f"{word[:-2]}ves"
