"""What an hour of review buys: tail recall@10 of pictures that nobody looked at, by decisions on other pictures.

A reviewer who answers from the truth, and errs in a share of the pairs, is asked in screens; the scores are fitted to what
was said, and the next screen is chosen by the new scores. Screens come from the review queue's own rules, from the pairs
whose probability is closest to a half, by chance from the first ten tags of each picture, or from the truth: the bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.tail.corpus import Corpus
from vistag_assets.review.selection import (
    Candidates,
    Judged,
    choose,
    merged,
    quota,
    rarity,
)
from vistag_assets.whole_image.adapter_policy import K, found_in_top
from vistag_assets.whole_image.adapters import Examples, Linear, Vectors
from vistag_assets.whole_image.scoring import top_columns
from vistag_assets.whole_image.shared_heads import REJECTED_WEIGHT, shared_heads

SCREEN = 25
MOST = 400
SEEDS = 3
THIRDS = 3
EXPECTED_TRUE = 5
"""Tags of a picture: what probabilities add up to."""
SHARPNESS = 4.0
"""Spread of the log odds, that of the demo encoder's own."""
_FACTS = 3 * K
"""Tags of a picture that the queue knows."""

Bool = NDArray[np.bool_]
Judge = Callable[[Linear, Bool], tuple[Bool, Bool]]
"""From scores and bool [pictures] that are held out to what was found and what is true, bool [pictures judged, concepts]."""


@dataclass(frozen=True)
class Reviewer:
    """Answers from the truth."""

    errors: float = 0.0
    """share of the answers that are wrong"""
    corrects: bool = True
    """says of a false tag which of the same facet it is instead: of those that are true one by chance"""
    rejected_weight: float = REJECTED_WEIGHT
    """of what was rejected beside what was accepted, in the fit"""


@dataclass
class Desk:
    """What was asked and answered of the pictures of a pool."""

    corpus: Corpus
    """of the pool alone"""
    tail: Bool
    reviewer: Reviewer
    rng: np.random.Generator

    def __post_init__(self) -> None:
        self.asked, self.accepted, self.rejected = np.zeros((3, *self.corpus.is_true.shape), bool)

    def answer(self, pairs: Sequence[tuple[int, int]]) -> None:
        for picture, concept in pairs:
            self.asked[picture, concept] = True
            if self.corpus.is_true[picture, concept] ^ (self.rng.random() < self.reviewer.errors):
                self.accepted[picture, concept] = True
            else:
                self.rejected[picture, concept] = True
                self._correct(picture, concept)

    def _correct(self, picture: int, concept: int) -> None:
        facet = self.corpus.facets == self.corpus.facets[concept]
        seen = np.flatnonzero(self.corpus.is_true[picture] & facet & ~self.accepted[picture])
        if self.reviewer.corrects and len(seen):
            errs = self.rng.random() < self.reviewer.errors
            said = self.rng.choice(np.flatnonzero(facet) if errs else seen)
            self.accepted[picture, said] = self.asked[picture, said] = True

    def scores(self) -> Linear:
        examples = Examples.of_matrix(self.corpus.vectors, self.accepted, self.rejected)
        return shared_heads(self.corpus.texts.vectors, examples, self.reviewer.rejected_weight)


Pick = Callable[[Vectors, Desk], Sequence[tuple[int, int]]]


def probabilities(scores: Vectors) -> Vectors:
    """A sigmoid, moved to where the probabilities of a picture add up to the tags that are expected of it."""
    from scipy.optimize import brentq
    from scipy.special import expit

    some = SHARPNESS * scores[::4]
    level = brentq(lambda at: expit(some - at).sum(axis=1).mean() - EXPECTED_TRUE, -50, 50, xtol=0.01)
    return np.asarray(expit(SHARPNESS * scores - level), dtype=np.float32)


def by_queue(probability: Vectors, desk: Desk) -> Sequence[tuple[int, int]]:
    """By the rules of the review queue; of each picture the tags that it shows, as the queue has it."""
    shown = np.zeros_like(desk.asked)
    np.put_along_axis(shown, top_columns(probability, _FACTS), True, axis=1)
    free = shown & ~desk.asked
    own = [np.flatnonzero(column) for column in free.T]
    candidates = [_candidates(concept, places, probability, desk) for concept, places in enumerate(own)]
    candidates = [one for one in candidates if len(one.probability)]
    rarest = max(rarity(one.expected_images) for one in candidates)
    chosen = [choose(one, quota(one, rarest)).places[: quota(one, rarest)] for one in candidates]
    order = merged(candidates, [len(one) for one in chosen])[:SCREEN]
    columns = [int(one.concept_id) for one in candidates]
    return [(int(own[columns[number]][chosen[number][place]]), columns[number]) for number, place in order]


