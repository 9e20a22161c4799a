"""From what a model answered to a description whose every claim is checked against what else is known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from resources.models.vlms.description import MAX_CLAIMS, MAX_REGIONS, Claim, Description, parse_description
from taxonomy import Taxonomy
from vistag_assets.language.repair import adds_no_fact, prose, salvaged, tidied, uses_words_of
from vistag_assets.regions.boxes import Region
from vistag_assets.whole_image.caption_form import sentences, word_count
from vistag_assets.whole_image.quotes import requoted

SPECULATION = re.compile(
    r"\b(?:perhaps|maybe|possibly|probably|presumably|supposedly|apparently|seemingly|arguably|(?:un)?likely"
    r"|seem(?:s|ed)?|appear(?:s|ed)? to|looks like|(?-i:may|might|could)|suggest(?:s|ing|ive)?|impl(?:y|ies|ying)"
    r"|hint(?:s|ing)? at|as if|as though|must have|would have|believed to|thought to|evok(?:e|es|ing)|evocative"
    r"|reminiscent|symboli[sz](?:e|es|ing)|convey(?:s|ing)?|sense of|feeling of|mood|atmosphere)\b",
    re.IGNORECASE,
)
"""Words that guess or that tell an effect on the viewer: neither can be seen."""

Form = Literal["json", "prose"]
"""what the model was asked for"""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an image before it is described."""

    regions: Mapping[str, Region]
    """by the short ids of the prompt"""
    caption: str
    text: tuple[str, ...]
    """lines that can be read in the image"""
    tags: frozenset[str]
    """concept ids of confirmed tags"""


@dataclass(frozen=True, slots=True)
class CheckedClaim:
    """A claim of a stored description."""

    aspect: str
    text: str
    region_ids: tuple[str, ...]
    flags: tuple[str, ...]
    """`uncited` (a subject without region), `wrong_region` (the model cited one that the claim does not name),
    `unknown_region`, `speculation`, `unsupported:<noun>`"""


@dataclass(frozen=True, slots=True)
class Described:
    """A description as it is stored."""

    title: str
    description: str
    claims: tuple[CheckedClaim, ...]
    tags: tuple[str, ...]
    words: int
    valid: bool | None
    """whether the model's answer fitted the schema as it was given; None where none was asked for"""
    problems: tuple[str, ...]
    """`cut`, `prose` (the model writes no JSON: its sentences are the claims), `repaired`, `from_caption`, `words`,
    `empty`"""
    json: str | None
    """the stored object by the schema, with region ids instead of short ones; None where there is nothing to say"""


def describe(
    answer: str,
    *,
    finished: bool,
    known: Known,
    taxonomy: Taxonomy,
    words: tuple[int, int],
    form: Form = "json",
    rewritten: str | None = None,
) -> Described:
    """The answer, mended in its form and checked; from the caption alone where it cannot be mended.

    `rewritten` is the answer as a text-only model put it into JSON; it counts where every word of it is one of the
    answer's.
    `words` are the fewest and the most words wanted; whole claims are dropped of a longer text, and a length that
    is out of bounds in the end is the problem `words`.
    """
    first = parse_description(answer) if form == "json" else None
    answer = requoted(answer, known.text)
    said = _of_prose(answer, finished) if form == "prose" else parse_description(answer) or salvaged(answer)
    put = parse_description(rewritten) if rewritten else None
    if put and uses_words_of(put, answer):
        said, form = put, "json"
    told = tidied(said, words[1]) if said else None
    if told and not adds_no_fact(told, answer, taxonomy.labels):
        told = None
    from_caption = told is None
    if told is None:
        told = _of_caption(known.caption)
    text = prose(told.claims) if told else ""
    fewest, most = words
    problems = {
        "cut": not finished,
        "prose": form == "prose" and not from_caption,
        "repaired": form == "json" and not from_caption and told != first,
        "from_caption": from_caption,
        "words": not fewest <= word_count(text) <= most,
        "empty": not text,
    }
    claims = _checked(told.claims, known, taxonomy) if told else ()
    return Described(
        title=told.title if told else "",
        description=text,
        claims=claims,
        tags=tuple(told.tags) if told else (),
        words=word_count(text),
        valid=first is not None if form == "json" else None,
        problems=tuple(problem for problem, is_so in problems.items() if is_so),
        json=_stored(told, claims) if told else None,
    )


