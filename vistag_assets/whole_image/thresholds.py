"""From which probability a tag is to be believed: a threshold a concept, fitted to labelled pictures.

They change what is kept, and no order. A concept with few pictures has that of concepts under the same broader one, these
that of their facet, and that the one of all.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resources.home import Home
from resources.lake.files import replace_file
from taxonomy import Taxonomy

FILE = "thresholds.csv"
STRENGTH = 10
"""Pictures of a concept, or of a group, at which its own threshold weighs as much as that of the wider group."""
_LEAST = 1e-4

Probabilities = NDArray[np.float32]
Truth = NDArray[np.bool_]


Groups = Mapping[str, tuple[str, ...]]
"""Concept id -> names of the groups that it is in, the narrowest first."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Least probabilities, 0..1, and what they are worth on pictures that they were not fitted to."""

    overall: float
    """of concepts that have none of their own"""
    own: dict[str, float]
    """by concept id; that of its groups where a concept has no picture"""
    positives: dict[str, int]
    """concept id -> pictures of it that its threshold was fitted to"""
    f1_at_half: float
    """micro-averaged F1, 0..1, of the held-out pictures at a threshold of 0.5 for all"""
    f1: float
    """and at these"""
    precision: float
    """of what these keep of the held-out pictures, micro-averaged, 0..1; 0 where they keep nothing"""
    recall: float
    """the share of the true tags that they keep"""


def wider_groups(taxonomy: Taxonomy) -> Groups:
    """Of each concept those under its (first) broader concept, then its facet."""
    return {
        concept.id: (*(f"broader {id_}" for id_ in concept.broader[:1]), f"facet {concept.facet}")
        for concept in taxonomy.concepts
    }


def fit_thresholds(
    concept_ids: Sequence[str],
    probabilities: Probabilities,
    is_true: Truth,
    groups: Groups | None = None,
    precision_floor: float | None = None,
) -> Thresholds:
    """`thresholds_of` every other picture, of `[pictures, concepts]`, tried on the rest."""
    fitted = np.arange(len(probabilities)) % 2 == 0
    overall, by_concept = thresholds_of(
        concept_ids, probabilities[fitted], is_true[fitted], groups, precision_floor
    )
    counts = dict.fromkeys(by_concept, 0) | dict(
        zip(concept_ids, is_true[fitted].sum(axis=0).tolist(), strict=True)
    )
    rest, is_rest_true = probabilities[~fitted], is_true[~fitted]
    taken = rest >= np.array([by_concept[id_] for id_ in concept_ids])
    right = int((taken & is_rest_true).sum())
    return Thresholds(
        overall,
        by_concept,
        counts,
        f1_of(rest >= 0.5, is_rest_true),
        f1_of(taken, is_rest_true),
        right / max(int(taken.sum()), 1),
        right / max(int(is_rest_true.sum()), 1),
    )


def thresholds_of(
    concept_ids: Sequence[str],
    probabilities: Probabilities,
    is_true: Truth,
    groups: Groups | None = None,
    precision_floor: float | None = None,
) -> tuple[float, dict[str, float]]:
    """The threshold of all `[pictures, concepts]` together, and one a concept of `concept_ids` and of `groups`.

    Each is of the most recall at the precision wanted, of the best F1 where none is. A concept's own is drawn, on the scale of
    log odds, to that of its narrowest group by as much as STRENGTH pictures weigh beside its own, and that of a group to the
    next wider one likewise. (A rule for few examples; a plain maximum of F1 would fit noise: Lipton et al., Optimal
    Thresholding of Classifiers to Maximize F1 Measure, 2014, section 4.)
    """
    groups = groups or {}
    members: dict[tuple[str, ...], list[int]] = {}
    for column, id_ in enumerate(concept_ids):
        chain = groups.get(id_, ())
        for start in range(len(chain)):
            members.setdefault(chain[start:], []).append(column)

    def best(columns: Sequence[int] | slice) -> float:
        told, true = probabilities[:, columns].ravel(), is_true[:, columns].ravel()
        if precision_floor is None:
            return threshold_of_best_f1(told, true)
        return threshold_at_precision(told, true, precision_floor)

    def drawn(columns: Sequence[int], towards: float) -> float:
        positives = int(is_true[:, columns].sum())
        return shrunk(best(columns), towards, positives) if positives else towards

    overall = best(slice(None))

    @cache
    def of_groups(chain: tuple[str, ...]) -> float:
        return drawn(members.get(chain, []), of_groups(chain[1:])) if chain else overall

    column_of = {id_: [column] for column, id_ in enumerate(concept_ids)}
    own = {
        id_: drawn(column_of.get(id_, []), of_groups(groups.get(id_, ())))
        for id_ in sorted({*concept_ids, *groups})
    }
    return overall, own


def threshold_at_precision(probabilities: Probabilities, is_true: Truth, floor: float) -> float:
    """The lowest from which on at least `floor`, 0..1, of what is taken is true; above all where none does so.

    Midway to the next probability. 0.5 of none true.
    """
    if not is_true.any():
        return 0.5
    ranked, hits, is_end = _ranked(probabilities, is_true)
    enough = np.flatnonzero(is_end & (hits >= floor * np.arange(1, len(hits) + 1)))
    return _midway(ranked, int(enough[-1]) if len(enough) else -1)


def threshold_of_best_f1(probabilities: Probabilities, is_true: Truth) -> float:
    """The probability from which on what is taken has the best F1; midway to the next lower one. 0.5 of none true."""
    if not is_true.any():
        return 0.5
    ranked, hits, is_end = _ranked(probabilities, is_true)
    f1 = np.where(is_end, 2 * hits / (np.arange(1, len(hits) + 1) + is_true.sum()), 0.0)
    return _midway(ranked, int(f1.argmax()))


def _ranked(
    probabilities: Probabilities, is_true: Truth
) -> tuple[Probabilities, NDArray[np.int64], NDArray[np.bool_]]:
    """Probabilities, highest first; how many are true down to each; where one may cut: equal ones are taken together."""
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    return ranked, np.cumsum(is_true[order]), np.append(ranked[1:] < ranked[:-1], True)


def _midway(ranked: Probabilities, last: int) -> float:
    """Between the last that is taken, -1 for none, and the next lower one."""
    above = float(ranked[last]) if last >= 0 else 1.0
    below = float(ranked[last + 1]) if last + 1 < len(ranked) else 0.0
    return (above + below) / 2


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
