"""Whether a crop shows what its region was found as: pure functions of arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vistag_assets.whole_image.scoring import Scorer, propagate_to_ancestors

CONFIRMED_FROM = 0.5
"""More likely than not, by the calibration of the encoder."""
REJECTED_BELOW = 0.05
"""One in twenty. Of crops without background in the demo, 2 of 104 true objects are below and 83 of 84 names of a neighbour.

Thresholds on a probability hold for every encoder, as far as its calibration does.
"""
NO_CONCEPT = -1


@dataclass(frozen=True, slots=True)
class Matches:
    """One match a region, all arrays [regions]."""

    cosine: NDArray[np.float32]
    logit: NDArray[np.float32]
    probability: NDArray[np.float32]
    rank: NDArray[np.int32]
    """1 = best of the whole vocabulary for this crop, ties by concept id"""

    @property
    def verdicts(self) -> list[str]:
        return [
            "confirmed" if value >= CONFIRMED_FROM else "rejected" if value < REJECTED_BELOW else "unsure"
            for value in self.probability.tolist()
        ]


def match_crops(
    crops: NDArray[np.float32],
    concept_rows: NDArray[np.intp],
    phrases: NDArray[np.float32],
    scorer: Scorer,
) -> Matches:
    """How well each crop [regions, dim] fits its own concept, or its phrase where it has none.

    `concept_rows` are rows of `scorer.concepts`, or NO_CONCEPT; `phrases` [regions, dim] are read only there. All
    vectors have unit length. A broader concept takes the best of its narrower ones, as in `tag_scores`.
    """
    cosine = crops @ scorer.concepts.T
    logit = scorer.head.logits(cosine)
    probability = scorer.probabilities(logit)
    lender = propagate_to_ancestors(probability, scorer.descendants)
    shared = np.take_along_axis(probability, lender, axis=1)

    regions = np.arange(len(crops))
    source = lender[regions, concept_rows]
    phrased = concept_rows == NO_CONCEPT
    phrase_cosine = np.einsum("nd,nd->n", crops, phrases)
    phrase_logit = scorer.head.logits(phrase_cosine)
    beside = scorer.probabilities(np.column_stack([logit, phrase_logit]), [*scorer.concept_ids, ""])

    own = np.where(phrased, beside[:, -1], probability[regions, source])
    column = np.where(phrased, len(scorer.concept_ids), concept_rows)[:, None]
    before = (shared == own[:, None]) & (np.arange(shared.shape[1]) < column)
    better = (shared > own[:, None]) | before
    return Matches(
        np.where(phrased, phrase_cosine, cosine[regions, source]),
        np.where(phrased, phrase_logit, logit[regions, source]),
        own,
        (1 + better.sum(axis=1)).astype(np.int32),
    )
