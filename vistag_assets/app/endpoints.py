"""What other programs ask: a caption, tags, a description, regions of a picture; pictures that are like something."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import date
from io import BytesIO
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, HTTPException, Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from resources.decisions import LogUnavailable
from resources.images import DecoderUnavailable, Reject, decode_isolated
from resources.lake import LakeError
from resources.models.checkpoints import DeviceUnavailableError, ModelUnavailableError
from resources.object_store import location
from resources.workspace import Workspace
from vistag_assets.app.answering import TARGETS, Answer, Answerer, Kind, Lane, NoAnswer, Question
from vistag_assets.app.batches import Batches, Full
from vistag_assets.app.decisions import Corners, Name, Share
from vistag_assets.app.schemas import answer_model, row_model
from vistag_assets.failures import sentence_of
from vistag_assets.search.query import Hit, Searcher, SearchError
from vistag_assets.search.query import Query as Sought
from vistag_assets.tags.decide import UnknownSubject, find_pictures

Model = TypeVar("Model", bound=BaseModel)
Asked = TypeVar("Asked")
Told = TypeVar("Told")
MOST_MIB = 64
"""Of a file that is sent."""
AT_ONCE, WAITING = 8, 24
"""Pictures that are worked on together, and that wait for that; who comes after them is asked to wait outside."""
LONGEST_S = 300
_SEARCHES_AT_ONCE, _SEARCHES_WAITING = 8, 64
_UNAVAILABLE = (
    DeviceUnavailableError, ModelUnavailableError, DecoderUnavailable, LakeError, LogUnavailable, OSError,
)  # fmt: skip
_IMAGE = row_model(
    "images", "path", "also_at", "bytes", "mode", "modified_at", "changed_at", "inode", "taken_at", "phash",
    "fingerprint",
)  # fmt: skip
_ABOUT: dict[Kind, str] = {
    "caption": "One factual sentence, the keywords that the model names, and the text that was read.",
    "tags": "The tags, with one calibrated probability each and everything that stands behind it.",
    "describe": "A catalogue text whose claims cite regions.",
    "regions": "Boxes, masks and captions of the parts of the picture.",
}
_MODELS = {kind: answer_model(f"{kind}_answer", _IMAGE, tables) for kind, tables in TARGETS.items()}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "the request is not as it should be"},
    404: {"description": "no such picture in the library"},
    413: {"description": f"the file is larger than {MOST_MIB} MiB"},
    415: {"description": "neither a picture nor JSON"},
    422: {"description": "the file is no picture that can be used; the sentence says why"},
    429: {"description": "more is waiting than can be answered soon; Retry-After says when to ask again"},
    501: {"description": "the tier of this home has no model for it"},
    502: {"description": "the model gave no answer"},
    503: {"description": "a model, the lake or the disk cannot be used now"},
    504: {"description": "it took too long"},
}


class InLibrary(BaseModel):
    """A picture of the library."""

    model_config = ConfigDict(extra="forbid")

    image: Name = Field(description="its path, as the table images has it, or its id")


class Search(BaseModel):
    """What is looked for."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(default="", max_length=1000)
    without: list[Name] = Field(default=[], max_length=20, description="words for what is not to be there")
    like: str = Field(default="", max_length=500, description="id of an image or a region of the library")
    box: Corners | None = Field(default=None, description="the part of a picture that is sent")
    text_weight: Share = Field(default=0.5, description="of the words, where there is a picture too")
    within: Literal["images", "regions", "both"] | None = None
    top: int = Field(default=20, ge=1, le=500)
    folders: list[Name] = Field(default=[], max_length=1000)
    tags: list[Name] = Field(
        default=[], max_length=100, description="concept ids or labels that all are to be there"
    )
    not_tags: list[Name] = Field(default=[], max_length=100)
    flags: list[Name] = Field(
        default=[], max_length=100, description="rules of the policy; `any` for whichever"
    )
    not_flags: list[Name] = Field(default=[], max_length=100)
    state: Literal["human", "machine", "rejected", "review"] | None = None
    since: date | None = None
    min_score: Share | None = None


class Found(BaseModel):
    """A picture, by what of it is most like what is looked for."""

    folder: str
    id: str
    path: str
    score: float
    cosines: list[float]
    region_id: str | None
    box: list[float] | None


