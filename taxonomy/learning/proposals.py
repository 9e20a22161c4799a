"""From words that people used to proposed labels: which concept they may be a name of, and what speaks against it."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from taxonomy.concept import Concept
from taxonomy.keywords import every_label
from taxonomy.model import Taxonomy
from taxonomy.problems import Spelling, slug, unique

Kind = Literal["altLabel", "hiddenLabel", "prefLabel"]
"""A synonym, a misspelling, the name of a new concept."""
NEAR = 0.8
"""Likeness, 0..1, from which on two labels may be one, misspelt."""
_FEWEST_LETTERS = 5
"""Of a word that may be misspelt: "cup" and "cap" are two."""
_SHARE = 0.5
"""Of the times that something was meant, how many a concept needs to be taken for it."""


@dataclass(frozen=True, slots=True)
class Said:
    """Words that one person used of one picture."""

    words: str
    who: str
    time: datetime
    image_id: str
    how: str
    """typed, looked for, imported, or proposed by a model and accepted"""
    meant: str | None = None
    """id of the concept that was chosen in the end"""
    instead_of: str | None = None
    """id of the concept that was rejected for it"""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A label that the vocabulary may be given."""

    words: str
    language: str
    """BCP 47 tag; "und" where the letters are not those of the vocabulary"""
    kind: Kind
    concept_id: str
    """of a label whose it is; for `prefLabel` the id of the new one"""
    broader: str | None
    """of a new concept, where its last words name one"""
    said: tuple[Said, ...]
    conflicts: tuple[str, ...]
    """what a reader should know before accepting it"""

    @property
    def pictures(self) -> list[str]:
        """Ids, each once."""
        return list(dict.fromkeys(said.image_id for said in self.said))

    @property
    def people(self) -> list[str]:
        return sorted({said.who for said in self.said})

    @property
    def told(self) -> str:
        """How often and by whom, for people."""
        ways = Counter(said.how for said in self.said)
        counted = ", ".join(f"{how} {count:,} times" if count > 1 else how for how, count in ways.items())
        meant = Counter(said.meant for said in self.said if said.meant)
        chosen = ", ".join(f"{id_} ({count:,})" for id_, count in meant.most_common(3))
        return (
            f"{counted} by {', '.join(self.people)} in {len(self.pictures):,} pictures"
            f"{f'; chosen then: {chosen}' if chosen else ''}"
        )


@dataclass(frozen=True, slots=True)
class Learned:
    """What the words of people come to."""

    proposals: tuple[Proposal, ...]
    """what was said of most pictures first"""
    known: tuple[tuple[str, tuple[str, ...]], ...]
    """words that are labels by now, with the ids of the concepts"""
    decided: tuple[str, ...]
    """words that somebody has accepted or rejected before"""


def key_of(words: str) -> str:
    """Equal for words that differ in case, hyphens, blanks or Unicode form."""
    plain = unicodedata.normalize("NFKC", words).casefold()
    return " ".join(plain.replace("-", " ").replace("‐", " ").replace("_", " ").split())


def learn(
    said: Iterable[Said], taxonomy: Taxonomy, *, least: int = 1, decided: Collection[str] = ()
) -> Learned:
    """Proposals for words of `least` pictures or more.

    decided: keys (`key_of`) of words that are not to be proposed again.
    """
    groups: dict[str, list[Said]] = defaultdict(list)
    for one in said:
        if key := key_of(one.words):
            groups[key].append(one)
    known = {key: ids for key in groups if (ids := taxonomy.labels.concepts_of(key))}
    before = [key for key in groups if key in decided and key not in known]
    fresh = {
        key: own
        for key, own in groups.items()
        if key not in known and key not in decided and len({one.image_id for one in own}) >= least
    }
    proposer = _Proposer(taxonomy, fresh)
    found = [proposer.proposal(key, own) for key, own in fresh.items()]
    found.sort(key=lambda proposal: (-len(proposal.pictures), proposal.words.casefold()))
    return Learned(
        tuple(found),
        tuple((_spelt(groups[key]), ids) for key, ids in sorted(known.items())),
        tuple(sorted(_spelt(groups[key]) for key in before)),
    )


