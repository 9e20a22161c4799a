"""What a phrase or a sentence names of a vocabulary, and what is wrong with the form of a caption."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from taxonomy import Taxonomy

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_PLURALS = {"ss": (), "ies": ("y", "ie"), "ves": ("f", "fe", "ve"), "es": ("e", ""), "s": ("",)}
"""The first ending that fits decides."""
_ARTICLES = frozenset({"a", "an", "the"})

_MEDIUM = r"(?:image|picture|photo|photograph|snapshot|scene|shot)"
_SHOWS = r"(?:of|shows?|showing|depict(?:s|ing)|features?|featuring|presents?|captures?|displays?|contains?|portrays?)"
_OPENER = re.compile(
    rf"\s*(?:in (?:this|the) {_MEDIUM}\b[,:]?"
    rf"|(?:(?:this|the|an?|here is an?) )?(?:[\w-]+ )?{_MEDIUM} (?:that |which )?{_SHOWS}\b"
    rf"|this (?:is|shows|depicts)\b"
    r")\s*",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(\S+?)[.!?]+[\"'”’)\]]*\s+(?=\S)")
_ABBREVIATIONS = frozenset(
    {"c", "ca", "cf", "no", "nr", "st", "mr", "mrs", "ms", "dr", "fig", "inv", "vol", "approx"}
)


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase and where it stands in a text: text[start:end]."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Named:
    """A label of the vocabulary that a text names, as the text writes it, and all concepts that bear it."""

    phrase: str
    concept_ids: tuple[str, ...]


@dataclass(frozen=True)
class Labels:
    """The labels of a vocabulary, to be found whatever their case, number (bowl, bowls) and hyphens."""

    taxonomy: Taxonomy

    def concept_of(self, phrase: str) -> str | None:
        """The concept that the whole phrase is a label of; of several the one it is the preferred label of, by id."""
        words = _words(phrase)
        while words and words[0] in _ARTICLES and tuple(words) not in self._exact:
            words = words[1:]
        return next(iter(self._look_up(words)), None)

    def named_in(self, text: str) -> list[Named]:
        """The labels in a text from left to right; of labels that overlap, the longest of the leftmost.

        A label never reaches over punctuation other than a hyphen, so that "on wood, frame" names no wood frame.
        """
        found = []
        for words in _clauses(text):
            place = 0
            while place < len(words):
                for length in range(min(self._longest, len(words) - place), 0, -1):
                    part = words[place : place + length]
                    if concept_ids := self._look_up(part):
                        found.append(Named(" ".join(part), concept_ids))
                        break
                else:
                    length = 1
                place += length
        return found

    def concepts_in(self, *texts: str) -> frozenset[str]:
        """The concepts that any of the texts names."""
        named = (named for text in texts for named in self.named_in(text))
        return frozenset(concept_id for label in named for concept_id in label.concept_ids)

    def with_broader(self, concepts: frozenset[str]) -> frozenset[str]:
        """The concepts and all that are broader: whoever sees a bowl sees a vessel."""
        return concepts.union(*(self.taxonomy.ancestors(concept) for concept in concepts))

    def _look_up(self, words: Sequence[str]) -> tuple[str, ...]:
        if not words:
            return ()
        key = tuple(words)
        ways = (self._exact.get(key), *map(self._exact.get, _singulars(key)), self._singular.get(key))
        return next((concept_ids for concept_ids in ways if concept_ids), ())

    @cached_property
    def _exact(self) -> Mapping[tuple[str, ...], tuple[str, ...]]:
        """Words of a label -> ids of the concepts, those first that prefer it."""
        owners: dict[tuple[str, ...], tuple[str, ...]] = {}
        preferred = [(concept.pref_label, concept.id) for concept in self.taxonomy.concepts]
        others = [(label, concept.id) for concept in self.taxonomy.concepts for label in concept.alt_labels]
        for label, concept_id in preferred + others:
            words = tuple(_words(label))
            owners[words] = (*owners.get(words, ()), concept_id)
        return owners

    @cached_property
    def _singular(self) -> Mapping[tuple[str, ...], tuple[str, ...]]:
        """Of labels in the plural."""
        return {one: owners for words, owners in self._exact.items() if words for one in _singulars(words)}

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._exact), default=0)


def keywords(text: str) -> list[Phrase]:
    """The phrases of a list with commas, semicolons or lines between them; each once, whatever its case."""
    phrases: dict[str, Phrase] = {}
    for part in re.finditer(r"[^,;\n]+", text):
        bare = re.match(r"[\s\-*•\d.)]*(.*?)[\s.]*$", part.group(), re.DOTALL)
        assert bare is not None  # it matches every text
        if _WORD.search(bare.group(1)):
            start = part.start() + bare.start(1)
            phrases.setdefault(
                bare.group(1).casefold(), Phrase(bare.group(1), start, start + len(bare.group(1)))
            )
    return list(phrases.values())


def caption_problems(text: str, *, finished: bool) -> list[str]:
    """What keeps a text from being one factual sentence; `finished` is False where it was cut."""
    problems = {
        "empty": not _WORD.search(text),
        "cut": not finished,
        "forbidden_opener": _OPENER.match(text) is not None,
        "several_sentences": len(sentences(text)) > 1,
    }
    return [problem for problem, is_so in problems.items() if is_so]


def without_opener(text: str) -> str:
    """The text without words such as "This image shows" before what it says; nothing else is taken or added."""
    bare = _OPENER.sub("", text, count=1) if _OPENER.match(text) else text
    return bare[:1].upper() + bare[1:] if bare != text else text


def sentences(text: str) -> list[str]:
    """The sentences of a text; "c. 1900", "St. Mark" and initials end none."""
    ends = [
        match.end()
        for match in _SENTENCE_END.finditer(text)
        if match.group(1).strip("(\"'“‘").casefold() not in _ABBREVIATIONS
        and not re.fullmatch(r"\W*[A-Z]", match.group(1))
    ]
    parts = [text[start:end].strip() for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]
    return [part for part in parts if part]


def word_count(text: str) -> int:
    return len(_WORD.findall(text))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _clauses(text: str) -> Iterator[list[str]]:
    for clause in re.split(r"[^\w\s'’\-]+|_|\n", text):
        yield _words(clause)


def _singulars(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """What the phrase may be in the singular, if its last word is a plural: "axes" of "axe" or of "ax"."""
    *before, last = words
    for ending, singulars in _PLURALS.items():
        if last.endswith(ending) and len(last) > len(ending) + 1:
            yield from ((*before, last.removesuffix(ending) + singular) for singular in singulars)
            return
