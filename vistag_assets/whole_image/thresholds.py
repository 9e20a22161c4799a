"""From which probability a tag is to be believed: a threshold a concept, fitted to labelled pictures."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resources.home import Home
from resources.lake.files import replace_file

FILE = "thresholds.csv"
STRENGTH = 10
"""Pictures of a concept at which its own threshold weighs as much as that of all concepts."""
_LEAST = 1e-4

Probabilities = NDArray[np.float32]
Truth = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Least probabilities, 0..1, and what they are worth on pictures that they were not fitted to."""

    overall: float
    """of concepts that have none of their own"""
    own: dict[str, float]
    """by concept id"""
    positives: dict[str, int]
    """concept id -> pictures of it that its threshold was fitted to"""
    f1_at_half: float
    """micro-averaged F1, 0..1, of the held-out pictures at a threshold of 0.5 for all"""
    f1: float
    """and at these"""


def fit_thresholds(concept_ids: Sequence[str], probabilities: Probabilities, is_true: Truth) -> Thresholds:
    """Thresholds of the best F1 on every other picture, of `[pictures, concepts]`, tried on the rest.

    A concept's own is drawn, on the scale of log odds, to the one of all concepts together by as much as STRENGTH
    pictures weigh beside its positives. (A rule for few examples; a plain maximum of F1 would fit noise: Lipton et al.,
    Optimal Thresholding of Classifiers to Maximize F1 Measure, 2014, section 4.)
    """
    fitted = np.arange(len(probabilities)) % 2 == 0
    told, true = probabilities[fitted], is_true[fitted]
    overall = threshold_of_best_f1(told.ravel(), true.ravel())
    counts = true.sum(axis=0)
    own = np.array(
        [
            shrunk(threshold_of_best_f1(told[:, column], true[:, column]), overall, int(count))
            if count
            else overall
            for column, count in enumerate(counts)
        ]
    )
    rest, is_rest_true = probabilities[~fitted], is_true[~fitted]
    return Thresholds(
        overall,
        dict(zip(concept_ids, map(float, own), strict=True)),
        dict(zip(concept_ids, map(int, counts), strict=True)),
        f1_of(rest >= 0.5, is_rest_true),
        f1_of(rest >= own, is_rest_true),
    )


def threshold_of_best_f1(probabilities: Probabilities, is_true: Truth) -> float:
    """The probability from which on what is taken has the best F1; midway to the next lower one. 0.5 of none true."""
    if not is_true.any():
        return 0.5
    order = np.argsort(-probabilities, kind="stable")
    ranked, hits = probabilities[order], np.cumsum(is_true[order])
    is_end = np.append(ranked[1:] < ranked[:-1], True)  # equal probabilities are taken together or not at all
    f1 = np.where(is_end, 2 * hits / (np.arange(1, len(hits) + 1) + is_true.sum()), 0.0)
    best = int(f1.argmax())
    following = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    return float((ranked[best] + following) / 2)


def shrunk(own: float, overall: float, positives: int) -> float:
    """On the scale of log odds."""
    from scipy.special import expit, logit  # takes a fifth of the code location's loading time otherwise

    low, high = logit(np.clip([own, overall], _LEAST, 1 - _LEAST))
    return float(expit((positives * low + STRENGTH * high) / (positives + STRENGTH)))


def f1_of(taken: Truth, is_true: Truth) -> float:
    """Micro-averaged, 0..1; 0 where nothing is true."""
    total = int(taken.sum()) + int(is_true.sum())
    return 2 * int((taken & is_true).sum()) / total if total else 0.0


def write_home_thresholds(home: Home, thresholds: Thresholds) -> Path:
    """A CSV file that `vistag export --thresholds` reads."""
    text = StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("concept_id", "threshold", "pictures"))
    rows.writerows(
        (id_, f"{value:.4f}", thresholds.positives[id_]) for id_, value in sorted(thresholds.own.items())
    )
    path = home.root / FILE
    with replace_file(path) as file:
        file.write(text.getvalue().encode())
    return path