class _Proposer:
    def __init__(self, taxonomy: Taxonomy, groups: dict[str, list[Said]]) -> None:
        self._taxonomy = taxonomy
        self._owners: dict[str, list[str]] = defaultdict(list)
        for concept in taxonomy.concepts:
            for label in every_label(concept):
                self._owners[key_of(label)].append(concept.id)
        self._labels = Spelling(self._owners)
        self._others = Spelling(groups)
        self._groups = groups
        self._ids = set(taxonomy.by_id)

    def proposal(self, key: str, said: Sequence[Said]) -> Proposal:
        words, meant = _spelt(said), _meant(said)
        near = self._labels.nearest(key, NEAR) if len(key) >= _FEWEST_LETTERS else ""
        owners = self._owners.get(near, [])
        kind: Kind
        broader = None
        if owners and (meant is None or meant in owners):
            kind, concept_id = "hiddenLabel", meant or owners[0]
        elif meant in self._taxonomy.by_id:
            assert meant
            kind, concept_id = "altLabel", meant
        else:
            kind, concept_id = "prefLabel", unique(slug(words) or "unnamed", self._ids)
            self._ids.add(concept_id)
            broader = self._broader(words)
        owner = self._taxonomy.by_id.get(concept_id)
        language = _language(words, owner, self._taxonomy)
        conflicts = tuple(self._conflicts(key, kind, concept_id, near, owners, said, language))
        return Proposal(words, language, kind, concept_id, broader, tuple(said), conflicts)

    def _broader(self, words: str) -> str | None:
        """The concept that the last words name: a tea bowl is a bowl."""
        parts = words.split()
        for start in range(1, len(parts)):
            if found := self._taxonomy.labels.concept_of(" ".join(parts[start:])):
                return found
        return None

    def _conflicts(
        self,
        key: str,
        kind: Kind,
        concept_id: str,
        near: str,
        owners: Sequence[str],
        said: Sequence[Said],
        language: str,
    ) -> Iterator[str]:
        if near and (kind != "hiddenLabel" or len(owners) > 1):
            yield f'a letter from "{near}", a label of {", ".join(owners)}'
        meant = Counter(one.meant for one in said if one.meant)
        if len(meant) > 1:
            yield "meant were " + ", ".join(f"{id_} ({count:,})" for id_, count in meant.most_common())
        if gone := sorted(id_ for id_ in meant if id_ not in self._taxonomy.by_id):
            yield f"meant was what the vocabulary has no longer: {', '.join(gone)}"
        if other := self._others.nearest(key, NEAR):
            yield f'a letter from "{_spelt(self._groups[other])}", which is proposed too'
        if language == "und":
            yield "in other letters than the vocabulary's: say which language it is"
        if kind == "prefLabel":
            yield "nobody said which concept it is a name of: give one, or it becomes a new one"


def _meant(said: Sequence[Said]) -> str | None:
    meant = Counter(one.meant for one in said if one.meant)
    best = meant.most_common(1)
    return best[0][0] if best and best[0][1] >= _SHARE * meant.total() else None


def _spelt(said: Sequence[Said]) -> str:
    """As most wrote it; of equals the first in the alphabet."""
    spellings = Counter(" ".join(one.words.split()) for one in said)
    return min(spellings, key=lambda words: (-spellings[words], words))


def _language(words: str, owner: Concept | None, taxonomy: Taxonomy) -> str:
    """That of the labels beside it, where it is written in their letters."""
    beside = [owner] if owner else list(taxonomy.concepts[:1])
    shown = [label for concept in beside for label in concept.labels]
    if not _scripts(words) <= _scripts(*shown):
        return "und"
    return (beside[0].language or "en") if beside else "en"


def _scripts(*texts: str) -> set[str]:
    """Of the letters, as Unicode names them: LATIN, CYRILLIC, CJK …"""
    return {unicodedata.name(letter, "?").split()[0] for text in texts for letter in text if letter.isalpha()}
