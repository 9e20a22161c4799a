"""A vocabulary read from SKOS, in any syntax of RDF. The last part of an IRI is the id, or more of it where two
concepts would share it.

A facet is a ``skos:Collection`` whose last IRI part is the facet's name, and whose ``skos:member`` values are
its concepts: plain SKOS, so that other tools show the facets too. Read besides are SKOS-XL labels, what ISO 25964 and
Getty's ontology call broader, and what is deprecated; whatever else a thesaurus says is passed over.
"""

import io
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from taxonomy.concept import Concept, Translation
from taxonomy.drafts import Draft, Reading
from taxonomy.languages import Shown, best_text, by_language, choose
from taxonomy.problems import Flaw, Spelling, read_bytes, slug, unique
from taxonomy.rdf import Statements, read_statements, syntax_of

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
RDFS = "http://www.w3.org/2000/01/rdf-schema#"
OWL = "http://www.w3.org/2002/07/owl#"
SKOS = "http://www.w3.org/2004/02/skos/core#"
SKOSXL = "http://www.w3.org/2008/05/skos-xl#"
DCT = "http://purl.org/dc/terms/"
ISO = "http://purl.org/iso25964/skos-thes#"
GVP = "http://vocab.getty.edu/ontology#"
EUVOC = "http://publications.europa.eu/ontology/euvoc#"

TYPE, SUBCLASS, LABEL = f"{RDF}type", f"{RDFS}subClassOf", f"{RDFS}label"
FIRST, REST = f"{RDF}first", f"{RDF}rest"
CONCEPT, SCHEME = f"{SKOS}Concept", f"{SKOS}ConceptScheme"
GROUPS = (f"{SKOS}Collection", f"{SKOS}OrderedCollection", f"{ISO}ConceptGroup", f"{ISO}ThesaurusArray")
PREF, ALT, HIDDEN = f"{SKOS}prefLabel", f"{SKOS}altLabel", f"{SKOS}hiddenLabel"
XL_PREF, XL_ALT, XL_HIDDEN = f"{SKOSXL}prefLabel", f"{SKOSXL}altLabel", f"{SKOSXL}hiddenLabel"
XL_FORM = (f"{SKOSXL}literalForm", f"{GVP}term")
DEFINITION, NOTATION = f"{SKOS}definition", f"{SKOS}notation"
IN_SCHEME, TOP_OF, HAS_TOP = f"{SKOS}inScheme", f"{SKOS}topConceptOf", f"{SKOS}hasTopConcept"
_KINDS_OF_BROADER = ("", "Generic", "Partitive", "Instantial")
BROADER = (
    f"{SKOS}broader", *(f"{ISO}broader{kind}" for kind in _KINDS_OF_BROADER[1:]),
    *(f"{GVP}broader{kind}" for kind in (*_KINDS_OF_BROADER, "Preferred")),
)  # fmt: skip
NARROWER = (f"{SKOS}narrower", *(f"{ISO}narrower{kind}" for kind in _KINDS_OF_BROADER[1:]))
MEMBER, MEMBER_LIST, SUBGROUP = f"{SKOS}member", f"{SKOS}memberList", f"{ISO}subGroup"
EXACT, CLOSE = f"{SKOS}exactMatch", f"{SKOS}closeMatch"
DEPRECATED, STATUS, REPLACED_BY = f"{OWL}deprecated", f"{EUVOC}status", f"{DCT}isReplacedBy"
_OBSOLETE = (f"{GVP}ObsoleteSubject", f"{OWL}DeprecatedClass")

PREDICATES = (
    TYPE, SUBCLASS, LABEL, FIRST, REST, PREF, ALT, HIDDEN, XL_PREF, XL_ALT, XL_HIDDEN, *XL_FORM, DEFINITION, NOTATION, IN_SCHEME,
    TOP_OF, HAS_TOP, *BROADER, *NARROWER, MEMBER, MEMBER_LIST, SUBGROUP, EXACT, CLOSE, DEPRECATED, STATUS, REPLACED_BY,
    f"{RDF}value",
)  # fmt: skip
OWN = "urn:x-vistag:concept/"
"""Before an id (in percent-encoding), the IRI that `skos_writer` gives to a concept that has none."""
MOST_COLLECTION_FACETS = 30
"""Collections that may be facets by their own names; a thesaurus with more has them for another purpose."""

