"""The rules a vocabulary should keep, and how what breaks one is mended; every format goes through them.

Pure functions from drafts to drafts and flaws. A flaw of no kind forbids the use of the file; every other is mended
here and told.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from taxonomy.concept import Concept, Translation
from taxonomy.drafts import Draft
from taxonomy.problems import Flaw, Spelling

_MISSPELT = 0.8
"""Similarity (of difflib) from which an unknown facet is a known one with a typing error."""
# "|" separates labels in CSV; control characters (a line break, say) have no place in a prompt.
UNUSABLE_IN_LABEL = re.compile(r"[|\x00-\x1f\x7f\u2028\u2029]")
_UNUSABLE_IN_ID = re.compile(r"[|\s\x00-\x1f\x7f]+")


def mended(
    drafts: Sequence[Draft], facets: Collection[str]
) -> tuple[list[Draft], dict[str, str], list[Flaw]]:
    """Drafts that keep every rule, what has become of deprecated ids (old -> new), and every broken rule, by line.

    `facets` are the names of those that are described, the first of which is that of a concept that has none.
    """
    if not drafts:
        return [], {}, [Flaw(1, "there are no concepts")]
    flaws: list[Flaw] = []
    spelling = _LazySpelling(facets, _MISSPELT)
    drafts = [_fit_alone(draft, facets, spelling, flaws) for draft in drafts]
    by_id = _merged(drafts, flaws)
    by_id = _linked_by_known_ids(by_id, flaws)
    kept, replaced = _without_left_out(by_id, flaws)
    if not kept:
        left = (
            "every concept is deprecated"
            if replaced or any(d.deprecated for d in drafts)
            else "no concept has a label"
        )
        return [], replaced, [*flaws, Flaw(1, f"there are no concepts: {left}")]
    kept = _without_cycles(_in_a_facet(kept, next(iter(facets), "object"), flaws), flaws)
    flaws += _shared_labels(kept.values())
    return list(kept.values()), replaced, sorted(flaws)


def same_label_key(label: str) -> str:
    """Labels with the same key count as the same label: NFKC, case folded."""
    return unicodedata.normalize("NFKC", label).casefold()


class _LazySpelling:
    """`Spelling`, made when it is first asked: most files have nothing misspelt."""

    def __init__(self, known: Iterable[str], cutoff: float = 0.6) -> None:
        self._known, self._cutoff, self._made = known, cutoff, None

    _made: Spelling | None

    def hint(self, word: str) -> str:
        self._made = self._made or Spelling(self._known)
        return self._made.hint(word, self._cutoff)


def _fit_alone(draft: Draft, facets: Collection[str], spelling: _LazySpelling, flaws: list[Flaw]) -> Draft:
    """The draft without what is wrong with it whatever else the vocabulary holds."""
    concept, line = draft.concept, draft.line

    def tell(kind: str, text: str) -> None:
        flaws.append(Flaw(line, text, kind))

    id_ = _UNUSABLE_IN_ID.sub("-", concept.id).strip("-") or "unnamed"
    if id_ != concept.id:
        tell("id-text", f'bad id "{concept.id}": an id holds no space and no "|"; read as {id_}')
    if not all(concept.alt_labels):
        tell("repeated-label", f'"{id_}" has an empty altLabel')
    for label in concept.labels:
        if UNUSABLE_IN_LABEL.search(label):
            tell("label", f'"{id_}": a label cannot hold "|", a tab or a line break: {label!r}')
        elif label and not any(map(str.isalnum, label)):
            tell("wordless", f'"{id_}": no model reads anything in the label {label!r}')
    pref_label = _fit_label(concept.pref_label)
    alt_labels = _once(pref_label, map(_fit_label, concept.alt_labels))
    if len(alt_labels) < sum(map(bool, concept.alt_labels)):
        for label in _repeated(concept.labels):
            tell("repeated-label", f'altLabel "{label}" of "{id_}" repeats another of its labels')
    if concept.facet and concept.facet not in facets and (hint := spelling.hint(concept.facet)):
        tell("facet", f'"{id_}": unknown facet "{concept.facet}"{hint}')
    return draft.having(
        id=id_,
        pref_label=pref_label,
        alt_labels=alt_labels,
        hidden_labels=tuple(filter(None, map(_fit_label, concept.hidden_labels))),
        translations=tuple(filter(None, map(_fit_translation, concept.translations))),
    )


def _fit_label(label: str) -> str:
    return " ".join(
        UNUSABLE_IN_LABEL.sub(lambda found: "/" if found[0] == "|" else " ", label).split(" ")
    ).strip()


def _fit_translation(translation: Translation) -> Translation | None:
    pref_label = _fit_label(translation.pref_label)
    alt_labels = _once(pref_label, map(_fit_label, translation.alt_labels))
    return Translation(translation.language, pref_label, alt_labels) if pref_label or alt_labels else None


def _once(pref_label: str, alt_labels: Iterable[str]) -> tuple[str, ...]:
    """The labels that are there, each once whatever its case, without the preferred one."""
    found: dict[str, str] = {}
    for label in sorted(filter(None, alt_labels)):
        found.setdefault(same_label_key(label), label)
    found.pop(same_label_key(pref_label), None)
    return tuple(found.values())


def _repeated(labels: Sequence[str]) -> Iterator[str]:
    seen = set[str]()
    for label in filter(None, labels):
        if same_label_key(label) in seen:
            yield label
        seen.add(same_label_key(label))


def _merged(drafts: Sequence[Draft], flaws: list[Flaw]) -> dict[str, Draft]:
    """By id; what is written in several places is one concept with the labels and broader concepts of all."""
    by_id: dict[str, Draft] = {}
    for draft in drafts:
        first = by_id.setdefault(draft.concept.id, draft)
        if first is not draft:
            text = f'id "{draft.concept.id}" is already used at line {first.line}'
            flaws.append(Flaw(draft.line, text, "id"))
            by_id[draft.concept.id] = _both(first, draft)
    return by_id


def _both(first: Draft, other: Draft) -> Draft:
    one, two = first.concept, other.concept
    pref_label = one.pref_label or two.pref_label
    return replace(
        first.having(
            pref_label=pref_label,
            alt_labels=_once(pref_label, (*one.alt_labels, *filter(None, two.labels))),
            broader=(*one.broader, *two.broader),
            definition=one.definition or two.definition,
            translations=tuple({*one.translations, *two.translations}),
            iri=one.iri or two.iri,
            notation=one.notation or two.notation,
            exact_match=(*one.exact_match, *two.exact_match),
            close_match=(*one.close_match, *two.close_match),
            hidden_labels=(*one.hidden_labels, *two.hidden_labels),
        ),
        groups=tuple(dict.fromkeys((*first.groups, *other.groups))),
        deprecated=first.deprecated and other.deprecated,
    )


def _linked_by_known_ids(by_id: Mapping[str, Draft], flaws: list[Flaw]) -> dict[str, Draft]:
    """Drafts whose broader concepts are all there; a label in place of an id is followed to its one concept."""
    owners: dict[str, list[str]] | None = None
    spelling = _LazySpelling(by_id)
    linked: dict[str, Draft] = {}
    for id_, draft in by_id.items():
        known = [parent for parent in draft.concept.broader if parent in by_id]
        if len(known) == len(draft.concept.broader):
            linked[id_] = draft
            continue
        owners = _owners_of_pref_labels(by_id.values()) if owners is None else owners
        for parent in draft.concept.broader:
            named = [] if parent in by_id else owners.get(same_label_key(parent), [])
            named = [owner for owner in named if owner != id_]
            if len(named) == 1:
                known += named
            elif not parent:
                flaws.append(Flaw(draft.line, f'"{id_}" has an empty broader', "broader"))
            elif parent not in by_id:
                text = f'"{id_}" has the unknown broader "{parent}"{spelling.hint(parent)}'
                flaws.append(Flaw(draft.line, text, "broader"))
        linked[id_] = draft.having(broader=tuple(known))
    return linked


def _owners_of_pref_labels(drafts: Iterable[Draft]) -> dict[str, list[str]]:
    owners: dict[str, list[str]] = {}
    for draft in drafts:
        owners.setdefault(same_label_key(draft.concept.pref_label), []).append(draft.concept.id)
    return owners


def _without_left_out(
    by_id: Mapping[str, Draft], flaws: list[Flaw]
) -> tuple[dict[str, Draft], dict[str, str]]:
    """Drafts without deprecated and unlabelled concepts. Links to these lead to what replaces them, or to what is
    broader than they.
    """
    kept = {id_: d for id_, d in by_id.items() if d.concept.pref_label and not d.deprecated}
    replaced: dict[str, str] = {}
    for id_, draft in by_id.items():
        if id_ in kept:
            continue
        follow = sorted(_followed(id_, by_id, kept, lambda d: d.replaced_by))
        if draft.deprecated:
            instead = f"; replaced by {', '.join(follow)}" if follow else ""
            flaws.append(Flaw(draft.line, f'"{id_}" is deprecated{instead}', "deprecated"))
        else:
            flaws.append(Flaw(draft.line, f'"{id_}" has no prefLabel', "no-label"))
        if follow:
            replaced[id_] = follow[0]
    if len(kept) == len(by_id):
        return kept, replaced
    found: dict[str, Draft] = {}
    for id_, draft in kept.items():
        if all(parent in kept for parent in draft.concept.broader):
            found[id_] = draft
            continue
        parents = set[str]()
        for parent in draft.concept.broader:
            if parent in replaced:
                parents.add(replaced[parent])
            else:
                parents |= (
                    {parent}
                    if parent in kept
                    else _followed(parent, by_id, kept, lambda d: d.concept.broader)
                )
        found[id_] = draft.having(broader=tuple(parents - {id_}))
    return found, replaced


def _followed(
    start: str, by_id: Mapping[str, Draft], kept: Collection[str], links: Callable[[Draft], Iterable[str]]
) -> set[str]:
    """The first kept concepts on each way from a concept along links."""
    found, seen, waiting = set[str](), {start}, [start]
    while waiting:
        draft = by_id.get(waiting.pop())
        for other in links(draft) if draft else ():
            if other in kept:
                found.add(other)
            elif other not in seen:
                seen.add(other)
                waiting.append(other)
    return found


def _in_a_facet(by_id: Mapping[str, Draft], default: str, flaws: list[Flaw]) -> dict[str, Draft]:
    found = dict(by_id)
    for id_, draft in by_id.items():
        if not draft.concept.facet:
            flaws.append(Flaw(draft.line, f'"{id_}" has no facet: put under "{default}"', "no-facet"))
            found[id_] = draft.in_facet(default)
    return found


def _without_cycles(by_id: Mapping[str, Draft], flaws: list[Flaw]) -> dict[str, Draft]:
    """Drafts without the links that close a circle; each circle is named once, in full, from its smallest id."""
    cut: dict[str, set[str]] = {}
    for cycle in _cycles({id_: draft.concept.broader for id_, draft in by_id.items()}):
        cut.setdefault(cycle[-1], set()).add(cycle[0])
        start = cycle.index(min(cycle))
        named = [*cycle[start:], *cycle[:start], cycle[start]]
        text = f"cycle: {' -> '.join(named)} (each has the next as its broader)"
        flaws.append(Flaw(by_id[named[0]].line, text, "cycle"))
    return {
        id_: draft.having(broader=tuple(set(draft.concept.broader) - cut[id_])) if id_ in cut else draft
        for id_, draft in by_id.items()
    }


def _cycles(broader: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """Each circle that a walk meets, from narrower to broader; its last has its first as broader. Time is linear in
    links: the link that closes a circle is not walked again.
    """
    done = set[str]()
    for root in sorted(broader):
        if root in done:
            continue
        path, place = [root], {root: 0}
        ways = [iter(broader[root])]
        while ways:
            parent = next(ways[-1], None)
            if parent is None:
                ways.pop()
                done.add(path[-1])
                del place[path.pop()]
            elif parent in place:
                yield path[place[parent] :]
            elif parent not in done:
                place[parent] = len(path)
                path.append(parent)
                ways.append(iter(broader[parent]))


def _shared_labels(drafts: Iterable[Draft]) -> Iterator[Flaw]:
    """Within a facet a label, in any letter case, should name one concept."""
    owners: dict[tuple[str, str], tuple[Draft, int]] = {}
    for draft in sorted(drafts, key=lambda draft: draft.line):
        concept = draft.concept
        for position, label in enumerate(concept.labels):
            owner, owner_position = owners.setdefault(
                (concept.facet, same_label_key(label)), (draft, position)
            )
            if owner is not draft:
                clash = f'{_label_kind(position)} "{label}" of "{concept.id}"'
                other = f'{_label_kind(owner_position)} of "{owner.concept.id}" (line {owner.line})'
                text = f"{clash} is already the {other} in facet {concept.facet}"
                yield Flaw(draft.line, text, "homograph")


def _label_kind(position: int) -> str:
    return "altLabel" if position else "prefLabel"


def concepts_of(drafts: Iterable[Draft]) -> tuple[Concept, ...]:
    return tuple(draft.concept for draft in drafts)
