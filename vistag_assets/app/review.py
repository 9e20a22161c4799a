"""The review queue over HTTP: batches of one concept, leased to who looks at them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from resources.decisions.event import Box
from resources.lake import MissingPartition
from resources.workspace import Workspace
from vistag_assets.app.catalogue import Catalogue, stored_rows
from vistag_assets.app.decisions import Corners, Name
from vistag_assets.app.pages import render
from vistag_assets.review.desk import LEASE_S, Desk, Item

BATCH = 24
_NO_QUEUE = "There is no review queue yet. It is made by the next vistag run, or in Dagster's UI: materialise review_queue."


class Asked(BaseModel):
    """Who wants to look at what."""

    model_config = ConfigDict(extra="forbid")

    reviewer: Name
    count: int = Field(BATCH, ge=1, le=200)
    concept_id: Name | None = Field(None, description="this concept alone; else the one that comes first")
    second_opinion: bool = Field(False, description="what one other person has decided")


class Concept(BaseModel):
    """A concept of the vocabulary, as it is told to a reviewer."""

    id: str
    label: str
    facet: str
    definition: str
    waiting: int = Field(description="pairs of the queue that nobody has looked at")


class Pair(BaseModel):
    """A picture in which the concept is to be looked for."""

    folder: str
    image_id: str
    concept_id: str
    path: str | None
    region_id: str | None
    box: Corners | None = Field(description="of the region, relative to the picture; null: the whole picture")
    reason: str
    probability: float | None
    is_uniform: bool
    shown: str | None = Field(description="fingerprint of the row of tags that is looked at")


class Batch(BaseModel):
    """What a reviewer has to themself for a while, in the order of the queue."""

    concept: Concept | None = Field(description="null where nothing is left to look at")
    pairs: list[Pair]
    lease_s: float


class Returned(BaseModel):
    """Who has stopped."""

    model_config = ConfigDict(extra="forbid")

    reviewer: Name


def routes(workspace: Workspace, catalogue: Catalogue) -> APIRouter:
    router, desk = APIRouter(tags=["review"]), Desk(workspace)
    no_queue: dict[int | str, dict[str, str]] = {404: {"description": "there is no queue yet"}}

    @router.get("/review", include_in_schema=False, response_class=HTMLResponse)
    def page() -> str:
        return render("review.html.j2", part="Review")

    @router.get("/api/review/concepts", responses={**no_queue})
    def concepts() -> list[Concept]:
        """The concepts of the queue, in its order, with how much of each waits."""
        try:
            return [_concept(workspace, id_, waiting) for id_, waiting in desk.waiting().items()]
        except MissingPartition as error:
            raise HTTPException(404, _NO_QUEUE) from error

    @router.post("/api/review/next", responses={**no_queue})
    def next_batch(asked: Asked) -> Batch:
        """The next pairs of one concept, which are the reviewer's alone until the lease ends; the same when asked again."""
        try:
            items = desk.next_batch(
                asked.reviewer,
                asked.count,
                concept_id=asked.concept_id,
                one_concept=True,
                second_opinion=asked.second_opinion,
            )
            waiting = desk.waiting()
        except MissingPartition as error:
            raise HTTPException(404, _NO_QUEUE) from error
        concept_id = items[0].concept_id if items else None
        return Batch(
            concept=_concept(workspace, concept_id, waiting[concept_id]) if concept_id else None,
            pairs=_pairs(workspace, catalogue, items),
            lease_s=LEASE_S,
        )

    @router.post("/api/review/back")
    def give_back(returned: Returned) -> Returned:
        """Let others have what this reviewer has not decided."""
        desk.give_back(returned.reviewer)
        return returned

    return router


def _concept(workspace: Workspace, concept_id: str, waiting: int) -> Concept:
    known = workspace.taxonomy.by_id.get(concept_id)
    return Concept(
        id=concept_id,
        label=workspace.taxonomy.shown_labels.get(concept_id, concept_id),
        facet=known.facet if known else "",
        definition=known.definition if known else "",
        waiting=waiting,
    )


def _pairs(workspace: Workspace, catalogue: Catalogue, items: Sequence[Item]) -> list[Pair]:
    boxes = _boxes_of(workspace, items)
    return [_pair(catalogue, item, boxes.get(item.region_id or "")) for item in items]


def _pair(catalogue: Catalogue, item: Item, box: Box | None) -> Pair:
    folder = item.folder_key or ""
    file = catalogue.file_of(folder, item.id)
    return Pair(
        folder=folder,
        image_id=item.id,
        concept_id=item.concept_id,
        path=file.path if file else None,
        region_id=item.region_id,
        box=box if file else None,
        reason=item.reason,
        probability=item.probability,
        is_uniform=item.is_uniform,
        shown=item.shown,
    )


def _boxes_of(workspace: Workspace, items: Sequence[Item]) -> Mapping[str, Box]:
    """Region id -> box, of the regions of a batch; each folder of it is read once."""
    ids = defaultdict[str, set[str]](set)
    for item in items:
        if item.region_id is not None:
            ids[item.folder_key or ""].add(item.id)
    return {
        row["region_id"]: tuple(row["bbox"])
        for folder, own in ids.items()
        for row in stored_rows(workspace, "grounded_regions", folder, own) or ()
    }
