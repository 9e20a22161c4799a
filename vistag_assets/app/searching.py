"""The page of the search, and what the pictures that are most like one say of a tag."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from resources.workspace import Workspace
from vistag_assets.app.catalogue import stored_rows
from vistag_assets.app.endpoints import Asking, Search, answered
from vistag_assets.app.pages import render
from vistag_assets.search.query import Hit, SearchError

NEIGHBOURS = 10
_CARRIED_FROM = 0.5
_SHOWN = 60
_Words = Annotated[str, Query(max_length=500)]


class Neighbours(BaseModel):
    """What the pictures that are most like one say of a tag."""

    pictures: int
    carry: int = Field(description="of them: a person accepted it, or it is more likely than not")


def routes(asking: Asking) -> APIRouter:
    router = APIRouter()

    @router.get("/search", include_in_schema=False, response_class=HTMLResponse)
    async def page(text: _Words = "", like: _Words = "") -> str:
        hits, told = list[Hit](), ""
        if text.strip() or like:
            try:
                wanted = Search(text=text, like=like, top=_SHOWN)
                hits = await answered(asking.searches.ask((wanted, None)))
                told = "" if hits else "Nothing is like that."
            except HTTPException as error:
                told = error.detail
        return render("search.html.j2", part="Search", text=text, like=like, hits=hits, told=told)

    @router.get("/api/neighbours/{folder}/{image_id}", tags=["answers"])
    async def neighbours(
        folder: str, image_id: str, concept_id: Annotated[str, Query(min_length=1, max_length=500)]
    ) -> Neighbours:
        """How many of the pictures most like one carry a tag; of none, where no search can be made."""
        wanted = Search(like=image_id, top=NEIGHBOURS, min_score=0)
        try:
            hits = await asking.searches.ask((wanted, None))
        except SearchError:  # no index yet
            hits = []
        return Neighbours(pictures=len(hits), carry=_carrying(asking.workspace, hits, concept_id))

    return router


def _carrying(workspace: Workspace, hits: list[Hit], concept_id: str) -> int:
    ids = defaultdict[str, set[str]](set)
    for hit in hits:
        ids[hit.folder].add(hit.id)
    carry = 0
    for folder, own in ids.items():
        for row in stored_rows(workspace, "tags", folder, own) or ():
            is_carried = row["state"] == "human" or (
                row["state"] == "machine" and row["probability"] >= _CARRIED_FROM
            )
            carry += row["concept_id"] == concept_id and is_carried
    return carry
