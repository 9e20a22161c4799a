"""Adapters on frozen embeddings: what labelled pictures say of concepts, as one line of weights a concept.

Every adapter is linear in the embedding, `log odds = weights @ embedding + bias`, sigmoid and multi-label, so that a fitted
one is a matrix that scores as fast as the text does. A concept without an example keeps what its text says of it.
docs/tail.md says which to switch on when, and what each was worth.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Floats = NDArray[np.floating]

SHRINK = 0.1
"""Share of the spread of embeddings that is taken to be the same in all directions: few examples say little of it."""
OWN_STRENGTH = 3.0
"""Examples of a concept at which they weigh as much as its text."""
PRIOR_WEIGHT = 0.5
"""Of the log of how frequent a concept is. 1 is what probabilities are made of, and drowns rare concepts; 0 counts all
alike (logit adjustment: Menon et al., 2021)."""
_UNSEEN = 0.5
"""Examples that a concept without any is taken to have when its frequency is asked for."""
_RIDGE = 0.01
_POOL, _STEPS, _PAIRS_AT_A_TIME = 4096, 40, 16_384


@dataclass(frozen=True)
class Examples:
    """Pictures and what was said of them: pairs of a row and a column of a concept, each pair once."""

    vectors: Vectors
    """[pictures, dimension], unit length"""
    row: NDArray[np.intp]
    column: NDArray[np.intp]
    concepts: int
    """how many there are; `column` is below it"""
    rejected: NDArray[np.intp] = field(default_factory=lambda: np.empty((0, 2), np.intp))
    """[pairs, 2]: rows and columns that people said are not true"""

    @classmethod
    def of_matrix(
        cls, vectors: Vectors, is_true: NDArray[np.bool_], is_rejected: NDArray[np.bool_] | None = None
    ) -> Examples:
        row, column = np.nonzero(is_true)
        examples = cls(vectors, row, column, is_true.shape[1])
        return examples if is_rejected is None else replace(examples, rejected=np.argwhere(is_rejected))

    @property
    def counts(self) -> NDArray[np.int64]:
        """Examples of each concept."""
        return np.bincount(self.column, minlength=self.concepts)

    @property
    def false(self) -> Examples:
        """What was rejected, as examples of what each concept is not."""
        return Examples(self.vectors, self.rejected[:, 0], self.rejected[:, 1], self.concepts)

    def truth(self, pictures: NDArray[np.intp]) -> NDArray[np.bool_]:
        """[pictures, concepts] of some of the rows."""
        is_true = np.zeros((len(pictures), self.concepts), bool)
        is_true[_pairs_in(self, pictures)] = True
        return is_true

    def sums(self, weights: Floats, vectors: Vectors) -> Vectors:
        """[concepts, dimension]: the sum over each concept's examples of its vector times the weight of the pair."""
        from scipy.sparse import csr_array

        shape = (self.concepts, len(vectors))
        pairs = csr_array((weights.astype(np.float32), (self.column, self.row)), shape=shape)
        return np.asarray(pairs @ vectors)


@dataclass(frozen=True)
class Linear:
    """`log odds = embeddings @ weights.T + bias`."""

    weights: Vectors
    """[concepts, dimension]"""
    bias: Vectors
    """[concepts]"""

    def log_odds(self, embeddings: Vectors) -> Vectors:
        return np.asarray(embeddings @ self.weights.T + self.bias, dtype=np.float32)

    def __add__(self, other: Linear) -> Linear:
        return Linear(self.weights + other.weights, self.bias + other.bias)

    def matched(self, log_odds: Floats, embeddings: Vectors) -> Linear:
        """With the mean and the spread over all pairs of other log odds, so that what was fitted to those understands it."""
        told = self.log_odds(embeddings)
        width = float(told.std())
        factor = float(np.std(log_odds)) / width if width else 1.0
        bias = np.float32(np.mean(log_odds) - factor * told.mean())
        return Linear(self.weights * np.float32(factor), self.bias * np.float32(factor) + bias)

    def scaled(self, factor: float | Floats) -> Linear:
        """By one factor, or by one a concept."""
        each = np.broadcast_to(np.asarray(factor, np.float32), self.bias.shape)
        return Linear(self.weights * each[:, None], self.bias * each)


