"""What a score means: of words how likely they are true of a picture, of a picture how much like it another is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from resources.lake import LakeError
from resources.models.encoders import Calibration
from resources.workspace import Workspace
from vistag_assets.whole_image.calibration import calibration_of
from vistag_assets.whole_image.scoring import Scorer, make_scorer, unit_rows

Floats = NDArray[np.float32]
_LEAST_SPREAD = 1e-3


@dataclass(frozen=True, slots=True)
class Term:
    """One part of a query."""

    vector: Floats
    """[dimension], unit length"""
    weight: float
    """of all that are wanted 1 together; below 0: not wanted"""
    concept_id: str | None = None
    """of words: the concept that they name, or nothing; None: of a picture"""
    parts: tuple[Term, ...] = ()
    """of words that name several concepts: each of these"""
    toward: Floats | None = None
    """[dimension]: what is proposed, where that is not `vector`"""


class Scores:
    """Scores of terms by the encoder of a home."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def of(self, term: Term, vectors: Floats, background: Floats) -> Floats:
        """0..1 for vectors [n, dimension]. Words: the calibrated probability, as in `tag_scores`; of several concepts at
        most that of the least likely. A picture: where the cosine lies between that of any two, which is 0, and that of
        the same, which is 1.
        """
        if term.concept_id is None:
            usual = float((background @ term.vector).mean()) if len(background) else 0.0
            likeness = (vectors @ term.vector - usual) / max(1 - usual, _LEAST_SPREAD)
            return np.asarray(np.clip(likeness, 0, 1), np.float32)
        own = self._probability(term, vectors)
        if not term.parts:
            return own
        return np.maximum(own, np.min([self._probability(part, vectors) for part in term.parts], axis=0))

    def words(self, text: str, weight: float) -> Term:
        """A term of words: a label of the vocabulary with all its phrases, as tags are scored; else as they stand, and
        with what they name.
        """
        labels = self._workspace.taxonomy.labels
        if concept_id := labels.concept_of(text):
            return self._concept(concept_id, weight)
        (vector,) = self._workspace.encoder.embed_texts([text])
        named = dict.fromkeys(each.concept_ids[0] for each in labels.named_in(text))
        parts = tuple(self._concept(concept_id, weight) for concept_id in named) if len(named) > 1 else ()
        toward = np.sum([vector, *(part.vector for part in parts)], axis=0, keepdims=True)
        return Term(vector, weight, "", parts, unit_rows(toward)[0])

    def _concept(self, concept_id: str, weight: float) -> Term:
        taxonomy, encoder = self._workspace.taxonomy, self._workspace.encoder
        phrases = taxonomy.phrases(taxonomy.by_id[concept_id], multilingual=encoder.spec.multilingual)
        (vector,) = unit_rows(encoder.embed_texts(phrases).sum(axis=0, keepdims=True))
        return Term(vector, weight, concept_id)

    def _probability(self, term: Term, vectors: Floats) -> Floats:
        assert term.concept_id is not None
        head, calibration = self._workspace.encoder.score_head, self._calibration
        logits = head.logits(vectors @ term.vector)[:, None]
        if calibration is not None:
            return calibration.probabilities(logits, [term.concept_id])[:, 0]
        if head.kind == "softmax" and self._vocabulary is not None:  # of all concepts which one
            beside = head.logits(vectors @ self._vocabulary.concepts.T)
            logits = np.column_stack([beside, logits])
        return head.probabilities(logits)[:, -1]

    @cached_property
    def _calibration(self) -> Calibration | None:
        return calibration_of(self._workspace.home, self._workspace.encoder)

    @cached_property
    def _vocabulary(self) -> Scorer | None:
        """None where no concept was embedded yet."""
        try:
            return make_scorer(self._workspace, self._workspace.lake.read("concept_embeddings"))
        except LakeError:
            return None


def direction(terms: Sequence[Term], background: Floats) -> Floats:
    """The vector [dimension] whose nearest ones are proposed. Cosines with words and with pictures are of other sizes, so
    each counts by how much it varies.
    """
    vectors = [term.vector if term.toward is None else term.toward for term in terms]
    if len(terms) == 1:
        return vectors[0]
    spreads = [float((background @ vector).std()) if len(background) else 1.0 for vector in vectors]
    parts = [
        term.weight / max(spread, _LEAST_SPREAD) * vector
        for term, vector, spread in zip(terms, vectors, spreads, strict=True)
    ]
    return np.asarray(np.sum(parts, axis=0), np.float32)


def together(terms: Sequence[Term], scores: Sequence[Floats]) -> Floats:
    """Of scores [n] of each term: the mean of what is wanted, by weight, less what is not."""
    wanted = np.sum([t.weight * s for t, s in zip(terms, scores, strict=True) if t.weight > 0], axis=0)
    for term, score in zip(terms, scores, strict=True):
        if term.weight < 0:
            wanted = wanted * (1 - score)
    return np.asarray(wanted, np.float32)
