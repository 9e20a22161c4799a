"""What a file of an annotation program says of each picture, and which decisions that comes to. No lake, no log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from resources.decisions.event import Box, Verdict

SAME_BOX = 0.003
"""Of the picture's side: programs round boxes to pixels or to hundredths of a per cent."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A label of a picture, or of a box in it."""

    label: str
    box: Box | None = None
    """x and y of the top left, width and height, relative to the upright picture, 0..1"""
    id: str | None = None
    """the program's, by which a box that was moved is known again"""
    untouched: bool = False
    """the program says that nobody's hand was on it"""

    def is_at(self, other: Mark) -> bool:
        if self.box is None or other.box is None:
            return self.box is other.box
        return all(abs(a - b) <= SAME_BOX for a, b in zip(self.box, other.box, strict=True))


@dataclass(frozen=True, slots=True)
class Answer:
    """What one person says of one picture."""

    picture: str
    """path or address, as the file gives it"""
    marks: tuple[Mark, ...]
    image_id: str | None = None
    """content id, where the file kept the one that vistag wrote"""
    who: str | None = None
    time: datetime | None = None
    shown: tuple[Mark, ...] | None = None
    """what stood there before that person began; None: the file does not say"""
    finished: bool = False
    """whether the program says that the person was done with the picture"""


@dataclass(slots=True)
class Answers:
    """The content of a file."""

    program: str
    """which wrote it, for people"""
    answers: list[Answer] = field(default_factory=list)
    offered: dict[str, tuple[Mark, ...]] = field(default_factory=dict)
    """picture -> what a machine proposed, also where nobody has answered"""


@dataclass(frozen=True, slots=True)
class Said:
    """One decision on a label of a picture."""

    verdict: Verdict
    label: str
    corrected_to: str | None = None
    region_id: str | None = None
    box: Box | None = None


def decisions_of(answer: Answer, *, reviewed: bool = False) -> list[Said]:
    """What an answer comes to.

    A label or box that a person set is accepted (a box: drawn); one that was moved is drawn again, one that was named
    otherwise is corrected; a label of which nothing is left of what was shown is rejected. What stands as it was
    shown is accepted where the person was done with the picture, or `reviewed` says so.
    """
    shown = answer.shown or ()
    before = _before(answer.marks, shown)
    standing = {mark.label for mark in answer.marks}
    said: list[Said] = []
    kept: list[Said] = []
    for mark, was in zip(answer.marks, before, strict=True):
        region = was.id if was else None
        if was is not None and was.label != mark.label and was.label not in standing:
            said.append(Said("correct", was.label, corrected_to=mark.label, region_id=region))
            if not mark.is_at(was):
                said.append(Said("redraw", mark.label, region_id=region, box=mark.box))
        elif (was is not None and was.label == mark.label and mark.is_at(was)) or (
            was is None and mark.untouched
        ):
            kept.append(Said("accept", mark.label, region_id=region))
        elif mark.box is not None:
            said.append(Said("redraw", mark.label, region_id=region, box=mark.box))
        else:
            said.append(Said("accept", mark.label))
    corrected = {of.label for of in said if of.verdict == "correct"}
    gone = dict.fromkeys(mark.label for mark in shown if mark.label not in standing | corrected)
    said += [Said("reject", label) for label in gone]
    if reviewed or answer.finished:
        said += _first_of_each(kept, but={of.corrected_to or of.label for of in said})
    return list(dict.fromkeys(said))


def _before(marks: Sequence[Mark], shown: Sequence[Mark]) -> list[Mark | None]:
    """Of each mark, what was shown in its place: what has its id, else what stands where it stands. Each serves once."""
    left = list(shown)
    found: list[Mark | None] = [None] * len(marks)

    def take(place: int, candidates: Iterable[Mark]) -> None:
        was = next(iter(candidates), None)
        if was is not None:
            found[place] = was
            left.remove(was)

    tests = (
        lambda mark, was: mark.id is not None and mark.id == was.id,
        lambda mark, was: mark.label == was.label and mark.is_at(was),
        lambda mark, was: mark.box is not None and mark.is_at(was),
    )
    for is_same in tests:
        for place, mark in enumerate(marks):
            if found[place] is None:
                take(place, [was for was in left if is_same(mark, was)])
    return found


def _first_of_each(kept: Sequence[Said], but: set[str]) -> list[Said]:
    """One acceptance a label; of those with a region the first."""
    best: dict[str, Said] = {}
    for said in sorted(kept, key=lambda said: said.region_id is None):
        best.setdefault(said.label, said)
    return [said for label, said in best.items() if label not in but]
