"""Which concepts a text names: the labels of a vocabulary, found as whole words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import pyarrow as pa

from taxonomy import Taxonomy

_WORD = re.compile(r"[^\W_]+")
MENTIONS = pa.schema([("id", pa.string()), ("concept_id", pa.string()), ("score", pa.float32())])


class LabelIndex:
    """The labels of a vocabulary by their words, in lower case and without a plural s."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self._concepts: dict[tuple[str, ...], set[str]] = {}
        for concept in taxonomy.concepts:
            for label in concept.labels:
                self._concepts.setdefault(_words(label), set()).add(concept.id)
        self._concepts.pop((), None)
        self._longest = max(map(len, self._concepts), default=0)

    def concepts_in(self, text: str) -> list[str]:
        """Sorted ids of the concepts that the text names.

        Of labels that overlap the longest counts: "oil lamp" names no lamp besides.
        """
        words, found, place = _words(text), set[str](), 0
        while place < len(words):
            lengths = range(min(self._longest, len(words) - place), 0, -1)
            length = next((n for n in lengths if words[place : place + n] in self._concepts), 0)
            found |= self._concepts.get(words[place : place + length], set())
            place += length or 1
        return sorted(found)


def mentions(index: LabelIndex, texts: Iterable[tuple[str, str, float]]) -> pa.Table:
    """`MENTIONS` of (image id, text, score 0..1): the best score of a text that names the concept."""
    best: dict[tuple[str, str], float] = {}
    for id_, text, score in texts:
        for concept_id in index.concepts_in(text):
            best[id_, concept_id] = max(score, best.get((id_, concept_id), 0.0))
    rows: Sequence[tuple[str, str]] = sorted(best)
    return pa.table(
        [[id_ for id_, _ in rows], [concept for _, concept in rows], [best[row] for row in rows]],
        schema=MENTIONS,
    )


def _words(text: str) -> tuple[str, ...]:
    return tuple(_singular(word) for word in _WORD.findall(text.casefold()))


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
