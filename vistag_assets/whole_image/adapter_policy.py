"""Which adapter serves which concepts, chosen by cross-validation on the pictures that are there, and the one made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vistag_assets.whole_image.adapters import (
    Examples,
    Floats,
    Linear,
    Vectors,
    blended,
    centred,
    gaussian_heads,
    priors,
    projected,
)
from vistag_assets.whole_image.scoring import top_columns
from vistag_assets.whole_image.shared_heads import shared_heads

K = 10
LEAST_EXAMPLES = (0, 1, 3, 10, 50)
"""Where each group of concepts begins, by the examples they have: too few of one concept to choose for it alone."""
PRIOR_WEIGHTS = (0.0, 0.5, 1.0)
MAY_LOSE = 0.005
"""Of the recall of the frequent tenth, and of all: the tail is not raised at their cost."""
BAND_WEIGHTS = np.array([0.25, 0.25, 0.5])
"""Of the frequent tenth, the next fifth and the rest, in what is made as large as possible."""
ENOUGH_TO_CHOOSE = 500
"""Examples. Of fewer, a choice among remedies and priors is a choice by chance (and what a queue asked about is no sample that
tells how frequent concepts are): the one that was best with few, for all, or none."""
FOLDS = 4
MOST_PAIRS = 10_000_000
"""Pictures times concepts by which is judged: of a larger corpus every so many-th picture, which bounds time and memory."""
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Texts:
    """What the encoder says of the concepts' labels."""

    vectors: Vectors
    """[concepts, dimension], unit length"""
    scale: float
    """of the encoder's head"""


Remedy = Callable[[Texts, Examples], Linear]
REMEDIES: Mapping[str, Remedy] = {
    "text": lambda texts, examples: Linear(
        texts.scale * texts.vectors, np.zeros(examples.concepts, np.float32)
    ),
    "centred": lambda texts, examples: centred(texts.vectors, texts.scale, examples.vectors),
    "projected": lambda texts, examples: projected(texts.vectors, examples),
    "shared": lambda texts, examples: shared_heads(texts.vectors, examples),
    "heads": lambda _, examples: gaussian_heads(examples),
    "blend": lambda texts, examples: blended(
        projected(texts.vectors, examples), gaussian_heads(examples), examples.counts
    ),
}
SILENT_WITHOUT_EXAMPLES = frozenset({"heads"})
"""They serve no group that begins with no example: there the text must speak."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Of one group of concepts."""

    remedy: str = "text"
    prior_weight: float = 0.0


Policy = tuple[Choice, ...]
"""One a group, in the order of `LEAST_EXAMPLES`."""


@dataclass(frozen=True, slots=True)
class _HeldOut:
    """What each remedy says of the pictures of a fold, fitted to the others."""

    rows: NDArray[np.intp]
    """of the pictures that judge"""
    groups: NDArray[np.intp]
    """[concepts], by the examples that the fit had: a concept whose only picture is held out has none"""
    log_priors: Vectors
    told: Mapping[str, Vectors]
    """remedy -> log odds [rows, concepts]"""

    @classmethod
    def of(cls, texts: Texts, others: Examples, own: NDArray[np.bool_], vectors: Vectors) -> _HeldOut:
        some = judging(len(own), others.concepts)
        rows, judged = np.flatnonzero(own)[some], vectors[some]
        told = {name: remedy(texts, others).log_odds(judged) for name, remedy in REMEDIES.items()}
        return cls(rows, groups_of(others.counts), priors(others).bias, told)

    def log_odds(self, policy: Policy) -> Vectors:
        mixed = np.empty_like(self.told["text"])
        for group, choice in enumerate(policy):
            own = self.groups == group
            mixed[:, own] = self.told[choice.remedy][:, own] + choice.prior_weight * self.log_priors[own]
        return mixed


def choose(texts: Texts, examples: Examples) -> Policy:
    """The best recall@10 by `BAND_WEIGHTS`, of pictures that were held out.

    It begins with the text alone for all and changes one group at a time, as long as that gains and neither the frequent
    tenth nor all together lose more than `MAY_LOSE` against the text.
    """
    held_out = [_HeldOut.of(texts, *fold) for fold in folds_of(examples, FOLDS)]
    is_true = np.concatenate([examples.truth(fold.rows) for fold in held_out])
    bands = bands_by(examples.counts)
    policy: Policy = (Choice(),) * len(LEAST_EXAMPLES)

    def measured(policy: Policy) -> Floats:
        return recalls(np.concatenate([fold.log_odds(policy) for fold in held_out]), is_true, bands)

    first = best = measured(policy)
    if len(examples.row) < ENOUGH_TO_CHOOSE:
        shared: Policy = (Choice("shared"),) * len(LEAST_EXAMPLES)
        return shared if _keeps(measured(shared), first) else policy
    for _ in range(_ROUNDS):
        before = policy
        for group in range(len(LEAST_EXAMPLES)):
            for choice in _choices(group):
                tried = (*policy[:group], choice, *policy[group + 1 :])
                found = measured(tried)
                if _keeps(found, first) and found[:3] @ BAND_WEIGHTS > best[:3] @ BAND_WEIGHTS:
                    policy, best = tried, found
        if policy == before:
            break
    return policy


