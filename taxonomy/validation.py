"""The rules a vocabulary must keep. Pure functions from drafts to flaws; every format goes through them."""

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from taxonomy.concept import Concept
from taxonomy.problems import Flaw, did_you_mean

ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_MISSPELT = 0.8
"""Similarity (of difflib) from which an unknown facet is a known one with a typing error."""
# "|" separates labels in CSV; control characters (a line break, say) have no place in a prompt.
UNUSABLE_IN_LABEL = re.compile(r"[|\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Draft:
    """A concept as written, not yet checked, with the line it starts at. An absent value is empty."""

    concept: Concept
    line: int


def validate(drafts: Sequence[Draft], facets: Collection[str]) -> list[Flaw]:
    """Every broken rule, sorted by line. ``facets`` are the names of those that are described."""
    if not drafts:
        return [Flaw(1, "there are no concepts")]
    first: dict[str, Draft] = {}
    flaws: list[Flaw] = []
    for draft in drafts:
        concept = draft.concept
        original = first.setdefault(concept.id, draft)
        if concept.id and original is not draft:
            flaws.append(Flaw(draft.line, f'id "{concept.id}" is already used at line {original.line}'))
        flaws += [Flaw(draft.line, text) for text in _broken_alone(concept, facets)]
    unique = [draft for draft in first.values() if draft.concept.id]
    flaws += [*_unknown_parents(unique, first), *_label_clashes(unique), *_cycles(first)]
    return sorted(flaws)


def _broken_alone(concept: Concept, facets: Collection[str]) -> Iterator[str]:
    """What is wrong with a concept whatever else the vocabulary holds."""
    name = f'"{concept.id}"'
    if not ID.fullmatch(concept.id):
        yield f"bad id {name}: use lower-case letters, digits and single hyphens, as in oil-lamp"
    if not concept.pref_label:
        yield f"{name} has no prefLabel"
    if not all(concept.alt_labels):
        yield f"{name} has an empty altLabel"
    for label in concept.labels:
        if UNUSABLE_IN_LABEL.search(label):
            yield f'{name}: a label cannot hold "|", a tab or a line break: {label!r}'
    if concept.facet not in facets and (hint := did_you_mean(concept.facet, facets, _MISSPELT)):
        yield f'{name}: unknown facet "{concept.facet}"{hint}'


def _unknown_parents(drafts: Sequence[Draft], known: Mapping[str, Draft]) -> Iterator[Flaw]:
    for draft in drafts:
        for parent in draft.concept.broader:
            if not parent:
                yield Flaw(draft.line, f'"{draft.concept.id}" has an empty broader')
            elif parent not in known:
                hint = did_you_mean(parent, known)
                yield Flaw(draft.line, f'"{draft.concept.id}" has the unknown broader "{parent}"{hint}')


def _label_clashes(drafts: Sequence[Draft]) -> Iterator[Flaw]:
    """Within a facet a label, in any letter case, names one concept, and names it once."""
    owners: dict[tuple[str, str], tuple[Draft, int]] = {}
    for draft in drafts:
        concept = draft.concept
        for position, label in enumerate(concept.labels):
            here = (draft, position)
            owner, owner_position = owners.setdefault((concept.facet, same_label_key(label)), here)
            if not label or (owner, owner_position) == here:
                continue
            clash = f'{_label_kind(position)} "{label}" of "{concept.id}"'
            if owner is draft:
                yield Flaw(draft.line, f"{clash} repeats another of its labels")
            else:
                other = f'{_label_kind(owner_position)} of "{owner.concept.id}" (line {owner.line})'
                yield Flaw(draft.line, f"{clash} is already the {other} in facet {concept.facet}")


def _label_kind(position: int) -> str:
    return "altLabel" if position else "prefLabel"


def same_label_key(label: str) -> str:
    """Labels with the same key count as the same label: NFKC, case folded."""
    return unicodedata.normalize("NFKC", label).casefold()


def _cycles(drafts: Mapping[str, Draft]) -> Iterator[Flaw]:
    """Each cycle of ``broader`` once, named in full from its smallest id."""
    broader = {id_: list(draft.concept.broader) for id_, draft in drafts.items()}
    while cycle := _find_cycle(broader):
        # One link out breaks this cycle and leaves those that share its other links to be found.
        broader[cycle[0]].remove(cycle[1])
        start = cycle.index(min(cycle))
        named = [*cycle[start:-1], *cycle[:start], cycle[start]]
        yield Flaw(drafts[named[0]].line, f"cycle: {' -> '.join(named)} (each has the next as its broader)")


def _find_cycle(broader: Mapping[str, Collection[str]]) -> list[str]:
    """Ids of one cycle from narrower to broader, its first id again at the end; empty when there is none."""
    try:
        TopologicalSorter(broader).prepare()
    except CycleError as error:
        narrower_first: list[str] = error.args[1][::-1]
        return narrower_first
    return []
