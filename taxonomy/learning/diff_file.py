"""Proposed labels as a file of Turtle that a person reads, edits and gives back: SKOS-XL labels with their provenance.

Each label says what it would be (`vistag:as`), of which concept (`vistag:of`), who said it when of which pictures (PROV-O),
what speaks against it, and `vistag:decision`, which a person changes from "undecided" to "accept" or "reject".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import quote

import pyoxigraph

from taxonomy.learning.proposals import Kind, Proposal, key_of
from taxonomy.model import Taxonomy
from taxonomy.problems import Flaw, TaxonomyError, slug
from taxonomy.rdf import Statements, read_statements
from taxonomy.skos_reader import OWN, SKOS, SKOSXL
from taxonomy.skos_writer import iri_of

Decision = Literal["undecided", "accept", "reject"]
PROV = "http://www.w3.org/ns/prov#"
TERMS = "urn:x-vistag:term/"
LABEL, PERSON, IMAGE = "urn:x-vistag:learned/", "urn:x-vistag:person/", "urn:x-vistag:image/"
FORM, AS, OF, UNDER, DECISION = (
    f"{SKOSXL}literalForm",
    *(f"{TERMS}{name}" for name in ("as", "of", "broader", "decision")),
)
ATTRIBUTED, DERIVED, GENERATED = (
    f"{PROV}{name}" for name in ("wasAttributedTo", "wasDerivedFrom", "generatedAtTime")
)
FIRST_SAID = f"{TERMS}firstSaid"
PREFIXES = {
    "skos": SKOS,
    "xl": SKOSXL,
    "prov": PROV,
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "vistag": TERMS,
    "concept": OWN,
}
_KINDS = {f"{SKOS}{kind}": kind for kind in get_args(Kind)}
_MOST_PICTURES = 20
_HEADER = """\
# What people called things that the vocabulary has no word for: {count}.
# Read each. Write "accept" or "reject" for "undecided", and mend what is wrong: the words, their language (@en), the concept
# (vistag:of), or what the label is to be: skos:altLabel (a synonym), skos:hiddenLabel (a misspelling: found, never shown),
# skos:prefLabel (of a new concept, below vistag:broader). Then: vistag taxonomy accept THIS-FILE
# Nothing changes before that, and the vocabulary's own file never does.
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A label of a diff, as a person left it."""

    words: str
    language: str
    kind: Kind
    concept: str
    """IRI"""
    broader: str | None
    """IRI"""
    decision: Decision
    provenance: tuple[tuple[str, str], ...]
    """(predicate, IRI) of who said it, of which pictures"""
    times: tuple[tuple[str, str], ...]
    """(predicate, ISO 8601)"""

    @property
    def key(self) -> str:
        return key_of(self.words)


def to_turtle(proposals: Sequence[Proposal], taxonomy: Taxonomy) -> str:
    """The diff as a person gets it."""
    parts = [_HEADER.format(count=f"{len(proposals):,} labels"), *_prefix_lines()]
    for number, proposal in enumerate(proposals, start=1):
        parts.append(
            "\n".join((*_comments(number, proposal, taxonomy), _block(_entry(proposal, taxonomy), proposal)))
        )
    return "\n".join(parts) + "\n"


def entries_to_turtle(entries: Sequence[Entry]) -> str:
    """Entries that were decided, for the record."""
    return "\n".join((*_prefix_lines(), *(_block(entry) for entry in entries))) + "\n"


def _prefix_lines() -> Iterator[str]:
    yield from (f"@prefix {name}: <{iri}> ." for name, iri in PREFIXES.items())
    yield ""


def _comments(number: int, proposal: Proposal, taxonomy: Taxonomy) -> Iterator[str]:
    owner = taxonomy.by_id.get(proposal.concept_id)
    what = {
        "altLabel": f"a synonym of {owner.pref_label!r}" if owner else "a synonym",
        "hiddenLabel": f"{owner.pref_label!r}, misspelt" if owner else "a misspelling",
        "prefLabel": "a new concept"
        + (f" below {taxonomy.pref_labels[proposal.broader]!r}" if proposal.broader else ""),
    }[proposal.kind]
    yield f"# {number}. {_one_line(proposal.words)!r} as {what}: {_one_line(proposal.told)}"
    for conflict in proposal.conflicts:
        yield f"#    But: {_one_line(conflict)}."


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _entry(proposal: Proposal, taxonomy: Taxonomy) -> Entry:
    def iri(concept_id: str) -> str:
        known = taxonomy.by_id.get(concept_id)
        return iri_of(known) if known else f"{OWN}{quote(concept_id, safe='/')}"

    times = sorted(said.time for said in proposal.said)
    return Entry(
        proposal.words,
        proposal.language,
        proposal.kind,
        iri(proposal.concept_id),
        iri(proposal.broader) if proposal.broader else None,
        "undecided",
        (
            *((ATTRIBUTED, f"{PERSON}{quote(who, safe='')}") for who in proposal.people),
            *((DERIVED, f"{IMAGE}{quote(id_, safe='')}") for id_ in proposal.pictures[:_MOST_PICTURES]),
        ),
        ((FIRST_SAID, times[0].isoformat()), (GENERATED, times[-1].isoformat())),
    )


def label_iri(entry: Entry) -> str:
    return f"{LABEL}{quote(slug(entry.words) or 'unnamed', safe='')}"


def _block(entry: Entry, proposal: Proposal | None = None) -> str:
    lines = [
        f"{_node(label_iri(entry))} a xl:Label, prov:Entity",
        f"    xl:literalForm {pyoxigraph.Literal(entry.words, language=entry.language)}",
        f'    vistag:decision "{entry.decision}"',
        f"    vistag:as skos:{entry.kind}",
        f"    vistag:of {_node(entry.concept)}",
    ]
    if entry.broader:
        lines.append(f"    vistag:broader {_node(entry.broader)}")
    by_predicate: dict[str, list[str]] = {}
    for predicate, value in entry.provenance:
        by_predicate.setdefault(predicate, []).append(_node(value))
    lines += [f"    {_short(predicate)} {', '.join(values)}" for predicate, values in by_predicate.items()]
    lines += [f'    {_short(predicate)} "{time}"^^xsd:dateTime' for predicate, time in entry.times]
    if proposal:
        lines.append(f"    vistag:pictures {len(proposal.pictures)}")
    return " ;\n".join(lines) + " .\n"


def _node(iri: str) -> str:
    return str(pyoxigraph.NamedNode(iri))


def _short(predicate: str) -> str:
    return next(
        (
            f"{name}:{predicate.removeprefix(iri)}"
            for name, iri in PREFIXES.items()
            if predicate.startswith(iri)
        ),
        _node(predicate),
    )


def read_entries(path: Path) -> list[Entry]:
    """The labels of a diff. Raises TaxonomyError that names each label which cannot be used, and what to write."""
    wanted = (FORM, AS, OF, UNDER, DECISION, ATTRIBUTED, DERIVED, GENERATED, FIRST_SAID)
    said = read_statements(path, wanted)
    entries, flaws = [], []
    for node in sorted(said.subjects(DECISION)):
        try:
            entries.append(_read(node, said))
        except ValueError as error:
            flaws.append(Flaw(_line_of(path, node), f"{node}: {error}"))
    if flaws:
        raise TaxonomyError(path, flaws)
    return entries


def _read(node: str, said: Statements) -> Entry:
    forms = list(said.texts(node, FORM))
    if len(forms) != 1:
        raise ValueError(f"needs one xl:literalForm, and has {len(forms)}")
    decisions = [text for text, _ in said.texts(node, DECISION)]
    if len(decisions) != 1 or decisions[0] not in get_args(Decision):
        raise ValueError(
            f"vistag:decision is {', '.join(decisions)}: write accept, reject or undecided, once"
        )
    kinds = [_KINDS.get(iri) for iri in said.nodes(node, AS)]
    if len(kinds) != 1 or kinds[0] is None:
        raise ValueError("vistag:as is skos:altLabel, skos:hiddenLabel or skos:prefLabel, once")
    concepts = list(said.nodes(node, OF))
    if len(concepts) != 1:
        raise ValueError(f"needs one concept in vistag:of, and has {len(concepts)}")
    words, language = forms[0]
    return Entry(
        " ".join(words.split()),
        language,
        kinds[0],
        concepts[0],
        next(said.nodes(node, UNDER), None),
        decisions[0],  # type: ignore[arg-type]
        tuple((p, iri) for p in (ATTRIBUTED, DERIVED) for iri in sorted(said.nodes(node, p))),
        tuple((p, text) for p in (FIRST_SAID, GENERATED) for text, _ in said.texts(node, p)),
    )


def _line_of(path: Path, node: str) -> int:
    text = path.read_text(encoding="utf-8", errors="replace")
    return text.count("\n", 0, max(0, text.find(node))) + 1


def statements_of(entry: Entry, decided: datetime, who: str) -> Iterator[pyoxigraph.Triple]:
    """What an accepted label adds to a vocabulary: the plain label, the same as SKOS-XL, and where it comes from."""
    concept, label = pyoxigraph.NamedNode(entry.concept), pyoxigraph.NamedNode(label_iri(entry))
    words = pyoxigraph.Literal(entry.words, language=entry.language)
    yield pyoxigraph.Triple(concept, pyoxigraph.NamedNode(f"{SKOS}{entry.kind}"), words)
    yield pyoxigraph.Triple(concept, pyoxigraph.NamedNode(f"{SKOSXL}{entry.kind}"), label)
    yield pyoxigraph.Triple(label, pyoxigraph.NamedNode(FORM), words)
    for predicate, iri in entry.provenance:
        yield pyoxigraph.Triple(label, pyoxigraph.NamedNode(predicate), pyoxigraph.NamedNode(iri))
    accepted = f"{PERSON}{quote(who, safe='')}"
    yield pyoxigraph.Triple(label, pyoxigraph.NamedNode(f"{TERMS}acceptedBy"), pyoxigraph.NamedNode(accepted))
    times: Mapping[str, str] = {**dict(entry.times), f"{TERMS}accepted": decided.isoformat()}
    kind = pyoxigraph.NamedNode(f"{PREFIXES['xsd']}dateTime")
    for predicate, time in times.items():
        literal = pyoxigraph.Literal(time, datatype=kind)
        yield pyoxigraph.Triple(label, pyoxigraph.NamedNode(predicate), literal)
