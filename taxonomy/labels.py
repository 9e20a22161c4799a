"""The labels of a vocabulary, found in texts: the one place that says which concepts a text names.

A label is found as whole words, whatever the case, hyphens (oil-lamp), possessive (a bowl's rim) and number of the
text. Of labels that overlap the longest of the leftmost counts: "oil lamp" names no lamp besides. Where readings
conflict, what a cataloguer would say decides:

- A label as it stands comes before a plural of another, and that before a singular: "glasses" is a label of
  spectacles and no plural of glass, "a table of wood" is no forest though "woods" is a label of it.
- Plurals are made from the labels, not undone in the text: "pines" names no pin.
- The noun that carries the number may stand before a preposition: chests of drawers.
- A label reaches over no punctuation that it has not itself: "on wood, frame" names no wood frame.
- A label in parentheses is named without them too, "cranes (birds)" by cranes, where no other label reads so.
- Labels in other languages than those shown and English are found as they stand, where no other label reads so.
- Hidden labels (misspellings) are found as they stand, where nothing else reads so.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from taxonomy.concept import Concept
from taxonomy.homographs import parted

Key = tuple[str, ...]
"""The words of a label or a part of a text, and the punctuation between them."""

# words, and the signs that part clauses; hyphens, underscores and lone apostrophes do neither
_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|[^\w\s'’\-‐‑]|\n")
_ARTICLES = frozenset({"a", "an", "the"})
_PREPOSITIONS = frozenset({"at", "for", "from", "in", "of", "on", "to", "under", "with"})
_IRREGULAR = {
    "child": "children", "foot": "feet", "goose": "geese", "leaf": "leaves", "mouse": "mice", "ox": "oxen", "tooth": "teeth",
}  # fmt: skip
_IRREGULAR_SINGULAR = {plural: singular for singular, plural in _IRREGULAR.items()}


@dataclass(frozen=True, slots=True)
class Named:
    """A label that a text names, as the text writes it in lower case, and the ids of all concepts that bear it."""

    phrase: str
    concept_ids: tuple[str, ...]


class Labels:
    """The labels of some concepts. Made in time linear in the labels; matching is linear in the text."""

    def __init__(self, concepts: Iterable[Concept]) -> None:
        concepts = tuple(concepts)
        exact, plural, singular, bare, foreign, hidden = (dict[Key, dict[str, None]]() for _ in range(6))
        for label, concept_id in _in_order(concepts):
            for key in _keys(label):
                exact.setdefault(key, {})[concept_id] = None
                for index, forms in ((plural, _plurals), (singular, _singulars)):
                    for other in _inflected(key, forms):
                        index.setdefault(other, {})[concept_id] = None
            if parted(label)[1]:
                for key in _keys(parted(label)[0]):
                    bare.setdefault(key, {})[concept_id] = None
        for concept in concepts:
            for label in (label for each in concept.translations for label in each.labels):
                for key in _keys(label):
                    foreign.setdefault(key, {})[concept.id] = None
            for label in concept.hidden_labels:
                for key in _keys(label):
                    hidden.setdefault(key, {})[concept.id] = None
        self._owners: Mapping[Key, dict[str, None]] = hidden | foreign | bare | singular | plural | exact
        self._longest: dict[str, int] = {}
        """First word -> the most words of a label that begins with it."""
        for key in self._owners:
            self._longest[key[0]] = max(len(key), self._longest.get(key[0], 0))

    def concept_of(self, phrase: str) -> str | None:
        """The concept that the whole phrase is a label of; of several the one it is the preferred label of, by id."""
        return next(iter(self.concepts_of(phrase)), None)

    def concepts_of(self, phrase: str) -> tuple[str, ...]:
        """All concepts that the whole phrase is a label of, those who prefer it first."""
        tokens = [key for _, key in _tokens(phrase)]
        words = [token for token in tokens if token[0].isalnum()]
        for key in (tokens, words):
            while key and key[0] in _ARTICLES and tuple(key) not in self._owners:
                key = key[1:]
            if owners := self._owners.get(tuple(key)):
                return tuple(owners)
        return ()

    def named_in(self, text: str) -> list[Named]:
        """The labels in a text from left to right; those who prefer a label come first among its concepts."""
        tokens = _tokens(text)
        written, keys = [token for token, _ in tokens], [key for _, key in tokens]
        found, start = list[Named](), 0
        while start < len(keys):
            end = start + min(self._longest.get(keys[start], 0), len(keys) - start)
            while end > start and tuple(keys[start:end]) not in self._owners:
                end -= 1
            if end > start:
                owners = self._owners[tuple(keys[start:end])]
                phrase = " ".join(word for word in written[start:end] if word[0].isalnum())
                found.append(Named(phrase, tuple(owners)))
            start = max(end, start + 1)
        return found

    def concepts_in(self, *texts: str) -> frozenset[str]:
        """The ids of the concepts that any of the texts names."""
        return frozenset(id_ for text in texts for named in self.named_in(text) for id_ in named.concept_ids)


def _in_order(concepts: Iterable[Concept]) -> Iterator[tuple[str, str]]:
    """(label, concept id) of the labels shown and of those in English: the preferred ones of all concepts first."""
    labels = [(concept.id, dict.fromkeys((*concept.labels, *concept.english_labels))) for concept in concepts]
    first = {concept.id: {concept.pref_label, concept.english_labels[0]} for concept in concepts}
    for preferred in (True, False):
        for id_, own in labels:
            yield from ((label, id_) for label in own if (label in first[id_]) == preferred)


def _tokens(text: str) -> list[tuple[str, str]]:
    """Each word and sign as the text writes it, in lower case, and as it is looked up: without a possessive 's."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return [(token, token.replace("’", "'").removesuffix("'s")) for token in _TOKEN.findall(folded)]