def _of_prose(answer: str, finished: bool) -> Description | None:
    """Running text as claims, a sentence each; the last one of several goes where the answer was cut."""
    told = [sentence for sentence in sentences(answer) if word_count(sentence)]
    if not finished and len(told) > 1:
        del told[-1]
    if not told:
        return None
    claims = [Claim(aspect="subject", text=sentence, regions=[]) for sentence in told[:MAX_CLAIMS]]
    return Description(title=told[0].rstrip("."), claims=claims, tags=[])


def needs_rewriting(answer: str, form: Form) -> bool:
    """Whether there are words, and the rules of form make no description of them."""
    return word_count(answer) > 0 and (
        form == "prose" or (parse_description(answer) or salvaged(answer)) is None
    )


def _of_caption(caption: str) -> Description | None:
    if not word_count(caption):
        return None
    claim = Claim(aspect="subject", text=caption, regions=[])
    return Description(title=caption.rstrip(".") or caption, claims=[claim], tags=[])


def _checked(claims: list[Claim], known: Known, taxonomy: Taxonomy) -> tuple[CheckedClaim, ...]:
    regions = known.regions.values()
    concepts = {region.concept_id for region in regions if region.concept_id}
    seen = taxonomy.labels.concepts_in(known.caption, *known.text, *(region.phrase for region in regions))
    seen |= known.tags | (concepts & taxonomy.by_id.keys())
    supported = taxonomy.with_ancestors(seen)
    return tuple(
        CheckedClaim(
            claim.aspect,
            claim.text,
            tuple(known.regions[short].region_id for short in _cited(claim, known, taxonomy)),
            _flags(claim, known, taxonomy, supported),
        )
        for claim in claims
    )


def _named_regions(claim: Claim, known: Known, taxonomy: Taxonomy) -> list[str]:
    """Short ids of the regions whose phrase the claim names."""
    named = taxonomy.labels.concepts_in(claim.text)
    return [
        short
        for short, region in known.regions.items()
        if region.concept_id in named or not named.isdisjoint(taxonomy.labels.concepts_in(region.phrase))
    ]


def _cited(claim: Claim, known: Known, taxonomy: Taxonomy) -> list[str]:
    """The regions that stand behind a claim: of those it names the ones the model cites, else all for a subject.

    So a citation never depends on a model's skill in copying ids.
    """
    named = _named_regions(claim, known, taxonomy)
    own = [short for short in dict.fromkeys(claim.regions) if short in named]
    return (own or (named if claim.aspect == "subject" else []))[:MAX_REGIONS]


def _flags(claim: Claim, known: Known, taxonomy: Taxonomy, supported: frozenset[str]) -> tuple[str, ...]:
    unnamed = known.regions.keys() - set(_named_regions(claim, known, taxonomy))
    flags = {
        "uncited": claim.aspect == "subject" and not _cited(claim, known, taxonomy),
        "wrong_region": any(short in unnamed for short in claim.regions),
        "unknown_region": any(short not in known.regions for short in claim.regions),
        "speculation": SPECULATION.search(claim.text) is not None,
    }
    unsupported = [
        f"unsupported:{named.phrase}"
        for named in taxonomy.labels.named_in(claim.text)
        if supported.isdisjoint(named.concept_ids)
        and not all(taxonomy.facet_of(c).unseen for c in named.concept_ids)
    ]
    return (*(flag for flag, is_so in flags.items() if is_so), *dict.fromkeys(unsupported))


def _stored(told: Description, claims: tuple[CheckedClaim, ...]) -> str:
    stored = Description(
        title=told.title,
        claims=[
            Claim.model_validate({"aspect": c.aspect, "text": c.text, "regions": list(c.region_ids)})
            for c in claims
        ],
        tags=told.tags,
    )
    return stored.model_dump_json()
