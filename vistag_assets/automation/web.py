"""Dagster's web server on the instance of a home, behind the guard, with the pages of the home beside it.

`vistag dev` and `vistag web` start it as `python -m vistag_assets.automation.web`. It is the program
`dagster-webserver` but for the guard and those pages, which that has no place for.
"""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

import uvicorn
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._utils.log import configure_loggers
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from resources.home import Home
from resources.metadata import PAGES
from resources.object_store import StoreError, is_plain
from resources.previews import FOLDER as PREVIEWS
from resources.previews import preview_page
from resources.tables import PER_FOLDER_TABLES
from resources.text import one_line
from resources.web.guard import Guard
from vistag_assets.automation.dev import CODE_LOCATION

_POLL_MS = 2000
_STATEMENT_TIMEOUT_MS, _POOL_RECYCLE_S, _POOL_OVERFLOW = 15_000, 3600, 20
"""As `dagster-webserver` has them."""
_PAGE_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
"""Of the report and the gallery, beside what they say themselves: they ask nothing of Dagster."""
_PAGE_HEADERS = {"Content-Security-Policy": _PAGE_POLICY, "Cache-Control": "no-cache"}


class _Pages(StaticFiles):
    """Files of the home; they change with each run."""

    def file_response(self, *arguments: object, **named: object) -> Response:
        response = super().file_response(*arguments, **named)  # type: ignore[arg-type]
        response.headers.update(_PAGE_HEADERS)
        return response


class _Webserver(DagsterWebserver):
    """Dagster's, which takes a route that it does not know for one of its UI."""

    def build_routes(self) -> list[BaseRoute]:
        pages = _Pages(directory=Home.resolve().reports_dir, html=True, check_dir=False)
        previews = Route(f"{PAGES}/{PREVIEWS}/{{table}}/{{page}}", _preview, name="previews")
        return [previews, Mount(PAGES, pages, name="pages"), *super().build_routes()]


def _preview(request: Request) -> Response:
    """The preview of a folder's table, which may lie on the store of the lake."""
    table, (key, _, suffix) = request.path_params["table"], request.path_params["page"].rpartition(".")
    if table not in PER_FOLDER_TABLES or suffix != "html" or not is_plain(key):
        return Response(status_code=404)
    try:
        page = preview_page(Home.resolve(), table, key).read_bytes()
    except StoreError as error:
        return Response(one_line(error), status_code=503, media_type="text/plain")
    except (OSError, ValueError):
        return Response(status_code=404)
    return Response(page, media_type="text/html", headers=_PAGE_HEADERS)


def guarded_app(context: WorkspaceProcessContext, names: list[str]) -> Guard:
    """The web server as it answers: `names`, the hosts that it is asked by beside those of this machine."""
    return Guard(_Webserver(context, live_data_poll_rate=_POLL_MS).create_asgi_app(), names)


def main() -> None:
    """Serve until SIGINT or SIGTERM. The instance is that of $DAGSTER_HOME, the pages are those of $VISTAG_HOME."""
    options = _options()
    configure_loggers(log_level="INFO")
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn has its own while it serves
        signal.signal(number, signal.default_int_handler)
    try:
        with (
            DagsterInstance.get() as instance,
            WorkspaceProcessContext(
                instance,
                version=__version__,
                workspace_load_target=ModuleTarget(
                    module_name=CODE_LOCATION,
                    attribute=None,
                    working_directory=str(Path.cwd()),
                    location_name=None,
                ),
            ) as context,
        ):
            instance.optimize_for_webserver(_STATEMENT_TIMEOUT_MS, _POOL_RECYCLE_S, _POOL_OVERFLOW)
            # no proxy is believed: what it forwards is not what the browser asked
            uvicorn.run(
                guarded_app(context, options.allow_host),
                host=options.host,
                port=options.port,
                log_level="warning",
                proxy_headers=False,
            )
    except KeyboardInterrupt:
        pass


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, prog=Path(__file__).stem)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--allow-host", action="append", default=[])
    return parser.parse_args()


if __name__ == "__main__":
    main()
