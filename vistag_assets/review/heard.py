"""Who has looked at which pair of an image and a concept, kept up with the log as it grows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from resources.decisions import DecisionLog, Event, Pair, in_force, successor


@dataclass
class Heard:
    """What people said so far, by pair; `follow` reads only what is new in the log.

    A pair is known by the content id of its image, and by the pixel hash of the picture where the event has one.
    """

    replaced: Mapping[str, str] = field(default_factory=dict)
    """of the vocabulary, as `fold` takes it"""
    by_pair: dict[Pair, dict[str, Event]] = field(default_factory=dict)
    """-> who -> their last word that stands, a skip too"""
    _events: list[Event] = field(default_factory=list)

    def follow(self, log: DecisionLog) -> None:
        """Raises LogUnavailable."""
        new = log.since(self._events[-1].seq or 0) if self._events else log.since()
        self._events += new
        if any(event.verdict == "undo" for event in new):
            self.by_pair.clear()
            new = in_force(self._events)
        for event in new:
            if event.source == "person":
                for pair in self._pairs(event):
                    self.by_pair.setdefault(pair, {})[event.who] = event

    def of(self, pair: Pair, pixel_hash: str | None) -> dict[str, Event]:
        """Who -> their word on a pair, by any name of its image."""
        image_id, concept_id = pair
        of_pixels = self.by_pair.get((pixel_hash, concept_id), {}) if pixel_hash else {}
        return {**of_pixels, **self.by_pair.get((image_id, concept_id), {})}

    def _pairs(self, event: Event) -> Iterator[Pair]:
        concepts = [event.concept_id] if event.concept_id else []
        if event.verdict == "correct" and event.corrected_to:
            concepts.append(event.corrected_to)
        for concept_id in concepts:
            current = successor(concept_id, self.replaced)
            yield event.image_id, current
            if event.pixel_hash:
                yield event.pixel_hash, current
