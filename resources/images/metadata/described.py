"""The description of a picture by people: the columns of `images` that come of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

MOST_CHARACTERS = 60_000
"""of all texts together: what a process that reads strangers' files may answer has a bound"""
MOST_CHARACTERS_OF_A_KEYWORD = 1_000
CUT = "metadata_cut"
Path = tuple[str, ...]
"""A keyword below those that it belongs to, the broadest first."""


@dataclass(frozen=True, slots=True)
class Described:
    """What people said; `None` and empty where they said nothing. vistag's own words are not among it."""

    keywords: tuple[str, ...] = ()
    """flat, in their order"""
    keyword_paths: tuple[Path, ...] = ()
    """hierarchical, each of two names or more"""
    title: str | None = None
    description: str | None = None
    creators: tuple[str, ...] = ()
    rating: float | None = None
    """0..5 stars; -1: rejected"""
    latitude: float | None = None
    """degrees, north is positive (WGS 84)"""
    longitude: float | None = None
    """degrees, east is positive"""
    dated: str | None = None
    """when what it shows was so: ISO 8601, as exact as it was said"""
    notes: tuple[str, ...] = ()
    """what could not be read (docs/ingest.md lists the words)"""

    def bounded(self) -> Described:
        """Without what is beyond all reason, and a note where there is any."""
        left = MOST_CHARACTERS

        def kept(texts: Iterable[str]) -> bool:
            nonlocal left
            length = sum(map(len, texts))
            fits = length <= left and all(len(text) <= MOST_CHARACTERS_OF_A_KEYWORD for text in texts)
            left -= length if fits else 0
            return fits

        keywords = tuple(keyword for keyword in self.keywords if kept((keyword,)))
        paths = tuple(path for path in self.keyword_paths if kept(path))
        creators = tuple(name for name in self.creators if kept((name,)))
        title = (self.title or "")[:left] or None
        left -= len(title or "")
        description = (self.description or "")[:left] or None
        cut = replace(
            self,
            keywords=keywords,
            keyword_paths=paths,
            creators=creators,
            title=title,
            description=description,
        )
        return self if cut == self else replace(cut, notes=(*self.notes, CUT))

    def facts(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def described_from(facts: Any) -> Described:
    """What a process told, checked as what a stranger says. Raises KeyError, TypeError or ValueError."""
    if type(facts) is not dict or facts.keys() != {field.name for field in fields(Described)}:
        raise TypeError("the description of a picture has other fields")
    for name in ("keywords", "creators", "notes"):
        facts[name] = _texts(facts[name])
    if type(facts["keyword_paths"]) is not list:
        raise TypeError("paths of keywords are no list")
    facts["keyword_paths"] = tuple(map(_texts, facts["keyword_paths"]))
    for name in ("title", "description", "dated"):
        if facts[name] is not None:
            (facts[name],) = _texts([facts[name]])
    for name in ("rating", "latitude", "longitude"):
        if facts[name] is not None:
            facts[name] = float(facts[name])
    return Described(**facts)


def _texts(values: Any) -> tuple[str, ...]:
    if type(values) is not list or not all(type(value) is str for value in values):
        raise TypeError("these are no texts")
    for value in values:
        value.encode()  # half a letter is none
    return tuple(values)
