"""The pages that people look at, and the pictures in them."""

from __future__ import annotations

from functools import cache
from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment
from pydantic import BaseModel

from resources.web.templates import page_templates
from resources.workspace import Workspace
from taxonomy import Facet
from vistag_assets.app.catalogue import Catalogue, Wanted
from vistag_assets.app.evidence import Shown, view_of
from vistag_assets.app.pictures import crop_file, picture_file
from vistag_assets.gallery.html import bright, percent
from vistag_assets.search.query import Hit

FOUND_CONCEPTS = 12
_KEPT = "private, max-age=86400"
"""Of pictures: they are known by their content."""
_Words = Annotated[str, Query(max_length=500)]
_Side = Annotated[
    int | None, Query(ge=16, le=4096, description="longest side in pixels; else as it is stored")
]
_Share = Annotated[float, Query(ge=0, le=1, allow_inf_nan=False)]


class FoundConcept(BaseModel):
    """A concept of the vocabulary."""

    id: str
    label: str
    facet: str


def routes(workspace: Workspace, catalogue: Catalogue) -> APIRouter:
    router = APIRouter()
    page = {"include_in_schema": False, "response_class": HTMLResponse}

    @router.get("/", **page)  # type: ignore[arg-type]
    def library(
        number: Annotated[int, Query(alias="page", ge=1, le=10**9)] = 1,
        folder: _Words = "",
        words: _Words = "",
        tag: _Words = "",
        review: _Words = "",
        flag: _Words = "",
    ) -> str:
        wanted = Wanted(folder, words.strip(), tag, review == "on", flag)
        return render(
            "library.html.j2",
            part="Library",
            page=catalogue.page(number, wanted),
            folders=catalogue.folders(),
            flags=catalogue.flags(),
            wanted=wanted,
            tag_label=workspace.taxonomy.shown_labels.get(tag, tag),
        )

    @router.get("/image/{folder}/{image_id}", **page)  # type: ignore[arg-type]
    def image(
        folder: str,
        image_id: str,
        of: _Words = "",
        words: _Words = "",
        tag: _Words = "",
        review: _Words = "",
        flag: _Words = "",
    ) -> str:
        view = view_of(workspace, folder, image_id) if catalogue.file_of(folder, image_id) else None
        if view is None:
            raise HTTPException(
                404, "This home has no such picture: it may have been moved or changed since."
            )
        wanted = Wanted(of, words, tag, review == "on", flag)
        before, after = catalogue.around(folder, image_id, wanted)
        return render(
            "image.html.j2",
            part="Library",
            view=view,
            card=view.card,
            facets=_by_facet(view.tags),
            before=before and image_url(*before, wanted),
            after=after and image_url(*after, wanted),
            back=library_url(wanted, 1),
        )

    @router.get("/picture/{folder}/{image_id}", include_in_schema=False)
    def picture(folder: str, image_id: str, side: _Side = None) -> Response:
        return _jpeg(picture_file(workspace, folder, image_id, side))

    @router.get("/crop/{folder}/{image_id}", include_in_schema=False)
    def crop(
        folder: str, image_id: str, x: _Share, y: _Share, w: _Share, h: _Share, side: _Side = 320
    ) -> Response:
        return _jpeg(crop_file(workspace, folder, image_id, (x, y, w, h), side or 320))

    @router.get("/api/concepts", tags=["vocabulary"])
    def concepts(words: Annotated[str, Query(min_length=1, max_length=200)]) -> list[FoundConcept]:
        """Concepts by the beginnings of the words of their labels, the best first."""
        return find_concepts(workspace, words)

    return router


def find_concepts(workspace: Workspace, words: str) -> list[FoundConcept]:
    """Whole labels first, then those that begin so, then those of which a word does."""
    sought = words.casefold().strip()
    ranked = []
    for concept in workspace.taxonomy.concepts:
        labels = [label.casefold() for label in (concept.pref_label, *concept.alt_labels)]
        ranks = [
            0 if label == sought else 1 if label.startswith(sought) else 2
            for label in labels
            if label.startswith(sought) or f" {sought}" in label
        ]
        if ranks:
            ranked.append((min(ranks), concept.pref_label.casefold(), concept))
    labels_of = workspace.taxonomy.shown_labels
    return [
        FoundConcept(id=concept.id, label=labels_of[concept.id], facet=concept.facet)
        for _, _, concept in sorted(ranked, key=lambda found: found[:2])[:FOUND_CONCEPTS]
    ]


def library_url(wanted: Wanted, number: int) -> str:
    return "/" + _query(
        {"folder": wanted.folder, **_filters(wanted), "page": str(number) if number > 1 else ""}
    )


def image_url(folder: str, image_id: str, wanted: Wanted) -> str:
    return f"/image/{quote(folder, safe='')}/{quote(image_id, safe='')}" + _query(
        {"of": wanted.folder, **_filters(wanted)}
    )


def crop_url(hit: Hit) -> str:
    """The part of a picture that was found, or all of it."""
    folder, id_ = quote(hit.folder, safe=""), quote(hit.id, safe="")
    if hit.box is None:
        return f"/picture/{folder}/{id_}?side=320"
    sides = {name: min(1.0, max(0.0, value)) for name, value in zip("xywh", hit.box, strict=True)}
    return f"/crop/{folder}/{id_}?{urlencode(sides)}"


def _filters(wanted: Wanted) -> dict[str, str]:
    return {
        "words": wanted.words,
        "tag": wanted.tag,
        "review": "on" if wanted.review else "",
        "flag": wanted.flag,
    }


def _query(values: dict[str, str]) -> str:
    given = {name: value for name, value in values.items() if value}
    return f"?{urlencode(given)}" if given else ""


def _by_facet(tags: tuple[Shown, ...]) -> list[tuple[Facet, list[Shown]]]:
    """In the order of the vocabulary's facets."""
    found: dict[Facet, list[Shown]] = {}
    for tag in sorted(tags, key=lambda tag: (tag.line.facet.order, tag.line.facet.name)):
        found.setdefault(tag.line.facet, []).append(tag)
    return list(found.items())


def _jpeg(content: bytes | None) -> Response:
    if content is None:
        raise HTTPException(404, "This home has no such picture.")
    return Response(content, media_type="image/jpeg", headers={"Cache-Control": _KEPT})


def told_page(request: Request, status: int, sentence: str) -> Response | None:
    """An error as a page, for who asked with a browser."""
    if "text/html" not in request.headers.get("accept", ""):
        return None
    return HTMLResponse(render("told.html.j2", part="", sentence=sentence), status)


def render(template: str, **shown: object) -> str:
    return _environment().get_template(template).render(**shown)


@cache
def _environment() -> Environment:
    environment = page_templates("vistag_assets.app", "templates")
    environment.globals.update(
        image_url=image_url, library_url=library_url, crop_url=crop_url, everything=Wanted()
    )
    environment.filters.update(bright=bright, percent=percent, words=lambda code: code.replace("_", " "))
    return environment
