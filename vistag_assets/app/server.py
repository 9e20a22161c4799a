"""The application as it answers, and the process that serves it."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteException

from resources.decisions import LogUnavailable
from resources.home import Home
from resources.lake.leases import LeaseError
from resources.text import one_line
from resources.web.guard import Guard, require_token_for
from resources.workspace import Workspace, open_workspace
from vistag_assets.app import decisions, endpoints, pages, review, searching
from vistag_assets.app.batches import Full
from vistag_assets.app.catalogue import Catalogue
from vistag_assets.automation.dev import require_free
from vistag_assets.automation.processes import tell_ready

COMMAND = "vistag app"
PICTURES = ("application/octet-stream", "image/*")
"""What a POST may have beside JSON: the file of a picture."""
_STATIC = Path(__file__).parent / "static"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'"
)
_RETRY_SECONDS = 2


class Refusal(BaseModel):
    """Why there is no answer."""

    detail: str


def make_app(workspace: Workspace, *, warm: bool = False) -> FastAPI:
    """The application over a home, without the guard that it is served behind; `warm`: with its models loaded."""
    app = FastAPI(
        title="vistag",
        summary="What vistag says of pictures, and what people say of that.",
        version="1",
        docs_url=None,  # its page comes from another server
        redoc_url=None,
        responses={"4XX": {"model": Refusal, "description": "why not, and what to do"}},
    )
    catalogue = Catalogue(workspace)
    catalogue.folders()  # opens what the first page would wait for
    asking = endpoints.Asking(workspace)
    if warm:
        asking.warm()
    app.include_router(endpoints.routes(asking))
    app.include_router(searching.routes(asking))
    app.include_router(pages.routes(workspace, catalogue))
    app.include_router(review.routes(workspace, catalogue))
    app.include_router(decisions.routes(decisions.Deciding(workspace, catalogue)))

    @app.get("/health", tags=["service"])
    def health() -> dict[str, str]:
        """Whether requests are answered."""
        return {"status": "ok"}

    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    app.middleware("http")(_with_policy)
    app.exception_handler(StarletteException)(_tell_in_their_form)
    app.exception_handler(RequestValidationError)(_tell_what_is_wrong)
    app.exception_handler(Full)(_tell_to_wait)
    app.exception_handler(LogUnavailable)(_tell_unavailable)
    app.exception_handler(LeaseError)(_tell_unavailable)
    app.exception_handler(OSError)(_tell_unavailable)
    return app


def guarded_app(home: Home, names: Sequence[str] = (), *, warm: bool = False) -> Guard:
    """As it is served: `names`, the hosts that it is asked by beside those of this machine."""
    return Guard(make_app(open_workspace(home), warm=warm), names, command=COMMAND, takes=PICTURES)


def serve(
    home: Home, host: str, port: int, names: Sequence[str], on_ready: Callable[[str], None], *, warm: bool
) -> None:
    """Answer until SIGTERM or Ctrl-C; `warm`: not before all models are loaded.

    Raises DevError where the port is taken, NoToken, SettingsError, TierError, LakeError, what keeps a model from being
    loaded.
    """
    require_free(port)
    names = require_token_for(host, names)
    # no proxy is believed: what it forwards is not what the browser asked
    config = uvicorn.Config(
        guarded_app(home, names, warm=warm), host=host, port=port, log_level="warning", proxy_headers=False
    )
    _Server(config, on_ready).run()


class _Server(uvicorn.Server):
    """One that says when it answers."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[str], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            tell_ready()
            host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
            self._on_ready(f"http://{host}:{self.config.port}")


async def _with_policy(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await answer(request)
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _told(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"detail": one_line(sentence)}, status)


async def _tell_in_their_form(request: Request, error: Exception) -> Response:
    """People get a page."""
    assert isinstance(error, StarletteException)
    return pages.told_page(request, error.status_code, error.detail) or _told(error.status_code, error.detail)


async def _tell_what_is_wrong(request: Request, error: Exception) -> Response:
    """Without what was sent, which may be anything."""
    assert isinstance(error, RequestValidationError)
    sentences = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    return _told(422, "; ".join(sentences[:10]))


async def _tell_to_wait(request: Request, error: Exception) -> Response:
    response = _told(429, "More is waiting than can be answered soon: ask again later.")
    response.headers["Retry-After"] = str(_RETRY_SECONDS)
    return response


async def _tell_unavailable(request: Request, error: Exception) -> Response:
    from vistag_assets.failures import sentence_of

    return _told(503, sentence_of(error))
