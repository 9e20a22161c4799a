"""What an hour of review buys: tail recall@10 of pictures that nobody looked at, by decisions on other pictures.

A reviewer who answers from the truth, and errs in a share of the pairs, is asked in screens; the scores are fitted to what
was accepted, and the next screen is chosen by the new scores. Screens come from the review queue's own rules, from the
pairs whose probability is closest to a half, or by chance from the first ten tags of each picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from vistag_assets.review.selection import Candidates, Judged, choose, merged, quota, rarity
from vistag_assets.whole_image.adapter_policy import K, found_in_top
from vistag_assets.whole_image.adapters import Examples, Linear, Vectors, blended, centred, gaussian_heads
from vistag_assets.whole_image.scoring import top_columns

SCREEN = 25
MOST = 400
EXPECTED_TRUE = 5
"""Tags of a picture: the level at which probabilities are put."""

Bool = NDArray[np.bool_]
Pick = Callable[[Vectors, "Desk", np.random.Generator], list[tuple[int, int]]]


class Desk:
    """What was asked and answered of the pictures of a pool."""

    def __init__(self, pictures: int, concepts: int) -> None:
        self.asked = np.zeros((pictures, concepts), bool)
        self.accepted = np.zeros((pictures, concepts), bool)

    def answer(
        self, pairs: list[tuple[int, int]], truth: Bool, errors: float, rng: np.random.Generator
    ) -> None:
        for picture, concept in pairs:
            self.asked[picture, concept] = True
            self.accepted[picture, concept] = truth[picture, concept] ^ (rng.random() < errors)


def scores_of(texts: Vectors, pool: Vectors, accepted: Bool) -> Linear:
    """The centred texts, with the width of the heads' own unit, and what was accepted."""
    examples = Examples.of_matrix(pool, accepted)
    text = centred(texts, 1.0, pool)
    text = text.scaled(1 / float(text.log_odds(pool).std()))
    return blended(text, gaussian_heads(examples), examples.counts)


def probabilities(scores: Vectors) -> Vectors:
    """A sigmoid, moved to where as many tags as are expected are likelier than not."""
    level = np.quantile(scores, 1 - EXPECTED_TRUE / scores.shape[1])
    return np.asarray(1 / (1 + np.exp(level - scores)), dtype=np.float32)


def by_queue(probability: Vectors, desk: Desk, rng: np.random.Generator) -> list[tuple[int, int]]:
    """By the rules of the review queue; of each picture the tags that it shows, as the queue has it."""
    shown = np.zeros_like(desk.asked)
    np.put_along_axis(shown, top_columns(probability, 3 * K), True, axis=1)
    free = shown & ~desk.asked
    places, candidates = [], []
    for concept in range(probability.shape[1]):
        own, asked = np.flatnonzero(free[:, concept]), desk.asked[:, concept]
        if len(own):
            judged = Judged(probability[asked, concept].astype(float), desk.accepted[asked, concept])
            likely = probability[own, concept].astype(float)
            places.append((concept, own))
            carried = float(desk.accepted[:, concept].sum())
            candidates.append(Candidates(str(concept), likely, np.full(len(own), -1.0), judged, carried))
    rarest = max(rarity(one.expected_images) for one in candidates)
    chosen = [choose(one, quota(one, rarest)).places[: quota(one, rarest)] for one in candidates]
    order = merged(candidates, [len(one) for one in chosen])
    return [(int(places[n][1][chosen[n][place]]), places[n][0]) for n, place in order[:SCREEN]]


def by_uncertainty(probability: Vectors, desk: Desk, rng: np.random.Generator) -> list[tuple[int, int]]:
    far = np.where(desk.asked, np.inf, np.abs(probability - 0.5))
    best = np.argpartition(far.ravel(), SCREEN)[:SCREEN]
    return [divmod(int(pair), probability.shape[1]) for pair in best]


def by_chance(probability: Vectors, desk: Desk, rng: np.random.Generator) -> list[tuple[int, int]]:
    shown = np.zeros_like(desk.asked)
    np.put_along_axis(shown, top_columns(probability, K), True, axis=1)
    pairs = np.flatnonzero((shown & ~desk.asked).ravel())
    return [divmod(int(pair), probability.shape[1]) for pair in rng.choice(pairs, SCREEN, replace=False)]


STRATEGIES: Mapping[str, Pick] = {"queue": by_queue, "uncertainty": by_uncertainty, "random": by_chance}


def curve(
    pick: Pick, texts: Vectors, vectors: Vectors, is_true: Bool, tail: Bool, errors: float = 0.0
) -> list[tuple[int, float]]:
    """(decisions, tail recall@10 of pictures that were held out): each third is, once, of a reviewer of the others."""
    hits = np.zeros(MOST // SCREEN + 1)
    for third in range(3):
        held_out = np.arange(len(vectors)) % 3 == third
        hits += _hits(pick, texts, vectors, is_true, held_out, tail, errors)
    share = hits / is_true[:, tail].sum()
    return [(SCREEN * step, round(float(value), 4)) for step, value in enumerate(share)]


def _hits(
    pick: Pick, texts: Vectors, vectors: Vectors, is_true: Bool, held_out: Bool, tail: Bool, errors: float
) -> NDArray[np.float64]:
    """True tail tags found in the held-out pictures after each screen."""
    pool, truth, unseen = vectors[~held_out], is_true[~held_out], is_true[held_out]
    desk, rng, hits = Desk(*truth.shape), np.random.default_rng(0), []
    for step in range(MOST // SCREEN + 1):
        told = scores_of(texts, pool, desk.accepted)
        hits.append(found_in_top(told.log_odds(vectors[held_out]), unseen)[:, tail].sum())
        if step < MOST // SCREEN:
            desk.answer(pick(probabilities(told.log_odds(pool)), desk, rng), truth, errors, rng)
    return np.array(hits, float)
