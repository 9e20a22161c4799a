"""A policy: rules that say which images people have to look at before they are used, from a YAML file (docs/flags.md)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from resources.fingerprint import fingerprint
from resources.yaml_file import YamlFile, YamlFileError, read_yaml
from resources.yaml_model import problems_of
from taxonomy import Taxonomy
from taxonomy.problems import did_you_mean

Place = Literal["picture", "caption", "description", "file"]
"""Where words stand: in the picture as it was read, in the machine's texts, in what people wrote into the file."""
PLACES: tuple[Place, ...] = ("picture", "caption", "description", "file")
Share = Annotated[float, Field(ge=0, le=1)]


_MOST_STARS = 2


class PolicyError(ValueError):
    """A policy that cannot be used; the message names file and line."""


def _listed(value: Any) -> Any:
    """One name stands for a list of one."""
    return [value] if isinstance(value, str) else value


def _says_something(name: str) -> str:
    if not any(map(str.isalnum, name)):
        raise ValueError(f"{name!r} holds no letter and no digit: all images would be flagged")
    if name.count("*") > _MOST_STARS:  # each more is another power of the time that a text takes
        raise ValueError(f"{name!r} holds more than {_MOST_STARS} *")
    return name


Name = Annotated[str, Field(max_length=200), AfterValidator(_says_something)]
Names = Annotated[tuple[Name, ...], BeforeValidator(_listed)]


class Rule(BaseModel):
    """When an image is flagged: all conditions that are given hold of it; of a list, any."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Annotated[str, Field(pattern=r"^[\w][\w .-]{0,79}$")]
    reason: str = ""
    """What people who look at the image are told."""
    concept: Names = ()
    """Ids or labels of the vocabulary, each with all that is narrower."""
    min_probability: Share = 0.5
    """Of a machine's tag; what a person said counts whatever the machine thinks."""
    found: Names = ()
    """What a box was drawn around: ids or labels of the vocabulary, or the words that were looked for."""
    min_score: Share = 0.3
    """Of the detector, for `found`."""
    words: Names = ()
    """Words or phrases; `*` stands for the rest of a word."""
    where: Annotated[tuple[Place, ...], BeforeValidator(_listed)] = PLACES
    """Which texts `words` are looked for in."""
    keyword: Names = ()
    """Keywords that people or their programs left in the file, whole; `*` stands for anything."""
    unfamiliar: Literal[True] | None = None
    """The image is unlike those that the tier was made for."""

    @model_validator(mode="after")
    def _says_when(self) -> Self:
        if not (self.concept or self.found or self.words or self.keyword or self.unfamiliar):
            raise ValueError("give a condition: concept, found, words, keyword or unfamiliar")
        return self


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]


@dataclass(frozen=True)
class BoundRule:
    """A rule by the ids of a vocabulary."""

    rule: Rule
    concepts: frozenset[str]
    """of `concept`, with all that is narrower"""
    found: frozenset[str]
    """of `found`, likewise"""
    found_phrases: frozenset[str]
    """of `found`, as words"""

    @cached_property
    def words(self) -> re.Pattern[str] | None:
        """Found in folded texts."""
        return _any_of([_whole(folded(name)) for name in self.rule.words])

    @cached_property
    def keywords(self) -> re.Pattern[str] | None:
        """Matches folded keywords as a whole."""
        return _any_of([f"{_starred(folded(name), '.*')}$" for name in self.rule.keyword])


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of a file, in its order."""

    rules: tuple[BoundRule, ...]
    fingerprint: str


def read_policy(path: Path, taxonomy: Taxonomy) -> Policy:
    """Raises PolicyError, with the line, also for a concept that the vocabulary does not have."""
    try:
        file = read_yaml(path)
    except YamlFileError as error:
        raise PolicyError(str(error)) from error
    if not isinstance(file.content, dict):
        raise PolicyError(f"{path}: expected `rules:` and a list of rules; docs/flags.md has an example")
    try:
        rules = _Document.model_validate(file.content).rules
    except ValidationError as error:
        raise PolicyError(f"{path}:\n{problems_of(error, file, _Document)}") from error
    if problems := [*_twice(rules, file), *_unknown(rules, file, taxonomy)]:
        raise PolicyError(f"{path}:\n" + "\n".join(f"  {problem}" for problem in problems))
    return Policy(
        tuple(_bound(rule, taxonomy) for rule in rules),
        fingerprint(rules=[rule.model_dump(mode="json") for rule in rules], taxonomy=taxonomy.fingerprint),
    )


def folded(text: str) -> str:
    """A text as it is compared: NFKC, without case, white space as one blank."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _twice(rules: tuple[Rule, ...], file: YamlFile) -> Iterator[str]:
    first: dict[str, int] = {}
    for number, rule in enumerate(rules):
        line = file.line_of(("rules", number, "name"))
        if rule.name in first:
            yield f"line {line}: the rule {rule.name!r} stands on line {first[rule.name]} too: name one of them otherwise"
        first.setdefault(rule.name, line)


def _unknown(rules: tuple[Rule, ...], file: YamlFile, taxonomy: Taxonomy) -> Iterator[str]:
    known = (*taxonomy.by_id, *taxonomy.pref_labels.values())
    for number, rule in enumerate(rules):
        for place, name in enumerate(rule.concept):
            if not _ids(name, taxonomy):
                line = file.line_of(("rules", number, "concept", place))
                yield f"line {line}: {name!r} is no concept of the vocabulary{did_you_mean(name, known) or '.'}"


def _bound(rule: Rule, taxonomy: Taxonomy) -> BoundRule:
    of = {name: _ids(name, taxonomy) for name in (*rule.concept, *rule.found)}
    return BoundRule(rule, _all(rule.concept, of), _all(rule.found, of), frozenset(map(folded, rule.found)))


def _all(names: tuple[str, ...], of: Mapping[str, frozenset[str]]) -> frozenset[str]:
    return frozenset[str]().union(*(of[name] for name in names))


def _ids(name: str, taxonomy: Taxonomy) -> frozenset[str]:
    """The concepts that are meant, with all that is narrower; none where the vocabulary has no such name."""
    ids = (name,) if name in taxonomy.by_id else taxonomy.labels.concepts_of(name)
    return frozenset(ids).union(*(taxonomy.descendants(id_) for id_ in ids))


def _any_of(patterns: Sequence[str]) -> re.Pattern[str] | None:
    """None where there are none."""
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns)) if patterns else None


def _whole(word: str) -> str:
    """A pattern of a word that is not part of a longer one, in scripts that part words by blanks."""
    before, after = (r"(?<!\w)" if _parts_words(word[0]) else "", r"(?!\w)" if _parts_words(word[-1]) else "")
    return before + _starred(word, r"\w*") + after


def _starred(name: str, rest: str) -> str:
    return rest.join(map(re.escape, name.split("*")))


def _parts_words(char: str) -> bool:
    """Whether a character is of a script with blanks between words; Chinese, Japanese, Thai and others have none."""
    return unicodedata.east_asian_width(char) not in "WF" and not any(
        script in unicodedata.name(char, "") for script in ("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
    )
