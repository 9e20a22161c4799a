"""From embeddings to scored tags: pure functions of arrays and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from resources.lake import embedding_matrix
from resources.models.encoders.heads import Calibration, ScoreHead, sigmoid
from resources.tables import TAG_SCORES
from resources.workspace import Workspace
from vistag_assets.whole_image.adapters import Linear
from vistag_assets.whole_image.calibration import calibration_of
from vistag_assets.whole_image.catalogue_priors import HomePriors, read_home_priors, shifted
from vistag_assets.whole_image.home_adapter import read_home_adapter

_SCORES_AT_A_TIME = 8_000_000
"""Images times concepts that are in memory at once: some 250 MB with all that is made of them."""
_PHRASES_AT_A_TIME = 65_536


@dataclass(frozen=True, slots=True)
class Adapted:
    """An adapter, laid beside the concepts of a scorer."""

    version: str
    columns: NDArray[np.intp]
    """of the concepts that it knows"""
    linear: Linear
    """a row a column"""
    slope: float = 1.0
    """`sigmoid(slope * log odds + shift)` is a probability"""
    shift: float = 0.0


@dataclass(frozen=True)
class Scorer:
    """Everything besides the image that decides its tag scores."""

    concept_ids: list[str]
    """Sorted; one a row of `concepts`."""
    concepts: NDArray[np.float32]
    """Unit-length concept embeddings `[concepts, dim]`."""
    head: ScoreHead
    calibration: Calibration | None
    descendants: dict[int, list[int]]
    """Row of a broader concept -> rows of all its narrower ones; empty where nothing is lent."""
    keep_top: int
    adapted: Adapted | None = None
    """what the home's own examples say of whole pictures"""
    priors: HomePriors | None = None
    """how often a catalogue has each concept; an adapter knows it from its examples"""

    @cached_property
    def shifts(self) -> NDArray[np.float64]:
        """Of log odds, by the priors `[concepts]`; 0 for concepts that are new since then."""
        known = self.priors.shifts if self.priors else {}
        return np.array([known.get(concept_id, 0.0) for concept_id in self.concept_ids])

    def probabilities(
        self, logits: NDArray[np.float32], concept_ids: list[str] | None = None
    ) -> NDArray[np.float32]:
        """0..1 of logits `[images, concepts]`: by the calibration, or by the head where there is none.

        Columns are `concept_ids`, this scorer's own unless others are named.
        """
        if self.calibration is None:
            return self.head.probabilities(logits)
        return self.calibration.probabilities(logits, concept_ids or self.concept_ids)


def pool_phrases(phrases: pa.Table) -> tuple[list[str], NDArray[np.float32]]:
    """One vector a concept: the mean of its phrases' unit vectors, made unit length again.

    `phrases` has the columns concept_id and embedding. Returns the sorted concept ids and `[concepts, dim]`.
    """
    concept_ids, owners = np.unique(phrases["concept_id"].to_numpy(zero_copy_only=False), return_inverse=True)
    pooled: NDArray[np.float32] | None = None
    for start in range(
        0, phrases.num_rows, _PHRASES_AT_A_TIME
    ):  # a big vocabulary is held in half precision alone
        vectors = embedding_matrix(phrases["embedding"].slice(start, _PHRASES_AT_A_TIME))
        if pooled is None:
            pooled = np.zeros((len(concept_ids), vectors.shape[1]), dtype=np.float32)
        np.add.at(pooled, owners[start : start + len(vectors)], vectors)
    if pooled is None:
        pooled = np.zeros((0, embedding_matrix(phrases["embedding"]).shape[1]), dtype=np.float32)
    return [str(concept_id) for concept_id in concept_ids], unit_rows(pooled)


def descendant_rows(
    concept_ids: Sequence[str], broader_pairs: Sequence[tuple[str, str]]
) -> dict[int, list[int]]:
    """`(narrower, broader)` pairs at every distance, as rows: broader -> its narrower ones, sorted."""
    row_of = {concept_id: row for row, concept_id in enumerate(concept_ids)}
    descendants: dict[int, list[int]] = {}
    for narrower, broader in sorted(broader_pairs):
        descendants.setdefault(row_of[broader], []).append(row_of[narrower])
    return descendants


def make_scorer(workspace: Workspace, concept_embeddings: pa.Table) -> Scorer:
    """The scorer of a home's taxonomy and encoder."""
    tier, encoder = workspace.tier, workspace.encoder
    concept_ids, concepts = pool_phrases(concept_embeddings)
    pairs = workspace.taxonomy.broader_pairs() if tier.share_with_broader else ()
    return Scorer(
        concept_ids,
        concepts,
        encoder.score_head,
        calibration_of(workspace.home, encoder),
        descendant_rows(concept_ids, pairs),
        tier.keep_top,
        _adapted(workspace, concept_ids),
        read_home_priors(workspace.home, encoder.fingerprint),
    )