class Asking:
    """Questions of one process: those that wait are answered together, by models that stay loaded."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.searcher, self._answerer = Searcher(workspace), Answerer(workspace)
        self.pictures: Batches[Question, Answer] = Batches(
            self._answerer.answer, most_at_once=AT_ONCE, most_waiting=WAITING
        )
        self.searches: Batches[tuple[Search, bytes | None], list[Hit]] = Batches(
            self._search, most_at_once=_SEARCHES_AT_ONCE, most_waiting=_SEARCHES_WAITING
        )

    def warm(self) -> None:
        """Load every model before the first question."""
        self._answerer.warm()

    def _search(self, asked: Sequence[tuple[Search, bytes | None]]) -> list[list[Hit] | Exception]:
        return [_or_error(self._found, one) for one in asked]

    def _found(self, asked: tuple[Search, bytes | None]) -> list[Hit]:
        wanted, content = asked
        image = None
        if content is not None:
            image = decode_isolated(BytesIO(content), self.workspace.limits).image
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in wanted
        }
        return self.searcher.search(Sought(image=image, **given))


def routes(asking: Asking) -> APIRouter:
    router = APIRouter(tags=["answers"])
    for kind in TARGETS:
        router.add_api_route(
            f"/{kind}",
            _endpoint(asking, kind),
            methods=["POST"],
            name=kind,
            operation_id=kind,
            description=_ABOUT[kind],
            response_model=_MODELS[kind],
            response_model_exclude_unset=True,
            responses=_REFUSALS,
            openapi_extra=_body(InLibrary),
        )

    @router.post("/search", operation_id="search", responses=_REFUSALS, openapi_extra=_body(Search))
    async def search(
        request: Request,
        text: Annotated[str, Query(max_length=1000, description="words beside a picture that is sent")] = "",
        top: Annotated[int, Query(ge=1, le=500)] = 20,
        within: Literal["images", "regions", "both"] | None = None,
    ) -> list[Found]:
        """Pictures, and parts of pictures, that are most like words, a picture or a part of one."""
        if _is_json(request):
            wanted, content = await _parsed(request, Search), None
        else:
            wanted = Search(text=text, top=top, within=within)
            content = await _sent(request, asking.searches)
        hits = await answered(asking.searches.ask((wanted, content)))
        return [Found.model_validate({**asdict(hit), "cosines": list(hit.cosines)}) for hit in hits]

    return router


def _endpoint(asking: Asking, kind: Kind) -> Callable[..., Awaitable[dict[str, Any]]]:
    async def describe(
        request: Request,
        lane: Annotated[Lane | None, Query(description="else as the lake or the picture has it")] = None,
    ) -> dict[str, Any]:
        question = await _asked(asking, request, kind, lane)
        answer = await answered(asking.pictures.ask(question))
        return {"image": answer.image, **answer.tables}

    async def other(request: Request) -> dict[str, Any]:
        return await describe(request)

    return describe if kind == "describe" else other


async def _asked(asking: Asking, request: Request, kind: Kind, lane: Lane | None) -> Question:
    if not _is_json(request):
        content = await _sent(request, asking.pictures)
        return Question(kind, content, _suffix(_media_type(request)), lane)
    wanted = await _parsed(request, InLibrary)
    if asking.pictures.is_full:
        raise Full
    content, suffix = await asyncio.to_thread(_of_library, asking.workspace, wanted.image)
    return Question(kind, content, suffix, lane)


def _of_library(workspace: Workspace, image: str) -> tuple[bytes, str]:
    """The file of a picture of the library; no other file is ever read."""
    try:
        picture = find_pictures(workspace, image)[0]
        file = location(picture.folder.root) / PurePosixPath(picture.path)
        content = file.read_bytes()
    except UnknownSubject as error:
        raise HTTPException(404, str(error)) from error
    except OSError as error:
        raise HTTPException(404, sentence_of(error)) from error
    if len(content) > MOST_MIB * 2**20:
        raise HTTPException(413, f"{picture.path} is larger than {MOST_MIB} MiB.")
    return content, PurePosixPath(picture.path).suffix


async def _sent(request: Request, batches: Batches[Any, Any]) -> bytes:
    """The picture that is the body of a request."""
    if batches.is_full:  # before megabytes are taken in
        raise Full
    content = await _body_of(request)
    if not content:
        raise HTTPException(400, 'Send the file of a picture, or JSON: {"image": "a path of the library"}.')
    return content


async def _body_of(request: Request) -> bytes:
    most = MOST_MIB * 2**20
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise HTTPException(413, f"The file is larger than {MOST_MIB} MiB: send a smaller copy.")
    return bytes(body)


async def _parsed(request: Request, model: type[Model]) -> Model:
    try:
        return model.model_validate_json(await _body_of(request))
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:10])
        raise HTTPException(422, told) from error


async def answered(answer: Awaitable[Told]) -> Told:
    """The answer, or what HTTP says instead. Raises Full."""
    try:
        return await asyncio.wait_for(answer, LONGEST_S)
    except NoAnswer as error:
        raise HTTPException(error.status, str(error)) from error
    except (SearchError, Reject) as error:
        raise HTTPException(422, str(error)) from error
    except TimeoutError as error:
        raise HTTPException(504, f"It took longer than {LONGEST_S} seconds: ask again later.") from error
    except _UNAVAILABLE as error:
        raise HTTPException(503, sentence_of(error)) from error


def _is_json(request: Request) -> bool:
    return _media_type(request) == "application/json"


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _suffix(media_type: str) -> str:
    """Of a file that is sent without a name: one of a picture, or nobody would look into it."""
    known = mimetypes.guess_extension(media_type) if media_type.startswith("image/") else None
    return known or ".jpg"


def _body(model: type[BaseModel]) -> dict[str, Any]:
    """What OpenAPI says of a body that is the file of a picture, or JSON."""
    file = {"schema": {"type": "string", "format": "binary"}}
    kinds = {"application/json": {"schema": model.model_json_schema()}, "image/*": file}
    return {"requestBody": {"required": True, "content": kinds | {"application/octet-stream": file}}}


def _or_error(work: Callable[[Asked], Told], asked: Asked) -> Told | Exception:
    try:
        return work(asked)
    except Exception as error:
        return error
