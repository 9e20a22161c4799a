"""The short-list sent to grounding: pure functions from tag scores and a vocabulary to phrases to look for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from taxonomy import Taxonomy

CANDIDATES = pa.schema(
    [
        ("id", pa.string()),
        ("rank", pa.int16()),
        ("phrase", pa.string()),
        ("concept_id", pa.string()),
        ("reason", pa.string()),
        ("probability", pa.float32()),
        ("needs_review", pa.bool_()),
        ("fingerprint", pa.string()),
    ]
)

_IMAGES_AT_A_TIME = 2048


@dataclass(frozen=True, slots=True)
class Bars:
    """What a concept must reach to be looked for. Probabilities are those of `tag_scores`, 0..1."""

    score: float = 0.05
    """Likely enough for a tag of any frequency."""
    tail: float = 0.005
    """Rare tags have small probabilities even where they are true, so this is their bar.

    A vocabulary without ground truth has no frequencies, so the bar is the same for all tags and only
    the reason tells who needed it. On the 600 demo images it keeps 98 % of the true tail tags."""
    at_least: int = 20
    """Concepts looked for whatever their probability: an uncalibrated encoder's may all be tiny."""
    at_most: int = 60
    """Concepts looked for in one image, the likeliest first."""
    broader_factor: float = 10.0
    """A broader concept is left out next to a narrower one, unless it is this many times likelier."""
    proposals: int = 10
    """Keywords of the VLM looked for in one image, the likeliest first."""


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
    bars: Bars,
) -> list[Candidate]:
    """The candidates of one image, best first: by probability, then the proposals of the VLM.

    `scored`: concept id -> probability of the groundable concepts that earned their own score.
    `keywords`: mappings with phrase, concept_id (or None) and logprob. A keyword that is a candidate already,
    or a broader concept of one, adds nothing.
    """
    ranked = sorted(scored, key=lambda concept_id: (-scored[concept_id], concept_id))
    above = [c for place, c in enumerate(ranked) if place < bars.at_least or scored[c] >= bars.tail]
    specific = _without_broader(above, scored, taxonomy, bars.broader_factor)[: bars.at_most]
    chosen = [
        Candidate(
            taxonomy.by_id[concept_id].pref_label,
            concept_id,
            "score" if scored[concept_id] >= bars.score else "tail",
            scored[concept_id],
        )
        for concept_id in specific
    ]
    return chosen + _proposed(keywords, chosen, taxonomy)[: bars.proposals]


def short_lists(
    wanted: pa.Table,
    tag_scores: pa.Table,
    keywords: Mapping[str, Sequence[Mapping[str, Any]]],
    taxonomy: Taxonomy,
    bars: Bars,
) -> Iterator[tuple[pa.Table, dict[str, str]]]:
    """Yield rows of `CANDIDATES`, and (id -> fingerprint) of images without a candidate, some images at a time.

    `wanted`: id, fingerprint. `tag_scores`: id, concept_id, probability, inherited_from. `keywords` by id.
    """
    own = pc.and_(
        pc.is_null(tag_scores["inherited_from"]),
        pc.is_in(tag_scores["concept_id"], pa.array(groundable(taxonomy), pa.string())),
    )
    scores = tag_scores.filter(own).select(["id", "concept_id", "probability"])
    for start in range(0, wanted.num_rows, _IMAGES_AT_A_TIME):
        part = wanted.slice(start, _IMAGES_AT_A_TIME)
        scored: dict[str, dict[str, float]] = {id_: {} for id_ in part["id"].to_pylist()}
        for row in scores.filter(pc.is_in(scores["id"], part["id"].combine_chunks())).to_pylist():
            scored[row["id"]][row["concept_id"]] = row["probability"]
        rows: list[dict[str, Any]] = []
        empty: dict[str, str] = {}
        for image in part.to_pylist():
            id_ = image["id"]
            found = short_list(scored[id_], keywords.get(id_, ()), taxonomy, bars)
            rows += [
                image | _as_row(candidate) | {"rank": rank} for rank, candidate in enumerate(found, start=1)
            ]
            if not found:
                empty[id_] = image["fingerprint"]
        yield pa.Table.from_pylist(rows, schema=CANDIDATES), empty


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
        phrase = concept.pref_label if concept else keyword["phrase"].strip()
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
