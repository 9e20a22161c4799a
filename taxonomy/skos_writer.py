"""A vocabulary written as SKOS: in Turtle or JSON-LD, with a ``skos:Collection`` for each facet."""

import json

from rdflib import Graph, Literal, URIRef
from rdflib.namespace import RDF, SKOS, Namespace

from taxonomy.concept import Concept
from taxonomy.model import Taxonomy

CONCEPT = Namespace("urn:x-vistag:concept/")
FACET = Namespace("urn:x-vistag:facet/")
SCHEME = URIRef("urn:x-vistag:vocabulary")

JSONLD_CONTEXT: dict[str, object] = {
    "skos": str(SKOS),
    "concept": str(CONCEPT),
    "facet": str(FACET),
    "id": "@id",
    "type": "@type",
    "prefLabel": {"@id": "skos:prefLabel", "@language": "en"},
    "altLabel": {"@id": "skos:altLabel", "@language": "en", "@container": "@set"},
    "definition": {"@id": "skos:definition", "@language": "en"},
    "broader": {"@id": "skos:broader", "@type": "@id", "@container": "@set"},
    "inScheme": {"@id": "skos:inScheme", "@type": "@id"},
    "member": {"@id": "skos:member", "@type": "@id", "@container": "@set"},
}


def to_turtle(taxonomy: Taxonomy) -> str:
    """The vocabulary as Turtle text, sorted."""
    graph = Graph()
    for prefix, namespace in (("concept", CONCEPT), ("facet", FACET), ("skos", SKOS)):
        graph.bind(prefix, namespace)
    graph.add((SCHEME, RDF.type, SKOS.ConceptScheme))
    for concept in taxonomy.concepts:
        subject = CONCEPT[concept.id]
        graph.add((subject, RDF.type, SKOS.Concept))
        graph.add((subject, SKOS.inScheme, SCHEME))
        graph.add((subject, SKOS.prefLabel, Literal(concept.pref_label, "en")))
        for label in concept.alt_labels:
            graph.add((subject, SKOS.altLabel, Literal(label, "en")))
        for parent in concept.broader:
            graph.add((subject, SKOS.broader, CONCEPT[parent]))
        if concept.definition:
            graph.add((subject, SKOS.definition, Literal(concept.definition, "en")))
        graph.add((FACET[concept.facet], RDF.type, SKOS.Collection))
        graph.add((FACET[concept.facet], SKOS.member, subject))
    return graph.serialize(format="turtle")


def to_jsonld(taxonomy: Taxonomy) -> str:
    """The vocabulary as JSON-LD text with its context inside, sorted by id."""
    scheme: dict[str, object] = {"id": str(SCHEME), "type": "skos:ConceptScheme"}
    concepts = [_concept_node(concept) for concept in taxonomy.concepts]
    collections = [
        {
            "id": f"facet:{facet}",
            "type": "skos:Collection",
            "member": [f"concept:{concept.id}" for concept in taxonomy.concepts if concept.facet == facet],
        }
        for facet in taxonomy.facets
    ]
    document = {"@context": JSONLD_CONTEXT, "@graph": [scheme, *concepts, *collections]}
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _concept_node(concept: Concept) -> dict[str, object]:
    node: dict[str, object] = {
        "id": f"concept:{concept.id}",
        "type": "skos:Concept",
        "inScheme": str(SCHEME),
        "prefLabel": concept.pref_label,
        "altLabel": list(concept.alt_labels),
        "broader": [f"concept:{parent}" for parent in concept.broader],
        "definition": concept.definition,
    }
    return {key: value for key, value in node.items() if value}
