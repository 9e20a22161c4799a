"""What is in a vocabulary, in figures."""

from collections.abc import Sequence
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
    )


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
