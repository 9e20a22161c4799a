"""Mending the form of a description. No fact may come in by it: what is kept was said, and the rest is left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from resources.models.vlms.description import MAX_CLAIMS, MAX_REGIONS, MAX_TAGS, Claim, Description
from taxonomy import Labels
from vistag_assets.whole_image.caption_form import without_opener, word_count

# A string that is cut is one too: else each quotation mark in it would be tried as the start of one.
_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*+"?)|,(?=\s*[}\]])', re.DOTALL)
_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\/])|([bfnrt]))')
_WORD = re.compile(r"\w+")
_REGION = re.compile(r"r[1-9][0-9]*")


def salvaged(answer: str) -> Description | None:
    """What of an answer fits the schema: cut JSON is closed, trailing commas and unknown keys go, and so does each
    claim that is not whole. None where no title or no claim is left."""
    found = _read_object(answer)
    if not isinstance(found, dict):
        return None
    claims = [claim for item in _items(found, "claims") if (claim := _salvaged_claim(item))]
    tags = [tag for tag in _items(found, "tags") if isinstance(tag, str) and tag]
    try:
        return Description.model_validate(
            {"title": found.get("title"), "claims": claims[:MAX_CLAIMS], "tags": tags[:MAX_TAGS]}
        )
    except ValidationError:
        return None


def tidied(description: Description, most_words: int) -> Description:
    """Without openers such as "This image shows", tags said twice, and as many whole claims as make it too long."""
    claims = [
        claim.model_copy(update={"text": without_opener(claim.text) or claim.text})
        for claim in description.claims
    ]
    while len(claims) > 1 and sum(word_count(claim.text) for claim in claims) > most_words:
        del claims[_most_dispensable(claims)]
    title = without_opener(description.title) or description.title
    return Description(title=title, claims=claims, tags=list(dict.fromkeys(description.tags)))


def adds_no_fact(description: Description, answer: str, labels: Labels) -> bool:
    """Whether every label of the vocabulary that the description names is named by the answer as it was given."""
    texts = [description.title, *(claim.text for claim in description.claims), *description.tags]
    return labels.concepts_in(*texts) <= labels.concepts_in(_unescaped(answer))


def uses_words_of(description: Description, answer: str) -> bool:
    """Whether every word of the description is in the answer: then it is another form of it and no more."""
    said = set(_WORD.findall(_unescaped(answer).lower()))
    texts = [description.title, *(claim.text for claim in description.claims), *description.tags]
    return said.issuperset(_WORD.findall(" ".join(texts).lower()))


def prose(claims: Sequence[Claim]) -> str:
    """The claims as running text, each a sentence."""
    texts = (claim.text.strip() for claim in claims)
    return " ".join(text if text.endswith((".", "!", "?")) else f"{text}." for text in texts if text)


def _read_object(answer: str) -> Any:
    """The JSON object in a text, as far as it goes; None where there is none."""
    start = answer.find("{")
    bare = _TRAILING_COMMA.sub(lambda match: match.group(1) or "", answer[max(start, 0) :])
    for text in (bare, bare[: bare.rfind("}") + 1]):
        try:
            return from_json(text, allow_partial=True)
        except ValueError:
            continue
    return None


def _items(found: dict[str, Any], key: str) -> list[Any]:
    return found[key] if isinstance(found.get(key), list) else []


def _salvaged_claim(item: Any) -> Claim | None:
    if not isinstance(item, dict):
        return None
    regions = [region for region in _items(item, "regions") if _is_region(region)]
    try:
        return Claim.model_validate(
            {"aspect": item.get("aspect"), "text": item.get("text"), "regions": regions[:MAX_REGIONS]}
        )
    except ValidationError:
        return None


def _is_region(region: Any) -> bool:
    return isinstance(region, str) and _REGION.fullmatch(region) is not None


def _most_dispensable(claims: Sequence[Claim]) -> int:
    """The place of the last claim of the aspect that has most."""
    counts = Counter(claim.aspect for claim in claims)
    most = max(counts.values())
    return max(place for place, claim in enumerate(claims) if counts[claim.aspect] == most)


def _unescaped(answer: str) -> str:
    """A text with JSON's escapes read, so that labels are found in it as in what is parsed of it."""
    return _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else m[2] or " ", answer)
