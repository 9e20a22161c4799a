"""What is noticed in a vocabulary file, and where: every problem is reported at once, those that forbid its use apart."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from taxonomy.bounded import read_bounded

ERROR = ""
"""The kind of what makes a vocabulary unusable."""
KINDS: Mapping[str, str] = {
    "encoding": "files are not UTF-8: read as what they look like",
    "row": "rows do not fit the header: read as far as they do",
    "iri": "concepts have no IRI: named by their label",
    "id": "ids are used again: the rows are read as one concept",
    "id-text": "ids hold what an id cannot: mended",
    "label": "labels hold a |, a tab or a line break: mended",
    "untyped": "concepts are not called a skos:Concept, but have a label and a place: taken as such",
    "wordless": "labels have no letter and no digit: a model reads nothing in them",
    "no-label": "concepts have no label: left out, what is below them moves up",
    "language": "concepts have no prefLabel in the language asked for: shown in another",
    "no-pref": "concepts have no prefLabel: shown by an altLabel",
    "two-labels": "concepts have several prefLabels in one language: the first in the alphabet is taken",
    "repeated-label": "labels stand twice at their concept: once is enough",
    "homograph": "labels are borne by several concepts: told apart by a qualifier, where one is found",
    "broader": "links lead to concepts that are not in the file: left out",
    "cycle": "circles are there of broader concepts: cut",
    "deprecated": "concepts are deprecated: left out, links to them follow what replaces them",
    "no-facet": "concepts have no facet: put under the first one described",
    "facet": "facets are nearly, but not quite, described ones: taken as they are written",
    "facets": "concepts are in several collections or facets: the first described one is taken",
    "category": "keywords are categories in brackets: they group others and are no tags",
}
"""Kind of what is noticed and mended -> what there are so many of, and what is done about it."""
_SINGULAR = {
    "are": "is", "do": "does", "have": "has", "hold": "holds", "lead": "leads", "stand": "stands",
}  # fmt: skip
SHOWN = 3
"""Examples of a kind in a summary."""


@dataclass(frozen=True, slots=True, order=True)
class Flaw:
    """A problem at a line, counted from 1; a problem of the whole file stands at line 1."""

    line: int
    text: str
    kind: str = ERROR
    """of `KINDS` where the vocabulary can be used in spite of it"""


class TaxonomyError(ValueError):
    """A vocabulary that cannot be used. The message has one ``file:line: problem`` for each flaw."""

    def __init__(self, path: Path, flaws: Iterable[Flaw]) -> None:
        self.path = path
        self.flaws = tuple(sorted(set(flaws)))
        super().__init__("\n".join(f"{path}:{flaw.line}: {flaw.text}" for flaw in self.flaws))


def summary(path: Path, flaws: Iterable[Flaw], shown: int | None = SHOWN) -> list[str]:
    """A line a kind, in the order of `KINDS`, each with its first examples; `shown` None: with all."""
    by_kind: dict[str, list[Flaw]] = defaultdict(list)
    for flaw in sorted(set(flaws)):
        by_kind[flaw.kind].append(flaw)
    lines = []
    for kind in (kind for kind in KINDS if kind in by_kind):
        found = by_kind[kind]
        lines.append(_counted(len(found), KINDS[kind]))
        lines += [f"  {path}:{flaw.line}: {flaw.text}" for flaw in found[:shown]]
        if shown is not None and len(found) > shown:
            lines.append(f"  and {len(found) - shown:,} more")
    return lines


def _counted(count: int, sentence: str) -> str:
    noun, verb, rest = sentence.split(" ", 2)
    return f"{count:,} {sentence}" if count != 1 else f"1 {noun.removesuffix('s')} {_SINGULAR[verb]} {rest}"


def read_bytes(path: Path) -> bytes:
    """The content. Raises TaxonomyError when it cannot be read or there is none."""
    try:
        content = read_bounded(path)
    except OSError as error:
        raise TaxonomyError(path, [Flaw(1, f"cannot be read: {error.strerror}")]) from error
    if not content.strip():
        raise TaxonomyError(path, [Flaw(1, "the file is empty")])
    return content


def read_text(path: Path) -> str:
    """The file as UTF-8, without a byte order mark. Raises TaxonomyError when it cannot be read."""
    content = read_bytes(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TaxonomyError(path, [Flaw(line, "is not UTF-8; save the file as UTF-8")]) from error
    if not text.strip():
        raise TaxonomyError(path, [Flaw(1, "the file is empty")])
    return text


def read_foreign_text(path: Path) -> tuple[str, list[Flaw]]:
    """The file in whatever encoding a spreadsheet saves, as its byte order mark or its bytes tell.

    Bytes that are no UTF-8 are read as Windows-1252, of which Latin-1 is a part, and that is told.
    """
    content = read_bytes(path)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace"), []
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        text = "is not UTF-8; read as Windows-1252. Save the file as UTF-8 if its accents look wrong"
        # five bytes mean nothing in Windows-1252; Latin-1 has something for each
        try:
            return content.decode("cp1252"), [Flaw(line, text, "encoding")]
        except UnicodeDecodeError:
            return content.decode("latin-1"), [Flaw(line, text, "encoding")]


class Spelling:
    """The known words near to a misspelt one. Made in time linear in the words, asked in time of one word.

    Near are words that become the same when at most one letter of each is left out: a letter wrong, missing,
    added, or two that changed places.
    """

    _MOST_LETTERS = 64

    def __init__(self, known: Iterable[str]) -> None:
        self._by_rest: dict[str, list[str]] = defaultdict(list)
        for word in known:
            for rest in self._rests(word):
                self._by_rest[rest].append(word)

    def hint(self, word: str, cutoff: float = 0.6) -> str:
        """A suffix for a message: the nearest known word, or nothing when none is near."""
        best = self.nearest(word, cutoff)
        return f'; did you mean "{best}"?' if best else ""

    def nearest(self, word: str, cutoff: float = 0.6) -> str:
        """The nearest known word that is another, or nothing when none is near."""
        if sum(map(str.isdigit, word)) > len(word) / 2:  # another number is no misspelt one
            return ""
        near = {known for rest in self._rests(word) for known in self._by_rest.get(rest, ())[:_MOST_NEAR]}
        likeness = {known: SequenceMatcher(None, known, word).ratio() for known in near - {word}}
        best = min(likeness, key=lambda known: (-likeness[known], known), default="")
        return best if best and likeness[best] >= cutoff else ""

    def _rests(self, word: str) -> set[str]:
        if len(word) > self._MOST_LETTERS:
            return {word}
        return {word, *(word[:place] + word[place + 1 :] for place in range(len(word)))}


_MOST_NEAR = 20


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """`Spelling.hint` for one word among few."""
    return Spelling(known).hint(word, cutoff)


_UNFIT = re.compile(r"[\W_]+")


def slug(label: str) -> str:
    """A label as an id: its letters and digits in lower case, in any script, joined by hyphens."""
    return _UNFIT.sub("-", label.casefold()).strip("-")


def unique(wanted: str, taken: Iterable[str] | Mapping[str, object], hints: Sequence[str] = ()) -> str:
    """`wanted`, or where it is taken `wanted` with the first hint that parts it, or with a number."""
    for name in (wanted, *(f"{wanted}-{hint}" for hint in hints if hint)):
        if name not in taken:
            return name
    number = 2
    while f"{wanted}-{number}" in taken:
        number += 1
    return f"{wanted}-{number}"