def _adapted(workspace: Workspace, concept_ids: Sequence[str]) -> Adapted | None:
    """The home's adapter where there is one for its encoder; concepts that are new since then keep their texts."""
    own = read_home_adapter(workspace.home, workspace.encoder)
    if own is None:
        return None
    row_of = {concept_id: row for row, concept_id in enumerate(own.concept_ids)}
    columns = [column for column, concept_id in enumerate(concept_ids) if concept_id in row_of]
    rows = [row_of[concept_ids[column]] for column in columns]
    linear = Linear(own.linear.weights[rows], own.linear.bias[rows])
    return Adapted(own.version, np.array(columns, np.intp), linear, own.slope, own.shift)


def score_images(ids: Sequence[str], embeddings: NDArray[np.float32], scorer: Scorer) -> pa.Table:
    """The columns of `tag_scores` but the fingerprint, for images `[n, dim]`.

    As many are scored at once as `_SCORES_AT_A_TIME` allows: memory does not grow with images times concepts.
    """
    at_once = max(1, _SCORES_AT_A_TIME // max(1, len(scorer.concept_ids)))
    parts = [
        _score_some(ids[start : start + at_once], embeddings[start : start + at_once], scorer)
        for start in range(0, max(1, len(ids)), at_once)
    ]
    return pa.concat_tables(parts)


def mean_probabilities(embeddings: pa.Table, scorer: Scorer) -> NDArray[np.float64]:
    """How often a scorer says each concept of images, 0..1 `[concepts]`, without priors and adapter.

    `embeddings` has the column embedding.
    """
    total = np.zeros(len(scorer.concept_ids))
    at_once = max(1, _SCORES_AT_A_TIME // max(1, len(scorer.concept_ids)))
    for start in range(0, embeddings.num_rows, at_once):
        vectors = embedding_matrix(embeddings["embedding"].slice(start, at_once))
        total += scorer.probabilities(scorer.head.logits(vectors @ scorer.concepts.T)).sum(axis=0)
    return total / max(1, embeddings.num_rows)


def _score_some(ids: Sequence[str], embeddings: NDArray[np.float32], scorer: Scorer) -> pa.Table:
    cosine = embeddings @ scorer.concepts.T
    logit = scorer.head.logits(cosine)
    score = scorer.head.scores(logit)
    probability = scorer.probabilities(logit)
    if scorer.priors:
        probability = shifted(probability, scorer.shifts)
    if scorer.adapted:
        own, columns = scorer.adapted, scorer.adapted.columns
        logit[:, columns] = own.linear.log_odds(embeddings)
        probability[:, columns] = sigmoid(own.slope * logit[:, columns] + own.shift)

    source = propagate_to_ancestors(probability, scorer.descendants)
    rank_by = np.take_along_axis(probability, source, axis=1)
    order = top_columns(rank_by, scorer.keep_top)
    image, index = (axis.reshape(-1) for axis in np.indices(order.shape))
    concept = order.reshape(-1)
    lender = source[image, concept]

    names = np.array(scorer.concept_ids, dtype=object)
    return pa.table(
        [
            np.array(ids, dtype=object)[image],
            names[concept],
            (index + 1).astype(np.int16),
            cosine[image, lender],
            logit[image, lender],
            score[image, lender],
            probability[image, lender],
            pa.array(names[lender], mask=lender == concept),
        ],
        schema=TAG_SCORES.select(*TAG_SCORES.schema.names[:-1]),
    )


def propagate_to_ancestors(
    values: NDArray[np.float32], descendants: dict[int, list[int]]
) -> NDArray[np.intp]:
    """Column of the best value of each concept over itself and its narrower ones, `[images, concepts]`.

    A concept keeps its own value in a tie; among equal descendants the first column (the lower id) wins.
    """
    source = np.tile(np.arange(values.shape[1]), (values.shape[0], 1))
    if not descendants or not len(values):
        return source
    columns = np.concatenate([[broader, *narrower] for broader, narrower in descendants.items()])
    lengths = [1 + len(narrower) for narrower in descendants.values()]
    starts = np.cumsum([0, *lengths[:-1]])
    for row, found in zip(values, source, strict=True):
        lent = row[columns]
        best = np.repeat(np.maximum.reduceat(lent, starts), lengths)
        first = np.minimum.reduceat(np.where(lent == best, np.arange(len(columns)), len(columns)), starts)
        found[list(descendants)] = columns[first]
    return source


def top_columns(values: NDArray[np.float32], most: int) -> NDArray[np.intp]:
    """Columns of the `most` largest values of each row, largest first, equal ones by column: what a stable sort of
    the whole row gives, `[rows, most]`.
    """
    if most >= values.shape[1]:
        return np.argsort(-values, axis=1, kind="stable")
    least = -np.partition(-values, most - 1, axis=1)[:, most - 1]
    top = np.empty((len(values), most), dtype=np.intp)
    for place, (row, bar) in enumerate(zip(values, least, strict=True)):
        above = np.flatnonzero(row >= bar)
        top[place] = above[np.argsort(-row[above], kind="stable")[:most]]
    return top


def unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows divided by their Euclidean length."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)
