"""RDF in any of its syntaxes, read into statements by oxigraph: nothing is fetched and no other file is opened.

Oxigraph parses as a stream and has no loader: a JSON-LD context that is named by an address, an owl:imports, a DTD of
RDF/XML bring nothing in.
"""

import io
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pyoxigraph

from taxonomy.problems import Flaw, TaxonomyError, read_bytes
from taxonomy.safe_xml import safe_xml

SYNTAXES: Mapping[str, tuple[pyoxigraph.RdfFormat, str]] = {
    suffix: (syntax, name)
    for syntax, name, suffixes in (
        (pyoxigraph.RdfFormat.TURTLE, "Turtle", ".ttl .turtle"),
        (pyoxigraph.RdfFormat.RDF_XML, "RDF/XML", ".rdf .xml .owl .rdfs .skos"),
        (pyoxigraph.RdfFormat.JSON_LD, "JSON-LD", ".jsonld .json"),
        (pyoxigraph.RdfFormat.N_TRIPLES, "N-Triples", ".nt"),
        (pyoxigraph.RdfFormat.N_QUADS, "N-Quads", ".nq"),
        (pyoxigraph.RdfFormat.TRIG, "TriG", ".trig"),
        (pyoxigraph.RdfFormat.N3, "N3", ".n3"),
    )
    for suffix in suffixes.split()
}
"""Suffix -> what is read, and its name."""

Value = str | tuple[str, str]
"""An IRI, a blank node (_:b) or a text with its language tag."""


class Statements:
    """What a file says by some predicates: subject and object of each, in no order that the file gives them."""

    def __init__(self) -> None:
        self._by_predicate: dict[str, dict[str, list[Value]]] = defaultdict(dict)

    def add(self, subject: str, predicate: str, value: Value) -> None:
        self._by_predicate[predicate].setdefault(subject, []).append(value)

    def values(self, subject: str, *predicates: str) -> Iterator[Value]:
        for predicate in predicates:
            yield from self._by_predicate[predicate].get(subject, ())

    def texts(self, subject: str, *predicates: str) -> Iterator[tuple[str, str]]:
        """(text, language tag)"""
        return (value for value in self.values(subject, *predicates) if isinstance(value, tuple))

    def nodes(self, subject: str, *predicates: str) -> Iterator[str]:
        """IRIs and blank nodes."""
        return (value for value in self.values(subject, *predicates) if isinstance(value, str))

    def pairs(self, *predicates: str) -> Iterator[tuple[str, Value]]:
        """(subject, object)"""
        for predicate in predicates:
            for subject, values in self._by_predicate[predicate].items():
                for value in values:
                    yield subject, value

    def links(self, *predicates: str) -> Iterator[tuple[str, str]]:
        """(subject, object) where the object is an IRI or a blank node."""
        for subject, value in self.pairs(*predicates):
            if isinstance(value, str):
                yield subject, value

    def subjects(self, *predicates: str) -> set[str]:
        return {subject for predicate in predicates for subject in self._by_predicate[predicate]}


def read_statements(path: Path, predicates: Iterable[str]) -> Statements:
    """The statements of a file by these predicates, in all its graphs. Raises TaxonomyError when it cannot be parsed."""
    wanted = frozenset(predicates)
    found = Statements()
    strings: dict[str, str] = {}  # each IRI once in memory
    for triple in triples(path):
        predicate = triple.predicate.value
        if predicate in wanted:
            subject, value = _name(triple.subject), _plain(triple.object)
            if isinstance(value, str):
                value = strings.setdefault(value, value)
            found.add(strings.setdefault(subject, subject), strings.setdefault(predicate, predicate), value)
    return found


def triples(path: Path) -> Iterator[pyoxigraph.Triple]:
    """All that a file says, in all its graphs. Raises TaxonomyError when it cannot be parsed."""
    syntax, name = syntax_of(path)
    content = safe_xml(path, read_bytes(path)) if name == "RDF/XML" else read_bytes(path)
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        # Relative IRIs resolve against the file, as they would in any other tool.
        base = path.absolute().as_uri()
        for quad in pyoxigraph.parse(io.BytesIO(content), syntax, base_iri=base, lenient=True):
            yield quad.triple
    except SyntaxError as error:
        named = _named_contexts(content) if name == "JSON-LD" else []
        raise TaxonomyError(
            path, named or [Flaw(error.lineno or 1, f"not valid {name}: {error.msg}")]
        ) from error
    except (OSError, ValueError) as error:  # bytes that are no UTF-8 are told as either
        raise TaxonomyError(path, [_undecodable(content) or Flaw(1, f"not valid {name}: {error}")]) from error


def syntax_of(path: Path) -> tuple[pyoxigraph.RdfFormat, str]:
    """Raises TaxonomyError where the suffix says of no syntax."""
    if path.suffix.lower() not in SYNTAXES:
        raise TaxonomyError(
            path, [Flaw(1, f'the suffix "{path.suffix}" is not one of {", ".join(SYNTAXES)}')]
        )
    return SYNTAXES[path.suffix.lower()]


def _plain(
    term: pyoxigraph.NamedNode | pyoxigraph.BlankNode | pyoxigraph.Literal | pyoxigraph.Triple,
) -> Value:
    return (term.value, term.language or "") if isinstance(term, pyoxigraph.Literal) else _name(term)


def _name(term: pyoxigraph.NamedNode | pyoxigraph.BlankNode | pyoxigraph.Triple) -> str:
    return term.value if isinstance(term, pyoxigraph.NamedNode) else str(term)


def _named_contexts(content: bytes) -> list[Flaw]:
    """The contexts of JSON-LD that are named rather than written out, at any depth: why it could not be read."""
    try:
        waiting = [json.loads(content)]
    except (ValueError, RecursionError):
        return []
    named = set[str]()
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            contexts = [value[key] for key in ("@context", "@import") if key in value]
            while contexts:
                context = contexts.pop()
                contexts += context if isinstance(context, list) else []
                named |= {context} if isinstance(context, str) else set()
        waiting += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    text = content.decode(errors="replace")
    advice = "is not fetched; write the context into the file"
    return [
        Flaw(text.count("\n", 0, max(0, text.find(name))) + 1, f'the context "{name}" {advice}')
        for name in sorted(named)
    ]


def _undecodable(content: bytes) -> Flaw | None:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return Flaw(content.count(b"\n", 0, error.start) + 1, "is not UTF-8; save the file as UTF-8")
    return None


def written(
    statements: Sequence[tuple[str, str, Value]], syntax: pyoxigraph.RdfFormat, prefixes: Mapping[str, str]
) -> str:
    """(subject, predicate, object) in a syntax, in the order given."""
    triples = (
        pyoxigraph.Triple(
            pyoxigraph.NamedNode(subject),
            pyoxigraph.NamedNode(predicate),
            pyoxigraph.NamedNode(value)
            if isinstance(value, str)
            else pyoxigraph.Literal(value[0], language=value[1] or None),
        )
        for subject, predicate, value in statements
    )
    content = pyoxigraph.serialize(triples, format=syntax, prefixes=dict(prefixes))
    assert content is not None  # as it is where it is written to no file
    return content.decode()