@dataclass(frozen=True)
class Spread:
    """Where pictures lie, and how far apart."""

    mean: Vectors
    factor: Floats
    """lower Cholesky factor of the shrunk covariance"""
    covariance: Floats
    """of these pictures themselves, not shrunk"""

    @classmethod
    def of(cls, vectors: Vectors) -> Spread:
        mean = vectors.mean(axis=0)
        covariance = np.cov((vectors - mean).T).astype(np.float64)
        dimension = len(mean)
        even = np.trace(covariance) / dimension * np.eye(dimension)
        factor = np.linalg.cholesky((1 - SHRINK) * covariance + SHRINK * even)
        return cls(mean, factor, covariance * (1 - 1 / len(vectors)))

    def width_of(self, scores: Linear) -> Vectors:
        """[concepts]: the standard deviation over these pictures of what scores say, without computing that."""
        squares = np.einsum("cd,cd->c", scores.weights @ self.covariance.astype(np.float32), scores.weights)
        return np.asarray(np.sqrt(np.maximum(squares, 0)), dtype=np.float32)

    def solve(self, rows: Vectors) -> Vectors:
        """`covariance^-1 @ row` of each."""
        from scipy.linalg import cho_solve

        return np.asarray(cho_solve((self.factor, True), rows.T.astype(np.float64)).T, dtype=np.float32)

    def about_the_mean(self, weights: Vectors, bias: Floats) -> Linear:
        return Linear(weights, np.asarray(bias - weights @ self.mean, dtype=np.float32))


def centred(texts: Vectors, scale: float, pictures: Vectors) -> Linear:
    """The text alone, `scale` times its cosine, less what it says of the mean picture.

    Some texts are near every picture, and some far from all (hubs: Radovanovic et al., 2010); no labels are needed to mend it.
    """
    mean = pictures.mean(axis=0)
    return Linear(scale * texts, np.asarray(-scale * (texts @ mean), dtype=np.float32))


