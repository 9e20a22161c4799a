"""Which of a concept's texts a reader of some languages is shown: the fallback of BCP 47 (RFC 4647, lookup)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

ENGLISH = ("en",)
Texts = Mapping[str, Sequence[str]]
"""Language tag in lower case, "" where there is none -> texts in the alphabet's order."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of a concept: labels of one language."""

    pref_label: str
    alt_labels: tuple[str, ...]
    language: str
    """BCP 47 tag, empty for English"""
    tags: frozenset[str]
    """language tags that these labels have in the file"""
    asked_for: bool
    """whether the language is one of those asked for"""


def by_language(texts: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """(text, tag) by tag; texts without a letter are left out."""
    found: dict[str, set[str]] = defaultdict(set)
    for text, tag in texts:
        if stripped := text.strip():
            found[plain_tag(tag)].add(stripped)
    return {tag: sorted(found[tag]) for tag in found}


def plain_tag(language: str) -> str:
    """A language tag as it is compared: in lower case, with hyphens."""
    return language.strip().lower().replace("_", "-")


def is_english(tag: str) -> bool:
    return tag == "en" or tag.startswith("en-")


def tags_for(language: str, tags: Iterable[str], *, first: bool) -> list[str]:
    """The tags that serve a reader of `language`, best first: itself, none at all (for the first language asked
    for), what is wider (nl for nl-be), then its varieties in the alphabet's order.
    """
    known = set(tags)
    wider = [language.rsplit("-", cut)[0] for cut in range(1, language.count("-") + 1)]
    varieties = sorted(tag for tag in known if tag.startswith(f"{language}-"))
    wanted = [language, *([""] if first else []), *wider, *varieties]
    return [tag for tag in dict.fromkeys(wanted) if tag in known]


def choose(pref: Texts, alt: Texts, languages: Sequence[str]) -> Shown | None:
    """The labels shown to a reader of `languages`, in order of preference; None where there is no label at all.

    Where none has a prefLabel, English is shown, and else the first tag in the alphabet.
    """
    asked = [plain_tag(language) for language in languages]
    for place, language in enumerate(dict.fromkeys([*asked, "en"])):
        if tags := tags_for(language, pref, first=place == 0):
            served = tags_for(language, {*pref, *alt}, first=place == 0)
            shown_as = "" if is_english(tags[0] or language) else tags[0] or language
            return _shown(pref, alt, tags[0], served, shown_as, asked_for=language in asked)
    if pref:
        tag = min(pref)
        return _shown(pref, alt, tag, [tag], "" if is_english(tag) else tag, asked_for=False)
    return choose(alt, {}, languages) if alt else None


def best_text(texts: Texts, languages: Sequence[str]) -> str:
    """The text for a reader of `languages`, by the same rule; empty where there is none."""
    shown = choose(texts, {}, languages)
    return shown.pref_label if shown else ""


def _shown(
    pref: Texts, alt: Texts, tag: str, served: Sequence[str], language: str, *, asked_for: bool
) -> Shown:
    others = [label for each in served for texts in (pref, alt) for label in texts.get(each, ())]
    return Shown(pref[tag][0], tuple(others), language, frozenset(served), asked_for)
