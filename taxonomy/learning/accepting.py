"""Accepted labels into a copy of a vocabulary: what the vocabulary's own file says stays, and the file itself too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import pyoxigraph

from taxonomy.learning.diff_file import PREFIXES, Entry, statements_of
from taxonomy.loading import write_taxonomy
from taxonomy.model import Taxonomy
from taxonomy.rdf import SYNTAXES, triples
from taxonomy.skos_reader import BROADER, CONCEPT, MEMBER, TYPE
from taxonomy.skos_writer import FACET, iri_of


class NotAcceptable(ValueError):
    """Accepted labels that do not fit the vocabulary; the message says which and what to write."""


def with_accepted(
    source: Path, taxonomy: Taxonomy, entries: Sequence[Entry], who: str, decided: datetime
) -> bytes:
    """The vocabulary of a file as Turtle, with the accepted ones of `entries` and where they come from.

    Of a file of RDF every statement is kept, also those that vistag does not read. Raises NotAcceptable, TaxonomyError.
    """
    accepted = [entry for entry in entries if entry.decision == "accept"]
    if problems := list(_problems(accepted, taxonomy)):
        raise NotAcceptable("\n".join(problems))
    found = dict.fromkeys(_all_of(source, taxonomy))
    for entry in accepted:
        found |= dict.fromkeys(statements_of(entry, decided, who))
        if entry.kind == "prefLabel":
            found |= dict.fromkeys(_new_concept(entry, taxonomy, {triple.subject for triple in found}))
    written = pyoxigraph.serialize(list(found), format=pyoxigraph.RdfFormat.TURTLE, prefixes=dict(PREFIXES))
    assert written is not None  # as it is where it is written to no file
    return written


def _all_of(source: Path, taxonomy: Taxonomy) -> Iterator[pyoxigraph.Triple]:
    if source.suffix.lower() in SYNTAXES:
        yield from triples(source)
        return
    with TemporaryDirectory() as scratch:
        copy = Path(scratch) / "vocabulary.ttl"
        write_taxonomy(taxonomy, copy)
        yield from triples(copy)


def _problems(accepted: Sequence[Entry], taxonomy: Taxonomy) -> Iterator[str]:
    """What would make the vocabulary say one thing in two ways, or nothing."""
    known = {iri_of(concept): concept for concept in taxonomy.concepts}
    new = {entry.concept for entry in accepted if entry.kind == "prefLabel"}
    given: Mapping[str, list[str]] = defaultdict(list)
    for entry in accepted:
        given[entry.key].append(entry.concept)
        if entry.kind == "prefLabel" and entry.concept in known:
            yield f'"{entry.words}": {entry.concept} has a preferred label; write skos:altLabel'
        elif entry.kind != "prefLabel" and entry.concept not in {*known, *new}:
            yield f'"{entry.words}": {entry.concept} is no concept of the vocabulary; write skos:prefLabel for a new one'
        if entry.broader and entry.broader not in {*known, *new}:
            yield f'"{entry.words}": its vistag:broader {entry.broader} is no concept of the vocabulary'
        if entry.language in ("", "und"):
            yield f'"{entry.words}": say which language it is, as in "{entry.words}"@nl'
        owners = taxonomy.labels.concepts_of(entry.words)
        if owners and not (entry.concept in known and known[entry.concept].id in owners):
            yield f'"{entry.words}" is a label of {", ".join(owners)} already: reject it, or give it another name'
    for key, concepts in given.items():
        if len(set(concepts)) > 1:
            yield f'"{key}" is accepted for {len(set(concepts))} concepts: keep one'


def _new_concept(
    entry: Entry, taxonomy: Taxonomy, subjects: Collection[object]
) -> Iterator[pyoxigraph.Triple]:
    """In the collection of the facet of what is broader, where the file has such collections; else of the first facet."""
    concept = pyoxigraph.NamedNode(entry.concept)
    yield pyoxigraph.Triple(concept, pyoxigraph.NamedNode(TYPE), pyoxigraph.NamedNode(CONCEPT))
    broader = next((one for one in taxonomy.concepts if iri_of(one) == entry.broader), None)
    if entry.broader:
        above = pyoxigraph.NamedNode(entry.broader)
        yield pyoxigraph.Triple(concept, pyoxigraph.NamedNode(BROADER[0]), above)
    facet = broader.facet if broader else next(iter(taxonomy.facets))
    group = pyoxigraph.NamedNode(f"{FACET}{quote(facet, safe='')}")
    if group in subjects:
        yield pyoxigraph.Triple(group, pyoxigraph.NamedNode(MEMBER), concept)
