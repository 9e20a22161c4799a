"""A vocabulary written as SKOS: in a syntax of RDF, with a ``skos:Collection`` for each facet."""

import json
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pyoxigraph

from taxonomy.concept import Concept
from taxonomy.model import Taxonomy
from taxonomy.rdf import Value, written
from taxonomy.skos_reader import (
    ALT,
    BROADER,
    CLOSE,
    CONCEPT,
    DEFINITION,
    EXACT,
    GROUPS,
    HIDDEN,
    IN_SCHEME,
    MEMBER,
    NOTATION,
    OWN,
    PREF,
    RDF,
    SCHEME,
    SKOS,
    TYPE,
)

FACET = "urn:x-vistag:facet/"
VOCABULARY = "urn:x-vistag:vocabulary"
PREFIXES = {"skos": SKOS, "concept": OWN, "facet": FACET, "rdf": RDF}

JSONLD_CONTEXT: dict[str, object] = {
    "skos": SKOS,
    "concept": OWN,
    "facet": FACET,
    "id": "@id",
    "type": "@type",
    "prefLabel": {"@id": "skos:prefLabel", "@language": "en"},
    "altLabel": {"@id": "skos:altLabel", "@language": "en", "@container": "@set"},
    "hiddenLabel": {"@id": "skos:hiddenLabel", "@container": "@set"},
    "prefLabels": {"@id": "skos:prefLabel", "@container": "@language"},
    "altLabels": {"@id": "skos:altLabel", "@container": "@language"},
    "definition": {"@id": "skos:definition", "@language": "en"},
    "notation": {"@id": "skos:notation"},
    "broader": {"@id": "skos:broader", "@type": "@id", "@container": "@set"},
    "exactMatch": {"@id": "skos:exactMatch", "@type": "@id", "@container": "@set"},
    "closeMatch": {"@id": "skos:closeMatch", "@type": "@id", "@container": "@set"},
    "inScheme": {"@id": "skos:inScheme", "@type": "@id"},
    "member": {"@id": "skos:member", "@type": "@id", "@container": "@set"},
}


def to_rdf(syntax: pyoxigraph.RdfFormat) -> Callable[[Taxonomy], str]:
    """What writes a vocabulary in a syntax, sorted."""
    return lambda taxonomy: written(list(_statements(taxonomy)), syntax, PREFIXES)


def iri_of(concept: Concept) -> str:
    """The IRI of the file that it came from, else one made of its id."""
    return concept.iri or f"{OWN}{quote(concept.id, safe='/')}"


def _statements(taxonomy: Taxonomy) -> Iterator[tuple[str, str, Value]]:
    yield VOCABULARY, TYPE, SCHEME
    for concept in taxonomy.concepts:
        subject = iri_of(concept)
        yield subject, TYPE, CONCEPT
        yield subject, IN_SCHEME, VOCABULARY
        for predicate, text, language in _texts(concept):
            yield subject, predicate, (text, language)
        if concept.notation:
            yield subject, NOTATION, (concept.notation, "")
        for parent in concept.broader:
            yield subject, BROADER[0], iri_of(taxonomy.by_id[parent])
        for predicate, others in ((EXACT, concept.exact_match), (CLOSE, concept.close_match)):
            for other in others:
                yield subject, predicate, other
    for facet in taxonomy.facets:
        name = f"{FACET}{quote(facet, safe='')}"
        yield name, TYPE, GROUPS[0]
        for concept in taxonomy.concepts:
            if concept.facet == facet:
                yield name, MEMBER, iri_of(concept)


def _texts(concept: Concept) -> Iterator[tuple[str, str, str]]:
    """(predicate, text, language tag)"""
    shown = concept.language or "en"
    yield PREF, concept.pref_label, shown
    for label in concept.alt_labels:
        yield ALT, label, shown
    for label in concept.hidden_labels:
        yield HIDDEN, label, shown
    for translation in concept.translations:
        if translation.pref_label:
            yield PREF, translation.pref_label, translation.language
        for label in translation.alt_labels:
            yield ALT, label, translation.language
    if concept.definition:
        yield DEFINITION, concept.definition, shown


def to_jsonld(taxonomy: Taxonomy) -> str:
    """The vocabulary as JSON-LD text with its context inside, sorted by id."""
    scheme: dict[str, object] = {"id": VOCABULARY, "type": "skos:ConceptScheme"}
    concepts = [_concept_node(concept, taxonomy) for concept in taxonomy.concepts]
    collections = [
        {
            "id": f"facet:{quote(facet, safe='')}",
            "type": "skos:Collection",
            "member": [_compact(concept) for concept in taxonomy.concepts if concept.facet == facet],
        }
        for facet in taxonomy.facets
    ]
    document = {"@context": JSONLD_CONTEXT, "@graph": [scheme, *concepts, *collections]}
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _compact(concept: Concept) -> str:
    return concept.iri or f"concept:{quote(concept.id, safe='/')}"


def _concept_node(concept: Concept, taxonomy: Taxonomy) -> dict[str, object]:
    pref: dict[str, object] = {
        t.language or "@none": t.pref_label for t in concept.translations if t.pref_label
    }
    alt: dict[str, object] = {
        t.language or "@none": list(t.alt_labels) for t in concept.translations if t.alt_labels
    }
    own = not concept.language
    if not own:
        pref[concept.language], alt[concept.language] = concept.pref_label, list(concept.alt_labels)
    definition = {"@value": concept.definition, "@language": concept.language}
    node: dict[str, object] = {
        "id": _compact(concept),
        "type": "skos:Concept",
        "inScheme": VOCABULARY,
        "prefLabel": concept.pref_label if own else "",
        "altLabel": list(concept.alt_labels) if own else [],
        "prefLabels": pref,
        "hiddenLabel": list(concept.hidden_labels),
        "altLabels": {tag: labels for tag, labels in alt.items() if labels},
        "notation": concept.notation,
        "broader": [_compact(taxonomy.by_id[parent]) for parent in concept.broader],
        "exactMatch": list(concept.exact_match),
        "closeMatch": list(concept.close_match),
        "definition": concept.definition if own else definition if concept.definition else "",
    }
    return {key: value for key, value in node.items() if value}