def _keys(label: str) -> Iterable[Key]:
    """A label as it is written and without its punctuation; nothing where it has no words."""
    tokens = tuple(key for _, key in _tokens(label))
    words = tuple(token for token in tokens if token[0].isalnum())
    return dict.fromkeys((tokens, words)) if words else ()


def _inflected(key: Key, forms: Callable[[str], Iterator[str]]) -> Iterator[Key]:
    """The label with another number: of its last word, or of the one before its first preposition."""
    if sum(map(len, key)) < 2:  # "as" is no plural of "a"
        return
    before_preposition = (place for place, word in enumerate(key[1:]) if word in _PREPOSITIONS)
    for place in {len(key) - 1, next(before_preposition, len(key) - 1)}:
        for form in forms(key[place]):
            yield (*key[:place], form, *key[place + 1 :])


def _plurals(word: str) -> Iterator[str]:
    """How the plural of a noun may be written; some of it no word at all, which no text has."""
    if not word[-1].isalpha():
        return
    if word in _IRREGULAR:
        yield _IRREGULAR[word]
    if word.endswith("man"):
        yield f"{word[:-2]}en"
    if word.endswith(("s", "x", "z", "ch", "sh", "o")):
        yield f"{word}es"
    if not word.endswith(("s", "x", "z", "sh")):
        yield f"{word}s"
    if word.endswith("y"):
        yield f"{word[:-1]}ies"
    if word.endswith(("f", "fe")):
        yield f"{word.removesuffix('e')[:-1]}ves"


def _singulars(word: str) -> Iterator[str]:
    """What a word may be the plural of, if it looks like one: "axes" of axe or of ax."""
    if word in _IRREGULAR_SINGULAR:
        yield _IRREGULAR_SINGULAR[word]
    if word.endswith("men"):
        yield f"{word[:-2]}an"
    if len(word) < 4 or not word.endswith("s") or word.endswith("ss"):
        return
    yield word[:-1]
    for ending, singulars in {"es": ("",), "ies": ("y",), "ves": ("f", "fe")}.items():
        if word.endswith(ending):
            yield from (word.removesuffix(ending) + singular for singular in singulars)
