"""What is in a vocabulary, in figures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from taxonomy.concept import Concept
from taxonomy.loading import load_taxonomy
from taxonomy.model import Taxonomy
from taxonomy.problems import SHOWN, summary


@dataclass(frozen=True, slots=True)
class FacetStats:
    """Counts over the concepts of one facet, or of all of them. ``depth`` is 1 where nothing has a parent."""

    facet: str
    concepts: int
    with_alt_labels: int
    with_definition: int
    roots: int
    depth: int
    phrases_per_concept: float


@dataclass(frozen=True, slots=True)
class TaxonomyStats:
    fingerprint: str
    facets: tuple[FacetStats, ...]
    total: FacetStats
    languages: Mapping[str, int]
    """BCP 47 tag -> concepts with a preferred label in it"""
    asked_in_english: int
    """concepts shown in another language that a model of English alone is asked about in English"""
    homographs: int
    """sets of concepts of one facet that bear a common label"""
    deprecated: int
    """left out"""

    HEADER = ("facet", "concepts", "with altLabels", "with definition", "roots", "depth", "phrases a concept")

    def rows(self) -> tuple[tuple[str, ...], ...]:
        """Cells under ``HEADER``: a row a facet, and the total last."""
        return tuple(
            (
                row.facet,
                str(row.concepts),
                str(row.with_alt_labels),
                str(row.with_definition),
                str(row.roots),
                str(row.depth),
                f"{row.phrases_per_concept:.1f}",
            )
            for row in (*self.facets, self.total)
        )

    def lines(self) -> tuple[str, ...]:
        """What the table does not hold, for people."""
        tags = ", ".join(f"{tag} {count:,}" for tag, count in self.languages.items())
        shown = self.total.concepts
        return (
            f"Preferred labels: {tags}.",
            f"A model that knows English alone is asked in it about {self.asked_in_english:,} of {shown:,} concepts.",
            f"{shown - self.total.with_definition:,} concepts have no definition, {self.homographs:,} labels are shared, "
            f"{self.deprecated:,} deprecated concepts were left out.",
        )


def stats(taxonomy: Taxonomy) -> TaxonomyStats:
    """Counts by facet and in total."""
    by_facet = {
        facet: [concept for concept in taxonomy.concepts if concept.facet == facet]
        for facet in taxonomy.facets
    }
    return TaxonomyStats(
        fingerprint=taxonomy.fingerprint,
        facets=tuple(_count(taxonomy, facet, concepts) for facet, concepts in by_facet.items()),
        total=_count(taxonomy, "all", taxonomy.concepts),
        languages=_languages(taxonomy.concepts),
        asked_in_english=sum(not c.language or c.english_labels != c.labels for c in taxonomy.concepts),
        homographs=len(taxonomy.homographs),
        deprecated=sum(flaw.kind == "deprecated" for flaw in taxonomy.flaws),
    )


def _languages(concepts: Sequence[Concept]) -> dict[str, int]:
    """The most frequent first."""
    tags = Counter(concept.language or "en" for concept in concepts)
    tags.update(t.language or "no language" for c in concepts for t in c.translations if t.pref_label)
    return dict(sorted(tags.items(), key=lambda pair: (-pair[1], pair[0])))


def check_report(
    path: Path, facets_path: Path | None = None, *, shown: int | None = SHOWN, **how: Any
) -> str:
    """What the file holds in one line, and a paragraph on each kind of what was mended in it; `shown`: how many
    examples, None for all. `how` is handed to `load_taxonomy`.

    Raises TaxonomyError when it cannot be used.
    """
    taxonomy = load_taxonomy(path, facets_path, **how)
    counts = f"{len(taxonomy.concepts)} concepts in {len(taxonomy.facets)} facets"
    state = "can be used, but see below" if taxonomy.flaws else "no problems"
    sound = f"{path}: {state}; {counts}, fingerprint {taxonomy.fingerprint}"
    return "\n".join([sound, *summary(path, taxonomy.flaws, shown)])


def _count(taxonomy: Taxonomy, facet: str, concepts: Sequence[Concept]) -> FacetStats:
    phrases = sum(len(taxonomy.phrases(concept)) for concept in concepts)
    return FacetStats(
        facet=facet,
        concepts=len(concepts),
        with_alt_labels=sum(bool(concept.alt_labels) for concept in concepts),
        with_definition=sum(bool(concept.definition) for concept in concepts),
        roots=sum(not concept.broader for concept in concepts),
        depth=_depth(taxonomy, concepts),
        phrases_per_concept=phrases / len(concepts) if concepts else 0.0,
    )


def _depth(taxonomy: Taxonomy, concepts: Sequence[Concept]) -> int:
    depths: dict[str, int] = {}
    broader = {concept.id: concept.broader for concept in taxonomy.concepts}
    for concept_id in TopologicalSorter(broader).static_order():
        depths[concept_id] = 1 + max((depths[parent] for parent in broader[concept_id]), default=0)
    return max((depths[concept.id] for concept in concepts), default=0)
