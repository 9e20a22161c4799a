"""What the models of a tier read of a vocabulary's labels, told before a run: which are cut, and which are not asked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from resources.models.checkpoints import make_model
from resources.models.detectors.pretrained import PretrainedDetector

if TYPE_CHECKING:
    from resources.models.encoders import Encoder
    from resources.models.tiers import Tier
    from taxonomy import Taxonomy

_WORDS = re.compile(r"\w+")
ALIKE = 0.98
"""Cosine from which an encoder cannot tell two concepts apart that are written alike."""


@dataclass(frozen=True, slots=True)
class CutLabel:
    """A text that a model does not read as it is."""

    role: str
    concept_id: str
    text: str
    sent: str
    """empty where it is not asked at all"""

    def __str__(self) -> str:
        instead = f"reads {self.sent!r}" if self.sent else "is not asked"
        return f'the {self.role} {instead} for {self.text!r} of "{self.concept_id}"'


def cut_labels(taxonomy: Taxonomy, tier: Tier) -> Iterator[CutLabel]:
    """What the encoder and the detector of a tier do not read whole. Tokenizers are loaded, and no weights."""
    encoder: Encoder = make_model(tier.encoder, "cpu")
    detector = make_model(tier.detector, "cpu") if tier.detector else None
    for concept in taxonomy.concepts:
        for text in taxonomy.phrases(concept, multilingual=tier.encoder.multilingual):
            if _differs(text, sent := encoder.sent(text)):
                yield CutLabel("encoder", concept.id, text, sent)
        if isinstance(detector, PretrainedDetector) and taxonomy.facets[concept.facet].grounded:
            text = taxonomy.asked_labels(concept)[0]
            if _differs(text, sent := detector.sent(text)):
                yield CutLabel("detector", concept.id, text, sent)


def alike(taxonomy: Taxonomy, encoder: Encoder) -> list[tuple[str, str, float]]:
    """(id, id, cosine) of concepts with a common label that the encoder cannot tell apart, the most alike first."""
    found = []
    for ids in taxonomy.homographs:
        vectors = [_pooled(taxonomy, encoder, id_) for id_ in ids]
        for (one, a), (other, b) in combinations(zip(ids, vectors, strict=True), 2):
            if (cosine := float(a @ b)) >= ALIKE:
                found.append((one, other, cosine))
    return sorted(set(found), key=lambda pair: (-pair[2], pair[:2]))


def _pooled(taxonomy: Taxonomy, encoder: Encoder, concept_id: str) -> np.ndarray:
    phrases: Sequence[str] = taxonomy.phrases(
        taxonomy.by_id[concept_id], multilingual=encoder.spec.multilingual
    )
    mean = encoder.embed_texts(phrases).mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean))


def _differs(text: str, sent: str) -> bool:
    """Whether words are missing; case and signs are the model's own affair."""
    return not sent or _WORDS.findall(text.casefold()) != _WORDS.findall(sent.casefold())
