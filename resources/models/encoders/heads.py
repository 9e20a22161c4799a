"""How a dual encoder turns a cosine into a score: its own head, and an optional calibration on top."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

EXPECTED_TAGS = 10
"""Concepts that an image of a museum carries, about one a facet: the prior of an encoder that is not calibrated."""

_LEAST = 1e-6
"""Probabilities nearer to 0 or 1 are not told apart."""


@dataclass(frozen=True, slots=True)
class ScoreHead:
    """`logit = scale * cosine + bias`, then a sigmoid (SigLIP) or a softmax over the concepts (CLIP).

    Where the product of two vectors is a probability by itself (ConSE), `(scale * cosine) ** power` is that.
    """

    kind: Literal["sigmoid", "softmax", "probability"]
    scale: float
    bias: float = 0.0
    power: float = 1.0
    """of kind probability alone"""

    def logits(self, cosine: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.kind == "probability":
            from scipy.special import logit  # takes a fifth of the code location's loading time otherwise

            product = np.clip(np.asarray(cosine, np.float64) * self.scale, 0, 1)
            return np.asarray(logit(np.clip(product**self.power, _LEAST, 1 - _LEAST)), dtype=np.float32)
        return np.asarray(self.scale * cosine + self.bias, dtype=np.float32)

    def scores(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores in 0..1 of logits `[images, concepts]`."""
        if self.kind != "softmax":
            return sigmoid(logits)
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float32)

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """How likely an image carries each concept, 0..1, of logits `[images, concepts]` that nobody has calibrated.

        A sigmoid answers that for each concept alone. A softmax answers which one of all K concepts it is, so its
        scores are tiny in a large vocabulary even where ten of them are true. What CLIP's loss (InfoNCE) learns is
        `exp(logit)` in proportion to p(image | text) / p(image) (van den Oord et al., 2018, section 2.3). Taking the
        vocabulary's mean for what is to be expected, `K * softmax` is that ratio, and with the prior
        `EXPECTED_TAGS / K`, at most a half, the odds are `prior / (1 - prior) * K * softmax`. The order within an
        image is that of the logits, and an image that says nothing gets the prior.
        """
        scores = self.scores(logits)
        if self.kind != "softmax":
            return scores
        concepts = logits.shape[1]
        prior = min(EXPECTED_TAGS / concepts, 0.5)
        odds = prior / (1 - prior) * concepts * scores
        return np.asarray(odds / (1 + odds), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Platt:
    """One line on the logit: `probability = sigmoid(slope * logit + intercept)` (Platt, 1999)."""

    slope: float
    intercept: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """A Platt line for every concept, and some concepts' own lines."""

    default: Platt
    concepts: dict[str, Platt] = field(default_factory=dict)

    def probabilities(self, logits: NDArray[np.float32], concept_ids: list[str]) -> NDArray[np.float32]:
        """Probabilities in 0..1 of logits `[images, concepts]`, columns in the order of `concept_ids`."""
        lines = [self.concepts.get(concept_id, self.default) for concept_id in concept_ids]
        slopes = np.array([line.slope for line in lines])
        intercepts = np.array([line.intercept for line in lines])
        return sigmoid(logits * slopes + intercepts)


def sigmoid(x: NDArray[np.floating]) -> NDArray[np.float32]:
    from scipy.special import expit  # takes a fifth of the code location's loading time otherwise

    return np.asarray(expit(np.asarray(x, dtype=np.float64)), dtype=np.float32)


def read_calibration(checkpoint: Path) -> Calibration | None:
    """Read `calibration.json` beside a checkpoint; None where there is none.

    Raises ValueError, naming the file, where it does not hold what it should.
    """
    path = checkpoint / "calibration.json"
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        concepts = {key: _platt(line) for key, line in content.get("concepts", {}).items()}
        return Calibration(_platt(content), concepts)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f'{path}: expected {{"slope": number, "intercept": number, "concepts": {{id: …}}}} ({error})'
        ) from error


def _platt(line: dict[str, float]) -> Platt:
    return Platt(float(line["slope"]), float(line["intercept"]))