def projected(texts: Vectors, examples: Examples) -> Linear:
    """Texts against pictures that are moved toward their texts: what one concept's examples teach, its neighbours know.

    Supervised and in closed form (Romera-Paredes and Torr, An embarrassingly simple approach to zero-shot learning, 2015),
    with the square root of a concept's examples for its weight. It has the spread of the centred scores, one.
    """
    spread = Spread.of(examples.vectors)
    means, counts = means_of(examples, spread)
    weight = np.sqrt(counts)[:, None].astype(np.float32)
    told = texts - texts.mean(axis=0)
    gram = told.T @ (told * weight)
    ridge = _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    between = spread.solve(
        (told.T @ (means * weight)).astype(np.float32)
    ).T  # [dimension, dimension of texts]
    weights = np.asarray(told @ np.linalg.solve(gram + ridge, between.T), dtype=np.float32)
    found = spread.about_the_mean(weights, np.zeros(len(texts)))
    some = examples.vectors[:: max(1, len(examples.vectors) // _POOL)]
    width = float(found.log_odds(some).std())
    return found.scaled(1 / width) if width else found


def gaussian_heads(examples: Examples, strength: float = OWN_STRENGTH) -> Linear:
    """How much likelier a picture is among those of a concept than among all, were both normal with one covariance.

    Class-balanced by what it is, in closed form (Wang et al., A hard-to-beat baseline for training-free CLIP-based
    adaptation, 2024). A concept's mean is drawn to that of all by as much as `strength` examples weigh; without any it says 0.
    """
    spread = Spread.of(examples.vectors)
    means, counts = means_of(examples, spread)
    means *= (counts / (counts + strength))[:, None].astype(np.float32)
    weights = spread.solve(means)
    return spread.about_the_mean(weights, -0.5 * np.einsum("cd,cd->c", weights, means))


def logistic_heads(examples: Examples, strength: float = OWN_STRENGTH, seed: int = 0) -> Linear:
    """Class-balanced logistic regressions, one against the rest, all concepts at once; without an example they say 0.

    A concept's own examples weigh as much as the others together; of those a pool is drawn that all concepts share, which
    bounds time and memory. Ridge of `strength` / examples in the space in which pictures are spread evenly, where gradient
    steps (Nesterov's) of a length of each concept's own arrive soon.
    """
    from scipy.linalg import solve_triangular
    from scipy.special import expit

    spread, counts = Spread.of(examples.vectors), examples.counts
    even = solve_triangular(spread.factor, (examples.vectors - spread.mean).T.astype(np.float64), lower=True)
    pictures = np.ascontiguousarray(even.T, dtype=np.float32)
    order = np.random.default_rng(seed).permutation(len(pictures))[:_POOL]
    pool, is_own = pictures[order], _pairs_in(examples, order)
    others = np.maximum(len(order) - np.bincount(is_own[1], minlength=len(counts)), 1)
    each = np.where(counts > 0, 1 / np.maximum(counts, 1), 0).astype(np.float32)
    ridge = (strength * each).astype(np.float32)
    squares = np.bincount(
        examples.column, np.square(pictures).sum(axis=1)[examples.row] * each[examples.column], len(counts)
    )
    step = (1 / (0.25 * (squares + 2) + ridge)).astype(np.float32)
    weights = ahead = np.zeros((len(counts), pictures.shape[1]), np.float32)
    bias = bias_ahead = np.zeros(len(counts), np.float32)
    for turn in range(_STEPS):
        false = expit(pool @ ahead.T + bias_ahead)
        false[is_own] = 0
        false /= others
        missed = (1 - expit(_pair_scores(examples, pictures, ahead, bias_ahead))) * each[examples.column]
        slope = false.T @ pool - examples.sums(missed, pictures) + ridge[:, None] * ahead
        lean = false.sum(axis=0) - np.bincount(examples.column, missed, len(counts))
        following, bias_following = ahead - step[:, None] * slope, bias_ahead - step * lean
        momentum = turn / (turn + 3)
        ahead = following + momentum * (following - weights)
        bias_ahead = (bias_following + momentum * (bias_following - bias)).astype(np.float32)
        weights, bias = following, bias_following.astype(np.float32)
    weights[counts == 0], bias[counts == 0] = 0, 0
    back = solve_triangular(spread.factor, weights.T.astype(np.float64), lower=True, trans="T").T
    return spread.about_the_mean(back.astype(np.float32), bias)


def priors(examples: Examples) -> Linear:
    """The log of the share of pictures that carry each concept, whatever the picture."""
    counts = np.maximum(examples.counts, _UNSEEN)
    share = np.log(counts / (len(examples.vectors) + 1))
    zeros = np.zeros((examples.concepts, examples.vectors.shape[1]), np.float32)
    return Linear(zeros, share.astype(np.float32))


def blended(text: Linear, own: Linear, counts: NDArray[np.integer], text_weight: float = 1.0) -> Linear:
    """The text of a concept and its own examples; the text counts the less, the more examples there are, and never nothing.

    (The weights of a text and of examples are learned a class in LP++, Huang et al., 2024; here they follow from how many
    there are, so that nothing is searched on a validation set: Silva-Rodríguez et al., 2024.)
    """
    return own + text.scaled(text_weight * OWN_STRENGTH / (OWN_STRENGTH + np.sqrt(counts)))


def cached(embeddings: Vectors, examples: Examples, sharpness: float = 5.5) -> Vectors:
    """How near each picture is to the nearest examples of each concept, 0..1: `exp(-sharpness * (1 - cosine))`.

    A cache as in Tip-Adapter (Zhang et al., 2022), the mean over a concept's examples, so that many do not outvote few. It is
    not linear and grows with the examples: a row to compare with.
    """
    near = np.exp(-sharpness * (1 - embeddings @ examples.vectors.T))
    total = examples.sums(np.ones(len(examples.row)), np.ascontiguousarray(near.T, dtype=np.float32))
    return np.asarray(total.T / np.maximum(examples.counts, 1), dtype=np.float32)


def means_of(examples: Examples, spread: Spread) -> tuple[Vectors, NDArray[np.int64]]:
    """Of each concept's examples, from the mean of all pictures; 0 without one."""
    counts = examples.counts
    sums = examples.sums(np.ones(len(examples.row)), examples.vectors)
    means = sums / np.maximum(counts, 1)[:, None] - spread.mean
    means[counts == 0] = 0
    return means.astype(np.float32), counts


def _pairs_in(examples: Examples, pictures: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(place in `pictures`, concept) of the examples that are among them."""
    place = np.full(len(examples.vectors), -1, np.intp)
    place[pictures] = np.arange(len(pictures))
    rows = place[examples.row]
    return rows[rows >= 0], examples.column[rows >= 0]


def _pair_scores(examples: Examples, pictures: Vectors, weights: Vectors, bias: Vectors) -> Vectors:
    scores = np.empty(len(examples.row), np.float32)
    for start in range(0, len(scores), _PAIRS_AT_A_TIME):
        part = slice(start, start + _PAIRS_AT_A_TIME)
        row, column = examples.row[part], examples.column[part]
        scores[part] = np.einsum("pd,pd->p", pictures[row], weights[column]) + bias[column]
    return scores
