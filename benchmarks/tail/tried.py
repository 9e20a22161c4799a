"""Remedies that were tried and that no home switches on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.tail.corpus import Corpus
from vistag_assets.whole_image.adapter_policy import REMEDIES, Texts
from vistag_assets.whole_image.adapters import Examples, Floats, Linear, Vectors

Bool = NDArray[np.bool_]
_STEPS, _BATCH, _RATE, _TEMPERATURE, _DECAY = 400, 256, 0.5, 0.1, 0.02


def calibrated_a_facet(corpus: Corpus, texts: Texts) -> Callable[[Examples], Callable[[Vectors], Vectors]]:
    """The text's score through a monotone function a facet (isotonic regression): facets against each other, no rank within."""

    def fit(examples: Examples) -> Callable[[Vectors], Vectors]:
        from sklearn.isotonic import IsotonicRegression

        text = REMEDIES["text"](texts, examples)
        told, true = text.log_odds(examples.vectors), np.zeros((len(examples.vectors), examples.concepts))
        true[examples.row, examples.column] = 1
        lines = {}
        for facet in np.unique(corpus.facets):
            own = corpus.facets == facet
            line = IsotonicRegression(out_of_bounds="clip")
            lines[facet] = line.fit(told[:, own].ravel(), true[:, own].ravel())

        def scores(vectors: Vectors) -> Vectors:
            raw = text.log_odds(vectors)
            likely = np.empty_like(raw)
            for facet, line in lines.items():
                own = corpus.facets == facet
                likely[:, own] = line.predict(raw[:, own].ravel()).reshape(len(raw), -1)
            # steps of the function are ties, which the score itself breaks
            return np.asarray(likely + 1e-6 * raw, dtype=np.float32)

        return scores

    return fit


def tempered_a_facet(corpus: Corpus, texts: Texts) -> Callable[[Examples], Callable[[Vectors], Vectors]]:
    """The text's log odds, one line for all by which they are probabilities, divided by a temperature a facet (Guo et al., On
    Calibration of Modern Neural Networks, 2017, for classes; here sigmoids).
    """

    def fit(examples: Examples) -> Callable[[Vectors], Vectors]:
        from scipy.optimize import minimize_scalar
        from sklearn.linear_model import LogisticRegression

        text = REMEDIES["text"](texts, examples)
        told, true = (
            text.log_odds(examples.vectors),
            np.zeros((len(examples.vectors), examples.concepts), bool),
        )
        true[examples.row, examples.column] = True
        line = LogisticRegression(C=1e6, max_iter=1000).fit(told.reshape(-1, 1), true.ravel())
        slope, shift = float(line.coef_[0, 0]), float(line.intercept_[0])
        divisors = np.ones(len(corpus.facets), np.float32)
        for facet in np.unique(corpus.facets):
            own = corpus.facets == facet
            odds, is_true = (slope * told[:, own] + shift).astype(np.float64), true[:, own]

            def loss(log_temperature: float, odds: Floats = odds, is_true: Bool = is_true) -> float:
                scaled = odds / np.exp(log_temperature)
                return float((np.logaddexp(0, scaled) - is_true * scaled).mean())

            divisors[own] = np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x)
        return lambda vectors: np.asarray((slope * text.log_odds(vectors) + shift) / divisors, np.float32)

    return fit


def contrastive(texts: Vectors, examples: Examples, seed: int = 0) -> Linear:
    """A projection of pictures, from none at first, by which each example's text is nearer than those of other concepts.

    Gradient steps on the supervised contrastive loss (Khosla et al., 2020) with texts as the other view; concepts are drawn
    alike often. What a picture shows besides is no negative.
    """
    rng, mean = np.random.default_rng(seed), examples.vectors.mean(axis=0)
    told = texts - texts.mean(axis=0)
    told = told / np.linalg.norm(told, axis=1, keepdims=True)
    moved = np.zeros((texts.shape[1], texts.shape[1]), np.float32)
    true = np.zeros((len(examples.vectors), examples.concepts), bool)
    true[examples.row, examples.column] = True
    chance = 1 / examples.counts[examples.column]
    chance /= chance.sum()
    pictures = examples.vectors - mean
    pictures /= np.sqrt(np.square(pictures).sum(axis=1).mean())
    for _ in range(_STEPS):
        pair = rng.choice(len(examples.row), _BATCH, p=chance)
        own, column = pictures[examples.row[pair]], examples.column[pair]
        logits = (own + own @ moved.T) @ told.T / _TEMPERATURE
        besides = true[examples.row[pair]]
        besides[np.arange(_BATCH), column] = False
        logits[besides] = -np.inf
        logits -= logits.max(axis=1, keepdims=True)
        share = np.exp(logits)
        share /= share.sum(axis=1, keepdims=True)
        share[np.arange(_BATCH), column] -= 1
        slope = (share @ told).T @ own / (_BATCH * _TEMPERATURE)
        moved -= _RATE * _TEMPERATURE * (slope + _DECAY * moved)
    weights = np.asarray(told + told @ moved, dtype=np.float32)
    return Linear(weights, np.asarray(-weights @ mean, dtype=np.float32))
