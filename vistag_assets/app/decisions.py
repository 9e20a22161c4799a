"""What people decide, over HTTP: into the log, in its order, each once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from resources.decisions import Event, UnusableDecision
from resources.workspace import Workspace
from vistag_assets.app.batches import Batches
from vistag_assets.app.catalogue import Catalogue

_AT_ONCE = 200
_WAITING = 2000


def _storable(text: str) -> str:
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ValueError("control characters are no part of a name")
    return text


Name = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_storable)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Corners = Annotated[
    tuple[Share, Share, Share, Share],
    WithJsonSchema(  # of four numbers, in words that every reader of OpenAPI knows
        {
            "type": "array",
            "items": {"type": "number", "minimum": 0, "maximum": 1},
            "minItems": 4,
            "maxItems": 4,
        }
    ),
]
"""x and y of the top left, width, height, relative to the picture, 0..1"""
Seq = Annotated[int, Field(ge=0, lt=2**63)]


class Decision(BaseModel):
    """What a person says of a tag in a picture."""

    model_config = ConfigDict(extra="forbid")

    folder: Name = Field(description="partition key of the folder, as in the lake")
    image_id: Name = Field(description="content id of the picture")
    concept_id: Name | None = Field(None, description="what it is about; null where the vocabulary has none")
    phrase: Name | None = Field(None, description="the words that were shown; needed without concept_id")
    verdict: Literal["accept", "reject", "skip", "correct", "redraw", "undo"]
    reviewer: Name
    client_id: Name = Field(description="chosen by the client; a decision that comes twice is kept once")
    region_id: Name | None = None
    box: Corners | None = Field(
        None, description="of `redraw`: x, y of the top left, width, height, relative to the picture"
    )
    corrected_to: Name | None = Field(None, description="of `correct`: the concept that it is instead")
    undoes: Seq | None = Field(None, description="of `undo`: seq of the decision that is taken back")
    shown: Name | None = Field(None, description="fingerprint of the row of tags that was looked at")


class Recorded(Decision):
    """A line of the log."""

    seq: int
    time: datetime
    path: str | None = Field(
        description="of the file at that time; null where this home does not know the picture"
    )


class AlreadyTaken(Exception):
    """A client_id that stands for another decision."""

    def __init__(self, stored: Event) -> None:
        super().__init__(
            f"the client_id {stored.client_id} is that of decision {stored.seq}, which says something else: give "
            "each decision a client_id of its own"
        )


class Deciding:
    """Puts decisions into the log, those that wait at one moment with one commit."""

    def __init__(self, workspace: Workspace, catalogue: Catalogue) -> None:
        self.log, self._labels = workspace.decisions, workspace.taxonomy.pref_labels
        self._catalogue = catalogue
        self._commits: Batches[Decision, Event] = Batches(
            self._append, most_at_once=_AT_ONCE, most_waiting=_WAITING
        )

    async def decide(self, decision: Decision) -> Event:
        """The decision as it is on the disk. Raises UnusableDecision, AlreadyTaken, LogUnavailable, Full, OSError."""
        return await self._commits.ask(decision)

    def _append(self, decisions: list[Decision]) -> Sequence[Event | Exception]:
        told: list[Event | Exception] = []
        events: list[Event] = []
        for decision in decisions:
            try:
                events.append(self._event(decision))
                told.append(events[-1])
            except UnusableDecision as error:
                told.append(error)
        stored = iter(self.log.append(events))
        return [one if isinstance(one, Exception) else _same(one, next(stored)) for one in told]

    def _event(self, decision: Decision) -> Event:
        known = self._catalogue.file_of(decision.folder, decision.image_id)
        return Event(
            who=decision.reviewer,
            path=known.path if known else None,
            pixel_hash=known.pixel_hash if known else None,
            phrase=self._labels.get(decision.concept_id or "") or decision.phrase,
            **decision.model_dump(exclude={"reviewer", "phrase"}),
        )


def _same(sent: Event, stored: Event) -> Event | AlreadyTaken:
    """What is stored, if it says what was sent; what lake and vocabulary add to it may have changed since."""
    added = {"seq", "time", "path", "pixel_hash", "source", *(["phrase"] if sent.concept_id else [])}
    as_sent = replace(stored, **{name: getattr(sent, name) for name in added})
    return stored if as_sent == sent else AlreadyTaken(stored)


def recorded(event: Event) -> Recorded:
    known = {name: getattr(event, name) for name in Recorded.model_fields if name != "reviewer"}
    # a line that another program wrote may hold more than this API takes
    return Recorded.model_construct(reviewer=event.who, **known)


def routes(deciding: Deciding) -> APIRouter:
    router = APIRouter(prefix="/api", tags=["decisions"])

    @router.post("/decisions", responses={409: {"description": "another decision has that client_id"}})
    async def decide(decision: Decision) -> Recorded:
        """Put a decision into the log; when this answers, it is on the disk."""
        try:
            return recorded(await deciding.decide(decision))
        except UnusableDecision as error:
            raise HTTPException(422, str(error)) from error
        except AlreadyTaken as error:
            raise HTTPException(409, str(error)) from error

    @router.get("/decisions")
    def decisions(
        since: Annotated[Seq, Query(description="answer what came behind this number")] = 0,
        limit: Annotated[int, Query(ge=1, le=1_000_000)] = 1_000_000,
    ) -> list[Recorded]:
        """The lines of the log, in the order in which they were appended."""
        return [recorded(event) for event in deciding.log.since(since)[:limit]]

    return router