def _candidates(concept: int, places: NDArray[np.intp], probability: Vectors, desk: Desk) -> Candidates:
    asked, accepted = desk.asked[:, concept], desk.accepted[:, concept]
    vectors, alike = desk.corpus.vectors, np.full(len(places), -1.0)
    if accepted.any() and len(places):
        alike = (vectors[places] @ vectors[accepted].T).max(axis=1).astype(float)
    judged = Judged(probability[asked, concept].astype(float), accepted[asked])
    likely = probability[places, concept].astype(float)
    return Candidates(str(concept), likely, alike, judged, float(accepted.sum()))


def by_uncertainty(probability: Vectors, desk: Desk) -> Sequence[tuple[int, int]]:
    far = np.where(desk.asked, np.inf, np.abs(probability - 0.5))
    return _pairs(np.argpartition(far.ravel(), SCREEN)[:SCREEN], far)


def by_chance(probability: Vectors, desk: Desk) -> Sequence[tuple[int, int]]:
    shown = np.zeros_like(desk.asked)
    np.put_along_axis(shown, top_columns(probability, K), True, axis=1)
    return _pairs(desk.rng.choice(np.flatnonzero(shown & ~desk.asked), SCREEN, replace=False), shown)


def by_truth(probability: Vectors, desk: Desk) -> Sequence[tuple[int, int]]:
    """True pairs of the tail, those of concepts with the fewest examples first: what no queue can better by much."""
    there = np.argwhere(desk.corpus.is_true & desk.tail & ~desk.asked)
    order = np.lexsort((desk.rng.random(len(there)), desk.accepted.sum(axis=0)[there[:, 1]]))
    return [(int(picture), int(concept)) for picture, concept in there[order[:SCREEN]]]


def _pairs(flat: NDArray[np.intp], table: NDArray[Any]) -> Sequence[tuple[int, int]]:
    return [divmod(int(pair), table.shape[1]) for pair in flat]


STRATEGIES: Mapping[str, Pick] = {
    "queue": by_queue,
    "uncertainty": by_uncertainty,
    "random": by_chance,
    "oracle": by_truth,
}


def walked(
    pick: Pick, corpus: Corpus, reviewer: Reviewer = Reviewer(), seed: int = 0
) -> Iterator[tuple[Bool, list[Linear]]]:
    """Of each third: bool [pictures] that are held out, and the scores after each screen of decisions on the others."""
    tail = corpus.bands()["tail"]
    turn = np.random.default_rng(seed).permutation(len(corpus.vectors)) % THIRDS
    for third in range(THIRDS):
        held_out = turn == third
        pool = corpus.of(~held_out)
        desk = Desk(pool, tail, reviewer, np.random.default_rng(seed))
        told = [desk.scores()]
        for _ in range(MOST // SCREEN):
            desk.answer(pick(probabilities(told[-1].log_odds(pool.vectors)), desk))
            told.append(desk.scores())
        yield held_out, told


def by_embeddings(corpus: Corpus) -> Judge:
    """Option A2: the scores of whole pictures alone."""

    def judge(told: Linear, rows: Bool) -> tuple[Bool, Bool]:
        return found_in_top(told.log_odds(corpus.vectors[rows]), corpus.is_true[rows]), corpus.is_true[rows]

    return judge


def curve(walks: Sequence[tuple[Bool, list[Linear]]], judge: Judge, tail: Bool) -> list[tuple[int, float]]:
    """(decisions, tail recall@10 of what was held out), over all thirds and all walks."""
    steps = range(len(walks[0][1]))
    return [(SCREEN * step, round(_recall(walks, judge, tail, step), 4)) for step in steps]


def _recall(walks: Sequence[tuple[Bool, list[Linear]]], judge: Judge, tail: Bool, step: int) -> float:
    pairs = [judge(told[step], held_out) for held_out, told in walks]
    there = sum(int(true[:, tail].sum()) for _, true in pairs)
    return sum(int(found[:, tail].sum()) for found, _ in pairs) / max(there, 1)


def gained(
    walks: Sequence[tuple[Bool, list[Linear]]], judge: Judge, tail: Bool, decisions: int
) -> NDArray[np.int64]:
    """[pictures judged, 3]: tail tags that decisions found, that they lost, and that are true; for a paired interval."""
    rows = []
    for held_out, told in walks:
        (before, true), (after, _) = (judge(told[step], held_out) for step in (0, decisions // SCREEN))
        before, after, true = before[:, tail], after[:, tail], true[:, tail]
        rows.append(np.stack([(after & ~before).sum(1), (before & ~after).sum(1), true.sum(1)], 1))
    return np.concatenate(rows)