_SEPARATORS = re.compile(r"[#/:]")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_ABOUT = re.compile(rb"""\brdf:(?:about|ID)\s{0,9}=\s{0,9}(?:"([^"]{0,2000})"|'([^']{0,2000})')""")
_JSON_ID = re.compile(rb'"@?id"\s{0,9}:\s{0,9}"([^"]{0,2000})"')


def read_skos(path: Path, facets: Collection[str], languages: Sequence[str]) -> Reading:
    """The concepts of a file. Raises TaxonomyError when it cannot be parsed."""
    return _Reader(read_statements(path, PREDICATES), _first_lines(path), facets, languages).read()


class _Reader:
    def __init__(
        self, said: Statements, lines: Mapping[str, int], facets: Collection[str], languages: Sequence[str]
    ) -> None:
        self._said, self._lines, self._facets, self._languages = said, lines, facets, languages
        self._collections = _of_types(said, GROUPS) | {node for node, _ in said.pairs(MEMBER, MEMBER_LIST)}
        concepts = self._concepts()
        labelled = {node: self._labels(node) for node in concepts}
        named = [node for node in concepts if not node.startswith("_:")]
        self._ids = {
            node: unquote(node.removeprefix(OWN)) if node.startswith(OWN) else id_
            for node, id_ in zip(named, short_ids(named), strict=True)
        }
        self._unnamed = [node for node in concepts if node.startswith("_:")]
        for node in self._unnamed:
            label = next((text for texts in labelled[node] for found in texts.values() for text in found), "")
            self._ids[node] = unique(slug(label) or "unnamed", set(self._ids.values()))
        self._labelled = labelled
        self._groups_of = self._memberships()
        self._parents: dict[str, set[str]] = defaultdict(set)
        for subject, parent in said.links(*BROADER):
            self._parents[subject].add(parent)
        for parent, subject in said.links(*NARROWER):
            self._parents[subject].add(parent)

    def read(self) -> Reading:
        drafts, flaws = list[Draft](), list[Flaw]()
        for node, id_ in self._ids.items():
            shown = choose(*self._labelled[node], self._languages)
            draft = self._draft(node, id_, shown)
            drafts.append(draft)
            flaws += [Flaw(draft.line, f'"{id_}" {text}', kind) for text, kind in self._problems(node, shown)]
        for node in self._unnamed:
            labels = sorted(text for found in self._labelled[node][0].values() for text in found)
            named = f"prefLabel {', '.join(labels)}" if labels else "it has no prefLabel either"
            flaws.append(Flaw(1, f"a concept has no IRI: {named}", "iri"))
        flaws += self._dangling()
        drafts.sort(key=lambda draft: (draft.line, draft.concept.id))
        return Reading(self._with_collections_as_facets(drafts), flaws, self._names_of_groups())

    def _concepts(self) -> list[str]:
        """What is of the type skos:Concept or of one below it; and what has a label and stands in a scheme or in the
        hierarchy. Sorted.
        """
        said = self._said
        classes = {CONCEPT, *(subject for subject, above in said.pairs(SUBCLASS) if above == CONCEPT)}
        typed = _of_types(said, classes)
        placed = said.subjects(IN_SCHEME, TOP_OF, *BROADER, *NARROWER)
        labelled = said.subjects(PREF, XL_PREF) if typed else placed
        others = self._collections | _of_types(said, (SCHEME,))
        self._untyped = (placed & labelled) - typed - others
        return sorted((typed | self._untyped) - others)

    def _labels(self, node: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """Preferred and alternative labels by language; rdfs:label where there is neither."""
        pref = by_language([*self._said.texts(node, PREF), *self._xl(node, XL_PREF)])
        alt = by_language([*self._said.texts(node, ALT), *self._xl(node, XL_ALT)])
        return (pref, alt) if pref or alt else (by_language(self._said.texts(node, LABEL)), {})

    def _hidden(self, node: str) -> tuple[str, ...]:
        found = by_language([*self._said.texts(node, HIDDEN), *self._xl(node, XL_HIDDEN)])
        return tuple({text for texts in found.values() for text in texts})

    def _xl(self, node: str, predicate: str) -> Iterator[tuple[str, str]]:
        for label in self._said.nodes(node, predicate):
            yield from self._said.texts(label, *XL_FORM)

    def _draft(self, node: str, id_: str, shown: Shown | None) -> Draft:
        said = self._said
        pref, alt = self._labelled[node]
        groups = self._groups_of.get(node, ())
        own = [_local_name(group) for group in groups]
        concept = Concept(
            id=id_,
            pref_label=shown.pref_label if shown else "",
            alt_labels=_other_labels(shown.pref_label, shown.alt_labels) if shown else (),
            facet=next((name for name in sorted(own) if name in self._facets), ""),
            broader=tuple({self._id(parent) for parent in self._parents.get(node, ())}),
            definition=best_text(by_language(self._definitions(node)), self._languages),
            language=shown.language if shown else "",
            translations=_translations(pref, alt, shown.tags if shown else frozenset()),
            iri="" if node.startswith(("_:", OWN)) else node,
            notation=min((text for text, _ in said.texts(node, NOTATION)), default=""),
            exact_match=tuple(said.nodes(node, EXACT)),
            close_match=tuple(said.nodes(node, CLOSE)),
            hidden_labels=self._hidden(node),
        )
        return Draft(
            concept,
            self._lines.get(_local_name(node), 1),
            groups,
            self._is_deprecated(node),
            tuple(self._id(other) for other in sorted(set(said.nodes(node, REPLACED_BY)))),
        )

    def _definitions(self, node: str) -> Iterator[tuple[str, str]]:
        yield from self._said.texts(node, DEFINITION)
        for note in self._said.nodes(node, DEFINITION):  # Getty's are nodes of their own
            yield from self._said.texts(note, f"{RDF}value")

    def _id(self, node: str) -> str:
        return self._ids.get(node) or _local_name(node)

    def _is_deprecated(self, node: str) -> bool:
        said = self._said
        return (
            any(text.lower() in ("true", "1") for text, _ in said.texts(node, DEPRECATED))
            or not set(_OBSOLETE).isdisjoint(said.nodes(node, TYPE))
            or any(status.endswith("/DEPRECATED") for status in said.nodes(node, STATUS))
        )

    def _problems(self, node: str, shown: Shown | None) -> Iterator[tuple[str, str]]:
        pref, _ = self._labelled[node]
        for tag in sorted(pref):
            if shown and tag in shown.tags and len(pref[tag]) > 1:
                same = ", ".join(f'"{label}"' for label in pref[tag])
                yield f"has {len(pref[tag])} prefLabels in one language: {same}", "two-labels"
        if shown and not pref:
            yield f'has no prefLabel; shown by its altLabel "{shown.pref_label}"', "no-pref"
        elif shown and not shown.asked_for:
            tags = ", ".join(sorted(pref))
            yield f"has prefLabels in {tags} only; add one tagged @{self._languages[0]}", "language"
        if node in self._untyped:
            yield "is not called a skos:Concept", "untyped"
        for text, _ in self._said.texts(node, *BROADER, *NARROWER):
            yield f'has the broader "{text}", which is no IRI', "broader"
        if len(found := self._named_as_facets(node)) > 1:
            yield f"is a member of {len(found)} facets: {', '.join(found)}; keep one", "facets"

    def _named_as_facets(self, node: str) -> list[str]:
        names = {_local_name(group) for group in self._groups_of.get(node, ())}
        return sorted(names & set(self._facets))

    def _dangling(self) -> Iterator[Flaw]:
        """Links of skos:narrower that lead nowhere; those of broader are the checks' own business."""
        spelling: Spelling | None = None
        for parent, child in sorted(self._said.links(*NARROWER)):
            if child not in self._ids and parent in self._ids:
                spelling = spelling or Spelling(self._ids.values())
                name = _local_name(child)
                text = f'"{self._ids[parent]}" has the unknown narrower "{name}"{spelling.hint(name)}'
                yield Flaw(self._lines.get(_local_name(parent), 1), text, "broader")

    def _memberships(self) -> dict[str, tuple[str, ...]]:
        """Concept -> its collections and those around them, the nearest first, then its schemes."""
        said = self._said
        around: dict[str, set[str]] = defaultdict(set)
        for group, member in said.links(MEMBER, SUBGROUP):
            around[member].add(group)
        for group, head in said.pairs(MEMBER_LIST):
            for member in self._list(head):
                around[member].add(group)
        schemes: dict[str, set[str]] = defaultdict(set)
        for node, scheme in said.links(IN_SCHEME, TOP_OF):
            schemes[node].add(scheme)
        for scheme, node in said.links(HAS_TOP):
            schemes[node].add(scheme)
        return {node: (*_climbed(node, around), *sorted(schemes.get(node, ()))) for node in self._ids}

    def _list(self, head: object) -> Iterator[str]:
        seen = set[str]()
        while isinstance(head, str) and head not in seen:
            seen.add(head)
            yield from self._said.nodes(head, FIRST)
            head = next(self._said.nodes(head, REST), None)

    def _names_of_groups(self) -> dict[str, tuple[str, ...]]:
        used = {group for groups in self._groups_of.values() for group in groups}
        return {group: tuple(dict.fromkeys(self._names_of_group(group))) for group in sorted(used)}

    def _names_of_group(self, group: str) -> Iterator[str]:
        yield group
        yield _local_name(group)
        texts = [*self._said.texts(group, PREF, LABEL), *self._xl(group, XL_PREF)]
        yield best_text(by_language(texts), self._languages) or _local_name(group)
        yield from sorted({text for text, _ in (*texts, *self._said.texts(group, NOTATION))})

    def _with_collections_as_facets(self, drafts: list[Draft]) -> list[Draft]:
        """Where each concept is in one collection at most, and these have words for names, they are the facets."""
        direct = [
            [] if draft.concept.facet else [group for group in draft.groups if group in self._collections]
            for draft in drafts
        ]
        names = {_local_name(group) for groups in direct for group in groups}
        few = len(names) <= MOST_COLLECTION_FACETS and all(_WORD.fullmatch(name) for name in names)
        if not few or any(len(groups) > 1 for groups in direct):
            return drafts
        return [
            draft.in_facet(_local_name(groups[0])) if groups else draft
            for draft, groups in zip(drafts, direct, strict=True)
        ]


def _other_labels(pref_label: str, labels: Iterable[str]) -> tuple[str, ...]:
    return tuple({label for label in labels if label != pref_label})


def _translations(
    pref: Mapping[str, Sequence[str]], alt: Mapping[str, Sequence[str]], shown: Collection[str]
) -> tuple[Translation, ...]:
    return tuple(
        Translation(
            tag,
            pref[tag][0] if tag in pref else "",
            tuple({*pref.get(tag, ())[1:], *alt.get(tag, ())}),
        )
        for tag in {*pref, *alt} - set(shown)
    )


def _of_types(said: Statements, types: Collection[str]) -> set[str]:
    return {subject for subject, type_ in said.pairs(TYPE) if type_ in types}


def _climbed(node: str, around: Mapping[str, set[str]]) -> list[str]:
    """The groups around a node, step by step."""
    found: dict[str, None] = {}
    here = sorted(around.get(node, ()))
    while here:
        found |= dict.fromkeys(here)
        here = sorted({group for inner in here for group in around.get(inner, ())} - found.keys())
    return list(found)


def short_ids(iris: Sequence[str]) -> list[str]:
    """An id an IRI: its last part; where several would share that, as many parts before it as tell them apart."""
    parts = [[part for part in _SEPARATORS.split(iri) if part] or [iri] for iri in iris]
    depth = [1] * len(iris)
    while True:
        ids = ["/".join(part[-many:]) for part, many in zip(parts, depth, strict=True)]
        by_id: dict[str, list[int]] = defaultdict(list)
        for place, id_ in enumerate(ids):
            by_id[id_].append(place)
        shared = [place for places in by_id.values() if len(places) > 1 for place in places]
        longer = [place for place in shared if depth[place] < len(parts[place])]
        if not longer:  # what differs by its separators alone is called by the whole of it
            for place in shared:
                ids[place] = iris[place]
            return ids
        for place in longer:
            depth[place] += 1


def _local_name(iri: str) -> str:
    return next((part for part in reversed(_SEPARATORS.split(iri)) if part), iri)


def _first_lines(path: Path) -> dict[str, int]:
    """Local name -> the line where it is indented least: its own statements, not a mention in another's.

    The first word of a line is looked at in Turtle and its kin, ids and rdf:about in JSON-LD and RDF/XML.
    """
    _, syntax = syntax_of(path)
    pattern = {"RDF/XML": _ABOUT, "JSON-LD": _JSON_ID}.get(syntax)
    places: dict[str, tuple[int, int]] = {}
    for number, line in enumerate(io.BytesIO(read_bytes(path)), start=1):
        if pattern:
            named = [(match.start(), match[match.lastindex or 0]) for match in pattern.finditer(line)]
        else:
            stripped = line.lstrip()
            named = [
                (len(line) - len(stripped), word.strip(b"<>")) for word in stripped[:2000].split(None, 1)[:1]
            ]
        for indent, name in named:
            local = _local_name(name.decode("utf-8", "replace"))
            place = (indent, number)
            places[local] = min(place, places.get(local, place))
    return {local: number for local, (_, number) in places.items()}