def _keeps(found: Floats, first: Floats) -> bool:
    """Whether neither the frequent tenth nor all together lost more than they may."""
    return bool((found[[0, 3]] >= first[[0, 3]] - MAY_LOSE).all())


def _choices(group: int) -> Iterator[Choice]:
    for remedy in REMEDIES:
        if LEAST_EXAMPLES[group] or remedy not in SILENT_WITHOUT_EXAMPLES:
            yield from (Choice(remedy, weight) for weight in PRIOR_WEIGHTS)


def adapter_of(policy: Policy, texts: Texts, examples: Examples) -> Linear:
    """That of a policy, fitted to all examples."""
    groups = groups_of(examples.counts)
    fitted = {name: REMEDIES[name](texts, examples) for name in {choice.remedy for choice in policy}}
    log_priors = priors(examples).bias
    weights, bias = np.empty_like(texts.vectors), np.empty(examples.concepts, np.float32)
    for group, choice in enumerate(policy):
        own, chosen = groups == group, fitted[choice.remedy]
        weights[own] = chosen.weights[own]
        bias[own] = chosen.bias[own] + choice.prior_weight * log_priors[own]
    return Linear(weights, bias)


def described(policy: Policy) -> dict[str, str]:
    """As people read it: how many examples -> what serves."""
    ends = [*(f"to {least - 1}" for least in LEAST_EXAMPLES[1:]), "or more"]
    return {
        f"{least} {end} examples" if least else "no example": choice.remedy
        + (f", prior {choice.prior_weight:g}" if choice.prior_weight else "")
        for least, end, choice in zip(LEAST_EXAMPLES, ends, policy, strict=True)
    }


def groups_of(counts: NDArray[np.integer]) -> NDArray[np.intp]:
    """[concepts]: place in `LEAST_EXAMPLES`."""
    return np.searchsorted(LEAST_EXAMPLES, counts, side="right") - 1


def bands_by(counts: NDArray[np.integer]) -> tuple[NDArray[np.bool_], ...]:
    """bool [concepts] of the frequent tenth of those that have examples, of the next fifth, of the rest, and of all."""
    order = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]
    edges = [0, int(np.ceil(0.1 * len(order))), int(np.ceil(0.1 * len(order)) + np.ceil(0.2 * len(order)))]
    parts = [order[edges[0] : edges[1]], order[edges[1] : edges[2]], order[edges[2] :], order]
    return tuple(np.isin(np.arange(len(counts)), part) for part in parts)


def found_in_top(log_odds: Floats, is_true: NDArray[np.bool_], k: int = K) -> NDArray[np.bool_]:
    """[pictures, concepts]: the true pairs that are among the first k of their picture."""
    found = np.zeros_like(is_true)
    np.put_along_axis(found, top_columns(log_odds, k), True, axis=1)
    return found & is_true


def recalls(log_odds: Floats, is_true: NDArray[np.bool_], bands: tuple[NDArray[np.bool_], ...]) -> Floats:
    """Recall@10 of each band, 0..1; 1 where nothing is true."""
    hits, there = found_in_top(log_odds, is_true).sum(axis=0), is_true.sum(axis=0)
    return np.array([hits[band].sum() / there[band].sum() if there[band].any() else 1.0 for band in bands])


def judging(pictures: int, concepts: int) -> slice:
    """Of so many pictures those that judge."""
    return slice(None, None, max(1, -(-pictures * concepts // MOST_PAIRS)))


def folds_of(examples: Examples, folds: int) -> Iterator[tuple[Examples, NDArray[np.bool_], Vectors]]:
    """The examples without those of a fold, bool [pictures] of that fold, and its vectors; pictures take turns."""
    turn = np.arange(len(examples.vectors)) % folds
    for fold in range(folds):
        kept = turn != fold
        place, pairs = np.cumsum(kept) - 1, kept[examples.row]
        rejected = examples.rejected[kept[examples.rejected[:, 0]]]
        rejected[:, 0] = place[rejected[:, 0]]
        others = replace(
            examples,
            vectors=examples.vectors[kept],
            row=place[examples.row[pairs]],
            column=examples.column[pairs],
            rejected=rejected,
        )
        yield others, ~kept, examples.vectors[~kept]
