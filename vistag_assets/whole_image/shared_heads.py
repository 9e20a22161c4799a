"""The text of a concept, its own examples, and those of concepts of like words: what serves where examples are few."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vistag_assets.whole_image.adapters import Examples, Floats, Linear, Spread, Vectors, means_of

SHARE = 0.5
"""Of what an example teaches, what concepts of the same words would learn of it."""
LIKENESS_POWER = 4
"""Likeness of words, a cosine, counts by this power: only those that say nearly the same learn from each other."""
NOISE = 5.0
"""Examples of a concept at which they weigh as much as not knowing any."""
EXAMPLES_WEIGHT = 0.3
"""Beside the text, whose scores have a spread of one."""
REJECTED_WEIGHT = 0.0
"""Beside an accepted pair. What was rejected taught nothing: 0.05 lost 0.002 of the tail after 200 decisions, 0.007 after 400
(docs/decisions/0015)."""
_MOST_RELATED = 6000
"""Concepts with examples whose likeness is looked at: its square is held in memory, and solved."""


def shared_heads(texts: Vectors, examples: Examples, rejected_weight: float = REJECTED_WEIGHT) -> Linear:
    """Centred texts and heads that concepts of like words share; every concept keeps the spread that its text had.

    The means of a concept's examples are those of a Gaussian process over the concepts (Bonilla et al., Multi-task Gaussian
    process prediction, 2007): of `winged key` something is known once a `winged bowl` was seen. Spreads are kept because a
    concept with examples would else be told from the rest by that it has some, and take the first places from those
    without.
    """
    spread = Spread.of(examples.vectors)
    told = texts - texts.mean(axis=0)
    text = spread.about_the_mean(told, np.zeros(len(told)))
    before = spread.width_of(text)
    text = text.scaled(1 / max(float(np.sqrt(np.square(before).mean())), 1e-9))
    means, counts = means_of(examples, spread)
    if not counts.any():
        return text
    likeness = _likeness(told) if (counts > 0).sum() <= _MOST_RELATED else None
    known = _known_of(means, counts, likeness)
    if rejected_weight and len(examples.rejected):
        false, asked = means_of(examples.false, spread)
        known -= rejected_weight * false * (asked / (asked + NOISE))[:, None].astype(np.float32)
    heads = spread.about_the_mean(spread.solve(known), np.zeros(len(known)))
    both = text + heads.scaled(EXAMPLES_WEIGHT)
    return both.scaled(spread.width_of(text) / np.maximum(spread.width_of(both), 1e-9))


def _likeness(told: Vectors) -> Vectors:
    """[concepts, concepts], 0..1, of centred texts; 1 of each to itself."""
    unit = told / np.maximum(np.linalg.norm(told, axis=1, keepdims=True), 1e-9)
    return np.asarray(np.clip(unit @ unit.T, 0, 1) ** LIKENESS_POWER, dtype=np.float32)


def _known_of(means: Vectors, counts: NDArray[np.int64], likeness: Vectors | None) -> Vectors:
    """[concepts, dimension]: what is expected of each concept's mean, from the means of those that have examples."""
    if likeness is None:
        return means * (counts / (counts + NOISE))[:, None].astype(np.float32)
    seen = np.flatnonzero(counts)
    between: Floats = SHARE * likeness[:, seen]
    between[seen, np.arange(len(seen))] += 1 - SHARE
    solved = np.linalg.solve(between[seen] + np.diag(NOISE / counts[seen]).astype(np.float32), means[seen])
    return np.asarray(between @ solved, dtype=np.float32)
