"""The form of captions and of lists of keywords: sentences, openers, phrases, words."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")

_MEDIUM = r"(?:image|picture|photo|photograph|snapshot|scene|shot)"
_SHOWS = r"(?:of|shows?|showing|depict(?:s|ing)|features?|featuring|presents?|captures?|displays?|contains?|portrays?)"
_OPENER = re.compile(
    rf"\s*(?:in (?:this|the) {_MEDIUM}\b[,:]?"
    rf"|(?:(?:this|the|an?|here is an?) )?(?:[\w-]+ )?{_MEDIUM} (?:that |which )?{_SHOWS}\b"
    rf"|this (?:is|shows|depicts)\b"
    r")\s*",
    re.IGNORECASE,
)
_WORD_BEFORE_ANOTHER = re.compile(r"(?<!\S)(\S++)\s++(?=\S)")
_CLOSERS = "\"'”’)]"
_BULLET = re.compile(r"[\s\-*•\d.)]*")
_BLANKS_AND_POINTS = re.compile(r"[\s.]*")
_ABBREVIATIONS = frozenset(
    {"c", "ca", "cf", "no", "nr", "st", "mr", "mrs", "ms", "dr", "fig", "inv", "vol", "approx"}
)


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase and where it stands in a text: text[start:end]."""

    text: str
    start: int
    end: int


def keywords(text: str) -> list[Phrase]:
    """The phrases of a list with commas, semicolons or lines between them; each once, whatever its case."""
    phrases: dict[str, Phrase] = {}
    for part in re.finditer(r"[^,;\n]+", text):
        start = _BULLET.match(part.group()).end()  # type: ignore[union-attr]  # it matches every text
        end = len(part.group()) - _BLANKS_AND_POINTS.match(part.group()[::-1]).end()  # type: ignore[union-attr]
        bare = part.group()[start:end]
        if _WORD.search(bare):
            start += part.start()
            phrases.setdefault(bare.casefold(), Phrase(bare, start, start + len(bare)))
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
    opener = _OPENER.match(text)
    bare = text[opener.end() :] if opener else text
    return bare[:1].upper() + bare[1:] if bare != text else text


def sentences(text: str) -> list[str]:
    """The sentences of a text; "c. 1900", "St. Mark" and initials end none."""
    ends = [
        match.end()
        for match in _WORD_BEFORE_ANOTHER.finditer(text)
        if (stem := _without_marks(match.group(1)))
        and stem.strip("(\"'“‘").casefold() not in _ABBREVIATIONS
        and not re.fullmatch(r"\W*[A-Z]", stem)
    ]
    parts = [text[start:end].strip() for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]
    return [part for part in parts if part]


def _without_marks(word: str) -> str:
    """What stands before the marks that end a sentence, a letter at least; empty where there are none."""
    marked = word.rstrip(_CLOSERS)
    stem = marked.rstrip(".!?") or marked[:1]
    return stem if len(stem) < len(marked) else ""


def word_count(text: str) -> int:
    return len(_WORD.findall(text))
