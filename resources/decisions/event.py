"""One thing that somebody said about a picture, and what stands when everything was said. No storage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal, get_args
from uuid import uuid4

Verdict = Literal["accept", "reject", "correct", "redraw", "skip", "undo"]
"""`skip`: somebody looked and could not tell; nothing stands by it."""
Source = Literal["person", "file"]
Box = tuple[float, float, float, float]
Subject = tuple[str | None, str | None]
"""What a decision is about: (concept id, None), or (None, phrase) where the vocabulary has no such concept."""


IMPORT_CLIENT = "import-"
"""Begins the client_id of what was imported from another program's file."""


class UnusableDecision(ValueError):
    """An event that says nothing that could stand; the message says what it lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A line of the log. Raises UnusableDecision where it lacks what its verdict needs."""

    who: str
    verdict: Verdict
    image_id: str
    """content id of the file that was looked at"""
    pixel_hash: str | None = None
    """of the picture; equal where only metadata of the file changed. None: not known"""
    concept_id: str | None = None
    phrase: str | None = None
    """the label that was shown, or what was proposed where there is no concept"""
    corrected_to: str | None = None
    """`correct`: the concept that it is instead"""
    region_id: str | None = None
    box: Box | None = None
    """`redraw`: x and y of the top left, width and height, relative to the upright image, 0..1"""
    undoes: int | None = None
    """`undo`: the `seq` of the event that is taken back"""
    source: Source = "person"
    """`file`: a keyword that was found in the file"""
    folder: str | None = None
    """partition key at that time, for people"""
    path: str | None = None
    """of the file at that time, for people"""
    shown: str | None = None
    """fingerprint of the row of `tags` that was looked at"""
    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    client_id: str = field(default_factory=lambda: uuid4().hex)
    """whoever appends an event twice gives it the same one: it is kept once"""
    seq: int | None = None
    """place in the log; None before it is there"""

    def __post_init__(self) -> None:
        if self.verdict not in get_args(Verdict):
            raise UnusableDecision(
                f"{self.verdict!r} is no verdict: give one of {', '.join(get_args(Verdict))}"
            )
        if self.time.tzinfo is None:
            raise UnusableDecision("the time of a decision needs a time zone")
        if not self.image_id or not self.client_id:
            raise UnusableDecision("a decision needs the content id of its image, and a client_id")
        if self.verdict == "undo":
            if self.undoes is None:
                raise UnusableDecision("undo needs the number of the decision that it takes back")
        elif self.concept_id is None and not self.phrase:
            raise UnusableDecision(f"{self.verdict} needs a concept or a phrase")
        if self.verdict == "correct" and not self.corrected_to:
            raise UnusableDecision("correct needs the concept that it is instead")
        if self.verdict == "redraw" and self.box is None:
            raise UnusableDecision("redraw needs the box")

    @property
    def subject(self) -> Subject:
        return (self.concept_id, None if self.concept_id else self.phrase)


@dataclass(frozen=True, slots=True)
class Standing:
    """What people's word on one subject in one picture is now."""

    subject: Subject
    accepted: bool
    event: Event


def in_force(events: Iterable[Event]) -> list[Event]:
    """The events that were not taken back, in the order of the log, without those that only take back.

    An undo can be undone. Every event has a `seq`.
    """
    undone: set[int | None] = set()
    standing: list[Event] = []
    for event in sorted(events, key=_place, reverse=True):
        if event.seq in undone:
            continue
        if event.verdict == "undo":
            undone.add(event.undoes)
        else:
            standing.append(event)
    return standing[::-1]


def fold(
    pictures: Mapping[str, str | None],
    events: Iterable[Event],
    replaced: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, dict[Subject, Standing]]:
    """Content id -> subject -> what stands, for `pictures` (content id -> pixel hash, None where not known).

    An event is about a picture whose content id or whose pixel hash it has. The last word counts, but what a file
    says never overrules a person. Pictures that nobody spoke of are not in the answer.

    replaced: concept id -> the one that replaced it in a newer vocabulary. What was said of the first holds for the
    second, unless somebody spoke of that itself. Of several that became one, an accepted one makes it true; that
    only some were rejected says nothing of it.
    """
    of_id: dict[str, list[Event]] = {}
    of_pixels: dict[str, list[Event]] = {}
    for event in in_force(events):
        if event.verdict == "skip":
            continue
        of_id.setdefault(event.image_id, []).append(event)
        if event.pixel_hash:
            of_pixels.setdefault(event.pixel_hash, []).append(event)
    older = _older(replaced)
    folded: dict[str, dict[Subject, Standing]] = {}
    for id_, pixels in pictures.items():
        own = {event.seq: event for event in (*of_id.get(id_, ()), *of_pixels.get(pixels or "", ()))}
        if own:
            folded[id_] = _followed(_stand(sorted(own.values(), key=_place)), older)
    return folded


def successor(concept_id: str, replaced: Mapping[str, str]) -> str:
    """The concept that stands for it now, at the end of all replacements."""
    seen = {concept_id}
    while (newer := replaced.get(concept_id, concept_id)) not in seen:
        seen.add(concept_id := newer)
    return concept_id


def _stand(events: Iterable[Event]) -> dict[Subject, Standing]:
    stands: dict[Subject, Standing] = {}
    for event in events:
        said = [Standing(event.subject, event.verdict in ("accept", "redraw"), event)]
        if event.corrected_to:
            said.append(Standing((event.corrected_to, None), True, event))
        for standing in said:
            before = stands.get(standing.subject)
            if not before or before.event.source == "file" or event.source == "person":
                stands[standing.subject] = standing
    return stands


def _older(replaced: Mapping[str, str]) -> dict[str, list[str]]:
    """Concept id -> those that it replaced itself."""
    older: dict[str, list[str]] = {}
    for concept_id in sorted(replaced):
        older.setdefault(replaced[concept_id], []).append(concept_id)
    return older


def _followed(stands: dict[Subject, Standing], older: Mapping[str, list[str]]) -> dict[Subject, Standing]:
    """What stands, with that of replaced concepts under their successors."""

    def of(concept_id: str) -> Standing | None:
        said = [standing for before in older.get(concept_id, ()) if (standing := of(before))]
        accepted = [standing for standing in said if standing.accepted]
        telling = accepted or (said if len(said) == len(older.get(concept_id, ())) else [])
        last = max(telling, key=lambda standing: _place(standing.event), default=None)
        return stands.pop((concept_id, None), last)

    replaced = {concept_id for before in older.values() for concept_id in before}
    for newest in older.keys() - replaced:
        if standing := of(newest):
            subject = (newest, None)
            stands[subject] = replace(standing, subject=subject)
    return stands


def _place(event: Event) -> int:
    assert event.seq is not None, "an event of the log"
    return event.seq
