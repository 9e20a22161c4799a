"""What keywords that people gave to pictures mean in a vocabulary: by id, IRI, notation, or a label in any language.

Of concepts that are written alike, a keyword's path says which is meant: `birds|crane` is no machine. Where nothing says
it, or what stands above it says otherwise, the keyword means nothing here: a wrong truth is worse than none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from taxonomy.concept import Concept
from taxonomy.model import Taxonomy

Path = Sequence[str]
"""A keyword below those that it belongs to, the broadest first."""
SEPARATOR = "|"


@dataclass(frozen=True, slots=True)
class Meant:
    """What the keywords of one picture mean."""

    concepts: frozenset[str]
    """ids; a broader one is not named beside a narrower one"""
    unknown: tuple[str, ...]
    """keywords that are no label of the vocabulary; a path is joined by `|`"""
    ambiguous: tuple[tuple[str, tuple[str, ...]], ...]
    """keywords that are labels of several concepts, or of one that does not lie where their path says; with the ids"""


class Keywords:
    """The vocabulary as a dictionary of keywords. Made in time linear in its labels."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self._taxonomy = taxonomy
        self._codes: dict[str, str] = {}
        for concept in taxonomy.concepts:
            for code in (concept.iri, concept.notation, *concept.exact_match):
                if code:
                    self._codes.setdefault(code, concept.id)

    def concept_of(self, name: str) -> str | None:
        """The concept of that id, IRI, notation, exact match elsewhere or label; of several who bear it the first."""
        return next(iter(self.concepts_of(name)), None)

    def concepts_of(self, name: str) -> tuple[str, ...]:
        """All concepts that a name may mean."""
        if name in self._taxonomy.by_id:
            return (name,)
        if name in self._codes:
            return (self._codes[name],)
        return self._taxonomy.labels.concepts_of(name)

    def meant(self, keywords: Iterable[str], paths: Iterable[Path] = ()) -> Meant:
        """What the keywords of a picture mean, flat ones and those with a path."""
        paths = [tuple(path) for path in paths if path]
        in_paths = {name.casefold() for path in paths for name in path}
        # a flat keyword that a path has too says no more than the path
        every = [*paths, *((keyword,) for keyword in keywords if keyword.casefold() not in in_paths)]
        concepts: set[str] = set()
        unknown: dict[str, None] = {}
        ambiguous: dict[str, tuple[str, ...]] = {}
        for path in every:
            if not self.concepts_of(path[-1]):
                unknown[SEPARATOR.join(path)] = None
            end = next((end for end in range(len(path), 0, -1) if self.concepts_of(path[end - 1])), 0)
            if not end:
                continue
            fitting = self._fitting(path[:end])
            if len(fitting) == 1:
                concepts.update(fitting)
            else:
                ambiguous[SEPARATOR.join(path[:end])] = fitting or self.concepts_of(path[end - 1])
        broader = {above for id_ in concepts for above in self._taxonomy.ancestors(id_)}
        return Meant(frozenset(concepts - broader), tuple(unknown), tuple(ambiguous.items()))

    def _fitting(self, path: Path) -> tuple[str, ...]:
        """Of the concepts that the last name may mean, those below what the names before it mean; all where these mean
        nothing."""
        *above, name = path
        found = self.concepts_of(name)
        known = [ids for ids in map(self.concepts_of, above) if ids]
        if not known:
            return found
        return tuple(
            id_
            for id_ in found
            if any(not {id_, *self._taxonomy.ancestors(id_)}.isdisjoint(ids) for ids in known)
        )


def every_label(concept: Concept) -> tuple[str, ...]:
    """In every language."""
    return (*concept.labels, *(label for spoken in concept.translations for label in spoken.labels))
