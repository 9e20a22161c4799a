"""What a vocabulary is: concepts with their hierarchy, and the facets that they are of."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from taxonomy.concept import Concept, Translation
from taxonomy.facets import Facet
from taxonomy.homographs import context_words, parted, qualifiers, shared_labels, shares
from taxonomy.labels import Labels
from taxonomy.problems import Flaw


@dataclass(frozen=True)
class Taxonomy:
    """A validated vocabulary: unique ids, known parents, no cycles (`taxonomy.load_taxonomy` sees to it)."""

    concepts: tuple[Concept, ...]
    facets: Mapping[str, Facet] = field(default_factory=dict)
    """Name -> facet, of those that have concepts, in the order given; what is given none has the defaults."""
    flaws: tuple[Flaw, ...] = field(default=(), compare=False)
    """What was noticed in its file, and mended."""
    asked: Literal["all", "pref"] = "all"
    """Whether an encoder is asked about all labels of a concept, or about the preferred one alone."""
    replaced: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Id of a deprecated concept, which is none of these -> id of the one that replaces it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "concepts", tuple(sorted(self.concepts, key=lambda concept: concept.id)))
        used = {concept.facet: Facet(concept.facet) for concept in self.concepts}
        described = {name: facet for name, facet in self.facets.items() if name in used}
        object.__setattr__(self, "facets", described | {n: used[n] for n in sorted(used.keys() - described)})

    @cached_property
    def by_id(self) -> Mapping[str, Concept]:
        return {concept.id: concept for concept in self.concepts}

    @cached_property
    def pref_labels(self) -> Mapping[str, str]:
        """Concept id -> preferred label."""
        return {concept.id: concept.pref_label for concept in self.concepts}

    @cached_property
    def labels(self) -> Labels:
        """All labels, to be found in texts."""
        return Labels(self.concepts)

    def facet_of(self, concept_id: str) -> Facet:
        """KeyError for an id that is not in the vocabulary."""
        return self.facets[self.by_id[concept_id].facet]

    @cached_property
    def things(self) -> frozenset[str]:
        """Ids of the concepts that captions are expected to name: things, but for those that lie beside the subject."""
        aside = {id_ for facet in self.facets.values() for id_ in facet.aside}
        return frozenset(
            concept.id
            for concept in self.concepts
            if self.facets[concept.facet].thing and aside.isdisjoint(self._ancestors[concept.id])
        )

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of the SHA-256 of everything in the vocabulary, in whatever order it was written."""
        content: dict[str, object] = {
            "concepts": [
                [c.id, c.pref_label, c.alt_labels, c.facet, c.broader, c.definition] for c in self.concepts
            ],
            "prompts": {name: sorted(facet.prompts) for name, facet in self.facets.items()},
        }
        told = {name: facet.fingerprint for name, facet in self.facets.items()}
        if changed := {name: text for name, text in told.items() if text is not None}:
            content["facets"] = changed
        # what older vocabularies do not have is told only where there is some: their rows stay valid
        if spoken := {
            c.id: [c.language, *_told(c.translations)] for c in self.concepts if c.language or c.translations
        }:
            content["languages"] = spoken
        if hidden := {c.id: c.hidden_labels for c in self.concepts if c.hidden_labels}:
            content["hidden"] = hidden
        if self.asked != "all":
            content["asked"] = self.asked
        if self.qualifiers:
            content["qualifiers"] = self.qualifiers
        canonical = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @cached_property
    def identity(self) -> str | None:
        """What tells apart vocabularies that differ in IRIs and notations alone; None where there are none."""
        told = [[c.id, c.iri, c.notation] for c in self.concepts if c.iri or c.notation]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16] if told else None

    @cached_property
    def qualifiers(self) -> Mapping[str, Mapping[str, str]]:
        """Concept id -> label -> what parts it from others that are written alike."""
        return qualifiers(self.concepts, self.by_id)

    @cached_property
    def homographs(self) -> list[tuple[str, ...]]:
        """Ids of concepts of one facet that bear a common label, sorted."""
        return shared_labels(self.concepts)

    @cached_property
    def shown_labels(self) -> Mapping[str, str]:
        """Concept id -> preferred label as a page shows it: with its qualifier where others are written alike."""
        return {
            concept.id: f"{concept.pref_label} ({qualifier})"
            if (qualifier := self.qualifiers.get(concept.id, {}).get(concept.pref_label))
            and not parted(concept.pref_label)[1]
            else concept.pref_label
            for concept in self.concepts
        }

    def asked_labels(self, concept: Concept, *, multilingual: bool = False) -> tuple[str, ...]:
        """The labels as a model is asked about them, the preferred one first: "cranes, birds".

        They are in English where the concept has any, but for a model that knows other languages (`multilingual`).
        """
        known = self.qualifiers.get(concept.id, {})
        labels = concept.labels if multilingual else concept.english_labels
        asked = (f"{parted(label)[0]}, {known[label]}" if label in known else label for label in labels)
        return tuple(dict.fromkeys(asked))[: 1 if self.asked == "pref" else None]

    def phrases(self, concept: Concept, *, multilingual: bool = False) -> tuple[str, ...]:
        """Every label in every template of the concept's facet, preferred label first."""
        return tuple(
            template.replace("{label}", label)
            for label in self.asked_labels(concept, multilingual=multilingual)
            for template in self.facets[concept.facet].prompts
        )

    @cached_property
    def _context_words(self) -> dict[str, frozenset[str]]:
        return {}

    def shares(self, concept_ids: Sequence[str], text: str) -> dict[str, float]:
        """How far a text that names several concepts by one label means each of them, 0..1.

        Concepts of different facets are each meant in full: a horn is an object and a material. Of those that share a
        facet one alone is meant, and what else the text says decides how likely which.
        """
        found = dict.fromkeys(concept_ids, 1.0)
        by_facet: dict[str, list[str]] = {}
        for id_ in concept_ids if len(concept_ids) > 1 else ():
            by_facet.setdefault(self.by_id[id_].facet, []).append(id_)
        for ids in by_facet.values():
            if len(ids) > 1:
                for id_ in ids:
                    if id_ not in self._context_words:
                        self._context_words[id_] = context_words(self.by_id[id_], self.by_id)
                found |= shares(text, {id_: self._context_words[id_] for id_ in ids})
        return found

    def narrower_of(self, concept_id: str) -> tuple[str, ...]:
        """Ids of the concepts one step below, sorted. KeyError for an id that is not in the vocabulary."""
        return self._narrower[self.by_id[concept_id].id]

    def ancestors(self, concept_id: str) -> frozenset[str]:
        """Ids of all broader concepts, at any distance. KeyError for an id that is not in the vocabulary."""
        return self._ancestors[concept_id]

    def with_ancestors(self, concept_ids: frozenset[str]) -> frozenset[str]:
        """The concepts and all that are broader: whoever sees a bowl sees a vessel."""
        return concept_ids.union(*(self._ancestors[id_] for id_ in concept_ids))

    def descendants(self, concept_id: str) -> frozenset[str]:
        """Ids of all narrower concepts, at any distance. KeyError for an id that is not in the vocabulary."""
        wanted = self.by_id[concept_id].id
        return frozenset(narrower for narrower, above in self._ancestors.items() if wanted in above)

    def broader_pairs(self) -> tuple[tuple[str, str], ...]:
        """(narrower id, broader id) at every distance: the transitive closure of ``broader``, sorted."""
        return tuple(
            (narrower, ancestor)
            for narrower in sorted(self._ancestors)
            for ancestor in sorted(self._ancestors[narrower])
        )

    @cached_property
    def _narrower(self) -> Mapping[str, tuple[str, ...]]:
        narrower: dict[str, list[str]] = {concept.id: [] for concept in self.concepts}
        for concept in self.concepts:
            for parent in concept.broader:
                narrower[parent].append(concept.id)
        return {parent: tuple(children) for parent, children in narrower.items()}

    @cached_property
    def _ancestors(self) -> Mapping[str, frozenset[str]]:
        return {concept.id: self._climb(concept.broader) for concept in self.concepts}

    def _climb(self, start: Iterable[str]) -> frozenset[str]:
        reached: set[str] = set()
        waiting = list(start)
        while waiting:
            parent = waiting.pop()
            if parent not in reached:
                reached.add(parent)
                waiting.extend(self.by_id[parent].broader)
        return frozenset(reached)


def _told(translations: Iterable[Translation]) -> list[list[object]]:
    return [[each.language, each.pref_label, each.alt_labels] for each in translations]
