"""Vocabularies as other people write them, drawn by program, and what an independent reader counts in them."""

from rdflib import Graph

PREFIXES = """@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix skosxl: <http://www.w3.org/2008/05/skos-xl#> .
@prefix iso: <http://purl.org/iso25964/skos-thes#> .
@prefix owl: <http://www.w3.org/2002/07/owl#> .
@prefix dct: <http://purl.org/dc/terms/> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix v: <http://thesaurus.example/concept/> .
@prefix g: <http://thesaurus.example/group/> .
"""
_COUNTS = {
    "concepts": "?c a skos:Concept",
    "in English": '?c a skos:Concept ; skos:prefLabel ?l . filter(lang(?l) = "en")',
    "deprecated": "?c a skos:Concept ; owl:deprecated true",
    "homographs": "?c a skos:Concept ; skos:prefLabel|skos:altLabel ?l . ?d a skos:Concept ; "
    'skos:prefLabel|skos:altLabel ?l . filter(?c != ?d && lang(?l) = "en") '
    "filter not exists { ?c owl:deprecated true } filter not exists { ?d owl:deprecated true }",
}


def sparql_counts(text: str, syntax: str = "turtle") -> dict[str, int]:
    """Concepts, those with a prefLabel in English, deprecated ones, and labels in English that two of the others bear."""
    graph = Graph().parse(data=text, format=syntax)
    counted = {}
    for name, pattern in _COUNTS.items():
        what = "?l" if name == "homographs" else "?c"
        query = f"select (count(distinct {what}) as ?n) where {{ {pattern} }}"
        namespaces = {
            "skos": "http://www.w3.org/2004/02/skos/core#",
            "owl": "http://www.w3.org/2002/07/owl#",
        }
        [[number]] = graph.query(query, initNs=namespaces)
        counted[name] = int(number)
    return counted


def thesaurus(concepts: int = 60, languages: tuple[str, ...] = ("en", "fr", "ru")) -> str:
    """Turtle in the manner of UNESCO's: numbered concepts without facets, several languages, microthesauri that
    overlap, an import, notes; some concepts deprecated, some with labels that others have, links out of the file.
    """
    lines = [
        PREFIXES,
        "<http://thesaurus.example/> a skos:ConceptScheme ; owl:imports <http://thesaurus.example/o> .",
    ]
    for number in range(1, concepts + 1):
        labels = [f'"Term {number} {tag}"@{tag}' for tag in languages if tag != "en" or number % 10 != 3]
        said = [f"v:{number} a skos:Concept", f"skos:prefLabel {', '.join(labels)}"]
        said.append(f'skos:altLabel "Autre {number}"@fr')
        if number % 10 != 3:
            said.append(f'skos:altLabel "Other {number // 2}"@en')
        said.append(f'skos:notation "{number / 100:.2f}"')
        said.append("skos:inScheme <http://thesaurus.example/>")
        said.append('skos:scopeNote "Use for terms."@en ; dct:modified "2020-01-01"')
        if number > 1:
            said.append(f"skos:broader v:{number // 3 or 1}")
        if number % 11 == 0:
            said.append(f"owl:deprecated true ; dct:isReplacedBy v:{number - 1}")
        if number % 13 == 0:
            said.append("skos:broader v:9999")
        lines.append(" ; ".join(said) + " .")
    for group in range(5):
        members = ", ".join(f"v:{number}" for number in range(group + 1, concepts + 1, 4))
        label = f'skos:prefLabel "Group {group}"@en ; skos:notation "{group}.0"'
        lines.append(f"g:mt{group} a skos:Collection, iso:ConceptGroup ; {label} ; skos:member {members} .")
    return "\n".join(lines) + "\n"
