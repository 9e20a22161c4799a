"""Which pairs of an image and a concept to ask people about, and in which order. Pure: tables and vectors in, rows out.

Pairs are never ranked by a figure that is averaged over concepts: that drowns the rare ones. Each concept has a queue of
its own, and the queues are merged so that rare concepts come more often.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Row = dict[str, Any]
Reason = Literal["boundary", "no_positive", "neighbour", "uniform"]
Floats = NDArray[np.float64]
Places = NDArray[np.int64]

MOST_A_CONCEPT = 24
"""Pairs of the rarest concept; a screen full of crops."""
FEWEST_A_CONCEPT = 4
SHORT_LIST = 4
"""So many times the pairs that are asked about are looked at for different ones."""
UNIFORM_SHARE = 0.05
"""Of the rows of the queue."""
NAMED_SHARE = 0.8
"""Of the uniform slice: pairs that the machine names; the rest is of all others."""
DIVERSITY = 0.5
"""How much unlikeness to what is chosen already counts beside the place in the list, 0..1."""
_SMALL = 0.02
"""A probability below which a concept is as good as absent: it still gets its turn, rarely."""
_CALIBRATED = 0.5


@dataclass(frozen=True, slots=True)
class Judged:
    """What people said of one concept, beside what the machine says."""

    probability: Floats
    accepted: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Candidates:
    """The pairs of one concept that nobody has spoken of; all arrays have a row a pair."""

    concept_id: str
    probability: Floats
    likeness: Floats
    """cosine to the most alike of the pairs that were accepted; -1 where nobody looked for it or none was"""
    judged: Judged
    carried_by: float = 0.0
    """pictures that are known to show it"""

    @property
    def expected_images(self) -> float:
        return self.carried_by + float(self.probability.sum())


@dataclass(frozen=True, slots=True)
class Choice:
    """Pairs of one concept, as places in its candidates, best first."""

    places: list[int]
    reasons: list[Reason]


def boundary(judged: Judged) -> float:
    """The probability that parts what was accepted from what was rejected, with the fewest errors.

    Of the thresholds that err least it is that closest to 0.5, where a calibrated probability would have it.
    """
    if len(judged.probability) == 0:
        return _CALIBRATED
    order = np.argsort(judged.probability, kind="stable")
    probability, accepted = judged.probability[order], judged.accepted[order]
    # between places i - 1 and i: accepted ones below and rejected ones above are errors
    errors = np.concatenate([[0], np.cumsum(accepted)]) + np.concatenate(
        [np.cumsum(~accepted[::-1])[::-1], [0]]
    )
    edges = np.concatenate([[-1.0], probability, [2.0]])
    usable = edges[1:] > edges[:-1]
    best = np.flatnonzero(usable & (errors == errors[usable].min()))
    # a threshold lies above what is below it
    nearest = [min(max(_CALIBRATED, np.nextafter(edges[i], 2)), edges[i + 1]) for i in best]
    return float(min(nearest, key=lambda at: abs(at - _CALIBRATED)))


def choose(candidates: Candidates, count: int) -> Choice:
    """Up to `count` times SHORT_LIST pairs of a concept, what to ask first at the front.

    Nobody has confirmed it yet: the likeliest. Else, in turn: the pairs next to its boundary, from above and from below,
    and those that look like one that was accepted.
    """
    likeliest = np.argsort(-candidates.probability, kind="stable")
    most = count * SHORT_LIST
    if not candidates.judged.accepted.any():
        some = likeliest[:most]
        return Choice(some.tolist(), ["no_positive"] * len(some))
    at = boundary(candidates.judged)
    # of what the machine is silent about nothing says on which side it lies
    named = likeliest[candidates.probability[likeliest] > 0]
    first_below = int((candidates.probability[named] >= at).sum())
    above, below = named[:first_below][::-1], named[first_below:]
    alike = np.argsort(-candidates.likeness, kind="stable")
    alike = alike[candidates.likeness[alike] > -1]
    taken: dict[int, Reason] = {}
    for over, under, like in zip_longest(above[:most], below[:most], alike[:most]):
        for place, reason in ((over, "boundary"), (like, "neighbour"), (under, "boundary")):
            if place is not None and len(taken) < most:
                taken.setdefault(int(place), reason)  # type: ignore[arg-type]
    return Choice([*taken], [*taken.values()])


def diverse(choice: Choice, vectors: NDArray[np.float32], count: int) -> Choice:
    """`count` pairs of a choice: early ones, but not several that look alike (maximal marginal relevance).

    vectors: [pairs of the choice, dimension], unit length.
    """
    size = len(choice.places)
    if size <= 1:
        return choice
    alike = vectors @ vectors.T
    low, high = float(alike.min()), float(alike.max())
    alike = (alike - low) / max(high - low, 1e-9)
    early = 1 - np.arange(size) / size
    likest = np.zeros(size)
    left = np.ones(size, bool)
    chosen: list[int] = []
    while len(chosen) < min(count, size):
        worth = np.where(left, (1 - DIVERSITY) * early - DIVERSITY * likest, -np.inf)
        best = int(np.argmax(worth))
        chosen.append(best)
        left[best] = False
        likest = np.maximum(likest, alike[best])
    return Choice([choice.places[i] for i in chosen], [choice.reasons[i] for i in chosen])


def rarity(expected_images: float) -> float:
    """0..1, the larger the rarer: the weight of a concept."""
    return 1 / math.sqrt(1 + expected_images)


def quota(candidates: Candidates, rarest: float) -> int:
    """How many pairs of a concept are asked about; `rarest`: the largest `rarity` of all concepts."""
    if candidates.probability.max(initial=0) < _SMALL:
        return FEWEST_A_CONCEPT
    share = rarity(candidates.expected_images) / rarest
    return max(FEWEST_A_CONCEPT, round(MOST_A_CONCEPT * share))


def merged(all_candidates: Sequence[Candidates], lengths: Sequence[int]) -> list[tuple[int, int]]:
    """(concept, place in its own queue), in the order of the whole: each concept by its turns, rare and likely ones more often."""
    turns = []
    for number, (candidates, length) in enumerate(zip(all_candidates, lengths, strict=True)):
        hope = _SMALL + float(candidates.probability.max(initial=0))
        rate = rarity(candidates.expected_images) * hope
        turns += [((place + 0.5) / rate, number, place) for place in range(length)]
    return [(number, place) for _, number, place in sorted(turns)]


def uniform_places(active: int) -> list[int]:
    """Where in a queue of `active` other rows those of the uniform slice stand: spread evenly, from the beginning."""
    every = round(1 / UNIFORM_SHARE)
    return list(range(0, math.ceil(active / (every - 1)) * every, every))


def spread(active: Sequence[Row], uniform: Sequence[Row]) -> list[Row]:
    """Rows with each uniform one at its place among the others; a pair that is both stands once, where it comes first."""
    slots, rest = dict(zip(uniform_places(len(active)), uniform, strict=False)), iter(active)
    by_chance = {(row["id"], row["concept_id"]): row for row in uniform}
    rows: dict[tuple[str, str], Row] = {}
    for place in range(len(active) + len(uniform)):
        row = slots.get(place) or next(rest, None)
        if row is not None:
            pair = row["id"], row["concept_id"]
            chance = by_chance.get(pair, {})
            marks = {name: chance[name] for name in ("is_uniform", "inclusion_probability") if chance}
            rows.setdefault(pair, row | marks)
    for row in uniform:
        rows.setdefault((row["id"], row["concept_id"]), row)
    return [*rows.values()]
