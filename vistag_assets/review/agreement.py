"""How far people who looked at the same pairs agree: Cohen's kappa."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from resources.decisions import Event, Pair, in_force, successor

_Z = 1.96


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two people on the pairs that both decided."""

    first: str
    second: str
    pairs: int
    both_accept: int
    both_reject: int
    only_first_accepts: int
    only_second_accepts: int

    @property
    def observed(self) -> float:
        """Share of the pairs on which they agree."""
        return (self.both_accept + self.both_reject) / self.pairs

    @property
    def expected(self) -> float:
        """The share that two people would agree on by chance who accept as often as these do."""
        first = (self.both_accept + self.only_first_accepts) / self.pairs
        second = (self.both_accept + self.only_second_accepts) / self.pairs
        return first * second + (1 - first) * (1 - second)

    @property
    def kappa(self) -> float | None:
        """(observed - expected) / (1 - expected): 1 is perfect, 0 chance (Cohen, 1960). None where chance is perfect too."""
        return None if self.expected == 1 else (self.observed - self.expected) / (1 - self.expected)

    @property
    def ci95(self) -> tuple[float, float] | None:
        """Its 95 % interval for many pairs, within -1..1; too narrow for a few dozen."""
        if self.kappa is None:
            return None
        half = _Z * math.sqrt(self.observed * (1 - self.observed) / self.pairs) / (1 - self.expected)
        return max(-1.0, self.kappa - half), min(1.0, self.kappa + half)


def opinions(events: Iterable[Event], replaced: Mapping[str, str]) -> dict[Pair, dict[str, bool]]:
    """(picture, concept id) -> who -> whether they say it is there; each person's last word, and no skips.

    Of a picture that lies in several files with other metadata, what is said of one is said of all.
    """
    standing = [event for event in in_force(events) if event.source == "person" and event.verdict != "skip"]
    picture = {event.image_id: event.pixel_hash for event in standing if event.pixel_hash}
    words: dict[Pair, dict[str, bool]] = {}
    for event in standing:
        for concept_id, accepted in _said(event):
            pair = picture.get(event.image_id, event.image_id), successor(concept_id, replaced)
            words.setdefault(pair, {})[event.who] = accepted
    return words


def agreements(words: Mapping[Pair, Mapping[str, bool]]) -> list[Agreement]:
    """Every two people who decided a pair in common, those with the most such pairs first."""
    counts: dict[tuple[str, str], list[int]] = {}
    for said in words.values():
        for first, second in combinations(sorted(said), 2):
            cells = counts.setdefault((first, second), [0, 0, 0, 0])
            cells[2 * said[first] + said[second]] += 1
    found = [
        Agreement(
            first,
            second,
            pairs=sum(cells),
            both_reject=cells[0],
            only_second_accepts=cells[1],
            only_first_accepts=cells[2],
            both_accept=cells[3],
        )
        for (first, second), cells in counts.items()
    ]
    return sorted(found, key=lambda of: (-of.pairs, of.first, of.second))


def disputed(words: Mapping[Pair, Mapping[str, bool]]) -> list[Pair]:
    """The pairs on which people disagree, by picture and concept; the last word on each is what stands."""
    return sorted(pair for pair, said in words.items() if len(set(said.values())) > 1)


def _said(event: Event) -> Iterator[tuple[str, bool]]:
    if event.concept_id:
        yield event.concept_id, event.verdict in ("accept", "redraw")
    if event.corrected_to:
        yield event.corrected_to, True
