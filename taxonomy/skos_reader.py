"""A vocabulary read from SKOS, in Turtle or JSON-LD. The last part of an IRI is the id.

A facet is a ``skos:Collection`` whose last IRI part is the facet's name, and whose ``skos:member`` values are
its concepts: plain SKOS, so that other tools show the facets too. Nothing is ever fetched from a network.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from rdflib import Graph, Literal, URIRef
from rdflib.namespace import RDF, SKOS
from rdflib.plugins.parsers.notation3 import BadSyntax
from rdflib.term import Node

from taxonomy.concept import Concept
from taxonomy.problems import Flaw, TaxonomyError, did_you_mean, read_text
from taxonomy.validation import Draft, same_label_key

# What may name a subject: <iri> and prefix:name in Turtle, the value of an id key in JSON.
TURTLE_NAME = re.compile(r"<([^<>\s]+)>|(?<![\w\"])([\w-]*:[\w.-]*\w)")
JSON_NAME = re.compile(r'"@?id"\s*:\s*"([^"]*)"')


def read_turtle(path: Path, facets: Collection[str]) -> tuple[list[Draft], list[Flaw]]:
    """The concepts of a Turtle file. Raises TaxonomyError when it cannot be parsed."""
    text = read_text(path)
    return _read(_parse(path, text, "turtle"), _first_lines(text, TURTLE_NAME), facets)


def read_jsonld(path: Path, facets: Collection[str]) -> tuple[list[Draft], list[Flaw]]:
    """The concepts of a JSON-LD file. Raises TaxonomyError when it cannot be parsed or names a context."""
    text = read_text(path)
    try:
        document = json.loads(text)
        remote = sorted(set(_remote_contexts(document)))
    except json.JSONDecodeError as error:
        raise TaxonomyError(path, [Flaw(error.lineno, f"not valid JSON: {error.msg}")]) from error
    except RecursionError as error:
        raise TaxonomyError(path, [Flaw(1, "the JSON is nested too deeply")]) from error
    if remote:
        advice = "is not fetched; write the context into the file"
        flaws = [Flaw(_line_of(text, address), f'the context "{address}" {advice}') for address in remote]
        raise TaxonomyError(path, flaws)
    # Parsed again from what was checked: nothing reaches rdflib that another reading of the text could hide.
    graph = _parse(path, json.dumps(document), "json-ld")
    return _read(graph, _first_lines(text, JSON_NAME), facets)


def _parse(path: Path, text: str, syntax: str) -> Graph:
    try:
        # Relative IRIs resolve against the file, as they would in any other tool.
        return Graph().parse(data=text, format=syntax, publicID=path.absolute().as_uri())
    except BadSyntax as error:
        raise TaxonomyError(path, [Flaw(error.lines + 1, f"not valid Turtle: {error._why}")]) from error
    except Exception as error:
        # rdflib lets many kinds of exception out for malformed input; each means an unreadable file.
        raise TaxonomyError(path, [Flaw(1, f"cannot be read as {syntax}: {error}")]) from error


def _remote_contexts(document: Any) -> Iterator[str]:
    """Every context that is named rather than written out, at any depth."""
    if isinstance(document, list):
        for item in document:
            yield from _remote_contexts(item)
    elif isinstance(document, dict):
        for key, value in document.items():
            if key in ("@context", "@import"):
                yield from (item for item in _as_list(value) if isinstance(item, str))
            yield from _remote_contexts(value)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _line_of(text: str, wanted: str) -> int:
    return text.count("\n", 0, max(0, text.find(wanted))) + 1


def _first_lines(text: str, name: re.Pattern[str]) -> dict[str, int]:
    """Local name -> the line where it is indented least: its own statements, not a mention in another's."""
    places: dict[str, tuple[int, int]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        for match in name.finditer(line):
            local = _local_name(next(group for group in match.groups() if group is not None))
            place = (match.start(), number)
            places[local] = min(place, places.get(local, place))
    return {local: number for local, (_, number) in places.items()}


def _local_name(iri: str) -> str:
    return re.split(r"[#/:]", iri)[-1]


def _read(graph: Graph, lines: Mapping[str, int], facets: Collection[str]) -> tuple[list[Draft], list[Flaw]]:
    subjects = sorted(_subjects(graph))
    known = {_local_name(subject) for subject in subjects}
    drafts: list[Draft] = []
    flaws = [Flaw(1, f"a concept has no IRI: {node_text}") for node_text in _unnamed(graph)]
    for subject in subjects:
        id_ = _local_name(subject)
        line = lines.get(id_, 1)
        pref_label, alt_labels = _labels(graph, subject)
        concept = Concept(
            id=id_,
            pref_label=pref_label,
            alt_labels=alt_labels,
            facet=next(iter(_facets_of(graph, subject, facets)), ""),
            broader=tuple({_local_name(str(parent)) for parent in _parents(graph, subject)}),
            definition=next((str(text).strip() for text in _in_english(graph, subject, SKOS.definition)), ""),
        )
        drafts.append(Draft(concept, line))
        problems = (
            *_label_problems(graph, subject),
            *_link_problems(graph, subject, known),
            *_facet_problems(graph, subject, facets),
        )
        flaws += [Flaw(line, f'"{id_}" {problem}') for problem in problems]
    return sorted(drafts, key=lambda draft: draft.line), flaws


def _described(graph: Graph) -> set[Node]:
    """What the file describes as a concept: by type, by scheme, or by standing in the hierarchy."""
    described = {
        *graph.subjects(RDF.type, SKOS.Concept),
        *graph.subjects(SKOS.inScheme),
        *graph.subjects(SKOS.topConceptOf),
        *graph.subjects(SKOS.broader),
        *graph.subjects(SKOS.narrower),
    }
    return described - set(graph.subjects(RDF.type, SKOS.Collection))


def _subjects(graph: Graph) -> list[URIRef]:
    return [node for node in _described(graph) if isinstance(node, URIRef)]


def _unnamed(graph: Graph) -> Iterator[str]:
    for node in _described(graph):
        if not isinstance(node, URIRef):
            labels = sorted(str(label) for label in graph.objects(node, SKOS.prefLabel))
            yield f"prefLabel {', '.join(labels)}" if labels else "it has no prefLabel either"


def _parents(graph: Graph, subject: URIRef) -> set[URIRef]:
    linked = {*graph.objects(subject, SKOS.broader), *graph.subjects(SKOS.narrower, subject)}
    return {node for node in linked if isinstance(node, URIRef)}


def _link_problems(graph: Graph, subject: URIRef, known: Collection[str]) -> Iterator[str]:
    for relation in (SKOS.broader, SKOS.narrower):
        for node in sorted(graph.objects(subject, relation), key=str):
            name = _local_name(str(node))
            if not isinstance(node, URIRef):
                yield f'has the {_local_name(relation)} "{node}", which is no IRI'
            elif relation == SKOS.narrower and name not in known:
                yield f'has the unknown narrower "{name}"{did_you_mean(name, known)}'


def _in_english(graph: Graph, subject: URIRef, predicate: URIRef) -> list[Literal]:
    """The texts in English, those tagged ``en`` first, then those without a tag, then ``en-GB`` and so on."""
    texts = [text for text in graph.objects(subject, predicate) if isinstance(text, Literal)]
    ranked = [
        ({"en": "", "": "-"}.get(language, language), str(text), text)
        for text in texts
        if (language := (text.language or "").lower()) in ("", "en") or language.startswith("en-")
    ]
    return [text for _, _, text in sorted(ranked, key=lambda item: item[:2])]


def _labels(graph: Graph, subject: URIRef) -> tuple[str, tuple[str, ...]]:
    """The first English prefLabel, and the altLabels, which differing prefLabels of other Englishes join."""
    pref_labels = [str(text).strip() for text in _in_english(graph, subject, SKOS.prefLabel)]
    pref_label = pref_labels[0] if pref_labels else ""
    others = {label for label in pref_labels if same_label_key(label) != same_label_key(pref_label)}
    alt_labels = {str(text).strip() for text in _in_english(graph, subject, SKOS.altLabel)}
    return pref_label, tuple(alt_labels | others)


def _label_problems(graph: Graph, subject: URIRef) -> Iterator[str]:
    labels = _in_english(graph, subject, SKOS.prefLabel)
    languages = [label.language for label in labels]
    for language in sorted({tag or "" for tag in languages if languages.count(tag) > 1}):
        same = [f'"{label}"' for label in labels if (label.language or "") == language]
        yield f"has {len(same)} prefLabels in one language: {', '.join(same)}"
    others = sorted(
        {
            label.language
            for label in graph.objects(subject, SKOS.prefLabel)
            if isinstance(label, Literal) and label.language
        }
    )
    if others and not labels:
        yield f"has prefLabels in {', '.join(others)} only; add one tagged @en"


def _facets_of(graph: Graph, subject: URIRef, facets: Collection[str]) -> list[str]:
    """Names of the collections it is a member of: the facets alone, or all of them when none is a facet."""
    names = sorted({_local_name(str(node)) for node in graph.subjects(SKOS.member, subject)})
    return [name for name in names if name in facets] or names


def _facet_problems(graph: Graph, subject: URIRef, facets: Collection[str]) -> Iterator[str]:
    names = _facets_of(graph, subject, facets)
    if len(names) > 1 and names[0] in facets:
        yield f"is a member of {len(names)} facets: {', '.join(names)}; keep one"
    elif len(names) > 1:
        yield f"is a member of {len(names)} collections: {', '.join(names)}; say in facets.yaml which one is its facet"
