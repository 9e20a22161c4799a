"""The short-list sent to grounding: pure functions from tag scores and a vocabulary to phrases to look for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from taxonomy import Taxonomy


@dataclass(frozen=True, slots=True)
class CandidateThresholds:
    """What a concept must reach to be looked for. Probabilities are those of `tag_scores`, 0..1."""

    score: float = 0.05
    """Likely enough for a tag of any frequency."""
    tail: float = 0.005
    """Rare tags have small probabilities even where they are true, so this is their threshold.

    A vocabulary without ground truth has no frequencies, so it is the same for all tags and only
    the reason tells who needed it. On the 600 demo images it keeps 98 % of the true tail tags."""
    at_least: int = 20
    """Concepts looked for whatever their probability: an uncalibrated encoder's may all be tiny."""
    at_most: int = 60
    """Concepts looked for in one image, the likeliest first."""
    broader_factor: float = 10.0
    """A broader concept is left out next to a narrower one, unless it is this many times likelier."""
    proposals: int = 10
    """Keywords of the VLM looked for in one image, the likeliest first."""

    @property
    def stored_text(self) -> str:
        """As fingerprints hold it: with the name that the class had when the first rows were stored."""
        return repr(self).replace(type(self).__name__, "Bars", 1)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One phrase to look for in one image; `concept_id` None and `probability` None as in the table."""

    phrase: str
    concept_id: str | None
    reason: str
    probability: float | None

    @property
    def needs_review(self) -> bool:
        return self.reason == "vlm"


def groundable(taxonomy: Taxonomy) -> list[str]:
    """Ids of the concepts that can have a region, sorted."""
    return [concept.id for concept in taxonomy.concepts if taxonomy.facets[concept.facet].grounded]


def short_list(
    scored: Mapping[str, float],
    keywords: Sequence[Mapping[str, Any]],
    taxonomy: Taxonomy,
    thresholds: CandidateThresholds,
) -> list[Candidate]:
    """The candidates of one image, best first: by probability, then the proposals of the VLM.

    `scored`: concept id -> probability of the groundable concepts that earned their own score.
    `keywords`: mappings with phrase, concept_id (or None) and logprob. A keyword that is a candidate already,
    or a broader concept of one, adds nothing.
    """
    ranked = sorted(scored, key=lambda concept_id: (-scored[concept_id], concept_id))
    above = [
        c for place, c in enumerate(ranked) if place < thresholds.at_least or scored[c] >= thresholds.tail
    ]
    specific = _without_broader(above, scored, taxonomy, thresholds.broader_factor)[: thresholds.at_most]
    chosen = [
        Candidate(
            taxonomy.asked_labels(taxonomy.by_id[concept_id])[0],
            concept_id,
            "score" if scored[concept_id] >= thresholds.score else "tail",
            scored[concept_id],
        )
        for concept_id in specific
    ]
    return chosen + _proposed(keywords, chosen, taxonomy)[: thresholds.proposals]


def short_lists(
    tag_scores: pa.Table,
    keywords: Mapping[str, Sequence[Mapping[str, Any]]],
    taxonomy: Taxonomy,
    thresholds: CandidateThresholds,
) -> Callable[[list[str]], list[dict[str, Any]]]:
    """A function from ids to their rows of `candidates`.

    `tag_scores`: id, concept_id, probability, inherited_from. `keywords` by id.
    """
    own = pc.and_(
        pc.is_null(tag_scores["inherited_from"]),
        pc.is_in(tag_scores["concept_id"], pa.array(groundable(taxonomy), pa.string())),
    )
    scores = tag_scores.filter(own).select(["id", "concept_id", "probability"])

    def listed(ids: list[str]) -> list[dict[str, Any]]:
        scored: dict[str, dict[str, float]] = {id_: {} for id_ in ids}
        for row in scores.filter(pc.is_in(scores["id"], pa.array(ids, pa.string()))).to_pylist():
            scored[row["id"]][row["concept_id"]] = row["probability"]
        return [
            {"id": id_, "rank": rank, **_as_row(candidate)}
            for id_ in ids
            for rank, candidate in enumerate(
                short_list(scored[id_], keywords.get(id_, ()), taxonomy, thresholds), start=1
            )
        ]

    return listed


def _without_broader(
    ranked: Sequence[str], scored: Mapping[str, float], taxonomy: Taxonomy, factor: float
) -> list[str]:
    """The more specific one says more: a vase need not be looked for as a vessel too."""
    likeliest_narrower: dict[str, float] = {}
    for concept_id in ranked:
        for ancestor in taxonomy.ancestors(concept_id):
            likeliest_narrower[ancestor] = max(likeliest_narrower.get(ancestor, 0.0), scored[concept_id])
    return [
        concept_id
        for concept_id in ranked
        if concept_id not in likeliest_narrower
        or scored[concept_id] > factor * likeliest_narrower[concept_id]
    ]


def _proposed(
    keywords: Sequence[Mapping[str, Any]], chosen: Sequence[Candidate], taxonomy: Taxonomy
) -> list[Candidate]:
    known = {candidate.concept_id for candidate in chosen if candidate.concept_id}
    known |= {ancestor for concept_id in known for ancestor in taxonomy.ancestors(concept_id)}
    phrases = {candidate.phrase.lower() for candidate in chosen}
    proposed: list[Candidate] = []
    for keyword in sorted(keywords, key=lambda keyword: (-keyword["logprob"], keyword["phrase"])):
        concept = taxonomy.by_id.get(keyword["concept_id"] or "")
        phrase = taxonomy.asked_labels(concept)[0] if concept else keyword["phrase"].strip()
        whole_image = concept is not None and not taxonomy.facets[concept.facet].grounded
        if whole_image or not phrase or phrase.lower() in phrases or (concept and concept.id in known):
            continue
        phrases.add(phrase.lower())
        proposed.append(Candidate(phrase, concept.id if concept else None, "vlm", None))
    return proposed


def _as_row(candidate: Candidate) -> dict[str, Any]:
    return {
        "phrase": candidate.phrase,
        "concept_id": candidate.concept_id,
        "reason": candidate.reason,
        "probability": candidate.probability,
        "needs_review": candidate.needs_review,
    }
