"""Words that people used and the vocabulary has no concept for, out of the decision log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from resources.decisions import IMPORT_CLIENT, Event, in_force
from taxonomy.learning.proposals import Said, key_of

WORDS_OF = "~words"
"""Ends the client_id of accepted words that were typed in place of a concept: before it, that of the concept's rejection."""


def phrases_of(events: Iterable[Event]) -> Iterator[Said]:
    """Accepted words without a concept, and those that were looked for in vain before a concept was chosen.

    What was taken back or rejected later is not among them, nor what files say. The words that were looked for are a
    `skip` of these words with `corrected_to`: nothing stands by it.
    """
    standing = in_force(events)
    by_client = {event.client_id: event for event in standing}
    last = {_pair(event): event for event in standing if event.verdict != "skip" and not event.concept_id}
    for event in standing:
        if event.concept_id or not event.phrase or event.source != "person":
            continue
        if event.verdict == "skip" and event.corrected_to:
            yield _said(event, "looked for", event.corrected_to)
        elif event.verdict in ("accept", "redraw") and last[_pair(event)].verdict in ("accept", "redraw"):
            instead = by_client.get(event.client_id.removesuffix(WORDS_OF))
            rejected = instead.concept_id if instead is not None and instead is not event else None
            yield _said(event, _how(event), None, rejected)


def _pair(event: Event) -> tuple[str, str]:
    return event.image_id, key_of(event.phrase or "")


def _how(event: Event) -> str:
    if event.client_id.startswith(IMPORT_CLIENT):
        return "imported"
    return "typed" if event.shown is None else "proposed by a model and accepted"


def _said(event: Event, how: str, meant: str | None, instead_of: str | None = None) -> Said:
    return Said(event.phrase or "", event.who, event.time, event.image_id, how, meant, instead_of)
