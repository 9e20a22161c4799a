"""Pages of others, and names of others, against every route of the web server: nothing is changed and nothing is told."""

from __future__ import annotations

import base64
import json
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from guarded_server import HOST, guarded_dagster, handshake, listening, routes_of, status

from resources.web.guard import TOKEN, Guard

if TYPE_CHECKING:
    from dagster import DagsterInstance

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
JSON = ("Content-Type", "application/json")
TOKEN_VALUE = "a-token-that-is-hard-to-guess"


def mutation(pool: str) -> str:
    """A mutation that needs no code location, and leaves a pool of that name."""
    return f'mutation {{ setConcurrencyLimit(concurrencyKey: "{pool}", limit: 3) }}'


@pytest.fixture(scope="module")
def dagster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Guard, DagsterInstance]]:
    with guarded_dagster(tmp_path_factory.mktemp("guard") / "home") as served:
        yield served


@pytest.fixture(scope="module")
def port(dagster: tuple[Guard, DagsterInstance]) -> Iterator[int]:
    with listening(dagster[0]) as port:
        yield port


def pools(dagster: tuple[Guard, DagsterInstance]) -> set[str]:
    return {limit.name for limit in dagster[1].event_log_storage.get_pool_limits()}


FOREIGN = {
    "no host": [],
    "a name that points here": [("Host", "evil.example")],
    "that name with the port": [("Host", "evil.example:{port}")],
    "a name that begins like ours": [("Host", "localhost.evil.example")],
    "a name that ends like ours": [("Host", "evil.localhost")],
    "a user before the host": [("Host", "evil@127.0.0.1")],
    "two hosts, ours first": [("Host", "{own}"), ("Host", "evil.example")],
    "two hosts, ours last": [("Host", "evil.example"), ("Host", "{own}")],
    "a proxy that says our host": [("Host", "evil.example"), ("X-Forwarded-Host", "{own}")],
    "a proxy that says so by the standard": [("Host", "evil.example"), ("Forwarded", "host={own}")],
    "a page of another port": [("Host", "{own}"), ("Origin", "http://127.0.0.1:1")],
    "a page of another name of this machine": [("Host", "{own}"), ("Origin", "http://localhost:{port}")],
    "a page of another site": [("Host", "{own}"), ("Origin", "https://evil.example")],
    "a page without an origin": [("Host", "{own}"), ("Origin", "null")],
    "two origins": [("Host", "{own}"), ("Origin", "http://{own}"), ("Origin", "https://evil.example")],
    "a picture of another site": [
        *[("Host", "{own}"), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")],
        ("Sec-Fetch-Dest", "image"),
    ],
    "a script of another port": [
        *[("Host", "{own}"), ("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "no-cors")],
        ("Sec-Fetch-Dest", "script"),
    ],
    "a frame of another site": [
        *[("Host", "{own}"), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")],
        ("Sec-Fetch-Dest", "iframe"),
    ],
}


def headers_of(attack: str, port: int) -> list[tuple[str, str]]:
    own = f"{HOST}:{port}"
    return [(name, value.format(own=own, port=port)) for name, value in FOREIGN[attack]]


@pytest.mark.parametrize("attack", FOREIGN)
def test_no_route_answers_pages_and_names_of_others(
    dagster: tuple[Guard, DagsterInstance], port: int, attack: str
) -> None:
    routes = routes_of(dagster[0].app)
    assert {("GET", "/graphql"), ("POST", "/graphql"), ("GET", "/vistag"), ("GET", "/")} <= set(routes)
    assert {path.split("/")[1] for _, path in routes} >= {"logs", "download_debug", "report_asset_check"}
    body = json.dumps({"query": mutation(attack)})
    headers = headers_of(attack, port)
    told = {route: status(port, *route, [*headers, JSON], body) for route in routes}
    assert set(told.values()) == {403}, told
    assert handshake(port, headers) in (400, 403)  # without a host it is no handshake
    assert attack not in pools(dagster)


@pytest.mark.parametrize(
    "kind",
    [
        *[
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/graphql",
        ],
        *["text/plain; a=application/json", "application/jsonp", "", None],
    ],
)
def test_no_route_takes_what_a_form_can_send(
    dagster: tuple[Guard, DagsterInstance], port: int, kind: str | None
) -> None:
    headers = [("Host", f"{HOST}:{port}"), *([] if kind is None else [("Content-Type", kind)])]
    question = mutation("form")
    for method, path in routes_of(dagster[0].app):
        if method == "POST":
            for body in (question, json.dumps({"query": question})):
                assert status(port, "POST", f"{path}?query={quote(question)}", headers, body) == 415
    assert "form" not in pools(dagster)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_graphql_is_asked_by_post_only(
    dagster: tuple[Guard, DagsterInstance], port: int, method: str
) -> None:
    for path in ("/graphql", "/graphql/", "/%67raphql"):
        for accept in ("*/*", "text/html"):
            headers = [("Host", f"{HOST}:{port}"), ("Accept", accept), JSON]
            assert status(port, method, f"{path}?query={quote(mutation('get'))}", headers) == 405
    assert "get" not in pools(dagster)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
@pytest.mark.parametrize("of_page", [True, False])
def test_own_pages_and_programs_pass(
    dagster: tuple[Guard, DagsterInstance], port: int, name: str, of_page: bool
) -> None:
    host = f"{name}:4000"  # the near end of a tunnel
    headers = [("Host", host)]
    if of_page:
        headers += [("Origin", f"http://{host}"), ("Sec-Fetch-Site", "same-origin")]
    assert status(port, "GET", "/server_info", headers) == 200
    assert handshake(port, headers) == 101
    pool = f"{name} {of_page}"
    body = json.dumps({"query": mutation(pool)})
    kind = ("content-type", "application/json; charset=utf-8")
    assert status(port, "POST", "/graphql", [*headers, kind], body) == 200
    assert pool in pools(dagster)


def test_a_link_from_another_site_opens_a_page(port: int) -> None:
    headers = [
        *[("Host", f"{HOST}:{port}"), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")],
        ("Sec-Fetch-Dest", "document"),
    ]
    assert status(port, "GET", "/assets", headers) == 200
    assert status(port, "POST", "/graphql", [*headers, JSON], json.dumps({"query": "{ version }"})) == 403


def test_a_name_that_was_allowed_is_asked_with_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, TOKEN_VALUE)
    with guarded_dagster(tmp_path / "home", ["Photos.example"]) as (guard, _), listening(guard) as port:
        basic = base64.b64encode(f"anyone:{TOKEN_VALUE}".encode()).decode()
        wrong = base64.b64encode(f"{TOKEN_VALUE}:wrong".encode()).decode()
        for host in ("photos.example", f"127.0.0.1:{port}"):
            for brought, answer in (
                (None, 401),
                ("Bearer wrong", 401),
                (f"Basic {wrong}", 401),
                ("Basic ?", 401),
                (TOKEN_VALUE, 401),
                (f"Bearer {TOKEN_VALUE}", 200),
                (f"Basic {basic}", 200),
            ):
                headers = [("Host", host), *([("Authorization", brought)] if brought else [])]
                assert status(port, "GET", "/server_info", headers) == answer
                assert handshake(port, headers) == (101 if answer == 200 else 403)
        other = [("Host", "evil.example"), ("Authorization", f"Bearer {TOKEN_VALUE}")]
        assert status(port, "GET", "/server_info", other) == 403


# A real browser

ATTACK = """<!doctype html><title>waiting</title><body><script>
const [target, query, pool] = %s;
const url = `${target}/graphql?query=${encodeURIComponent(query)}`;
const json = JSON.stringify({query}), said = {};
const settled = promise => promise.then(() => "answered", error => "failed");
async function attack() {
  await new Promise(done => { const image = new Image(); image.onload = image.onerror = done; image.src = url; });
  for (const method of ["GET", "POST"]) await settled(fetch(url, {method, mode: "no-cors"}));
  for (const type of ["text/plain", "application/x-www-form-urlencoded"])
    await settled(fetch(url, {method: "POST", mode: "no-cors", headers: {"content-type": type}, body: json}));
  const headers = {"content-type": "application/json"};
  said.json = await settled(fetch(`${target}/graphql`, {method: "POST", headers, body: json}));
  said.read = await settled(fetch(`${target}/server_info`));
  await new Promise(done => {
    document.body.insertAdjacentHTML("beforeend", `<iframe name=hidden></iframe>
      <form method=post enctype=text/plain target=hidden><input name='{"query":"' value='"}'></form>`);
    const form = document.querySelector("form");
    form.action = url;
    document.querySelector("iframe").onload = done;
    form.submit();
  });
  said.socket = await new Promise(done => {
    const socket = new WebSocket(target.replace("http", "ws") + "/graphql", "graphql-ws");
    socket.onopen = () => done("open");
    socket.onerror = () => done("refused");
  });
  const frame = document.body.appendChild(document.createElement("iframe"));
  await new Promise(done => { frame.onload = done; frame.src = target + "/assets"; });
  document.title = JSON.stringify(said);
}
attack();
</script>"""


@pytest.fixture
def foreign_pages() -> Iterator[dict[str, str]]:
    """Pages by their path, on another port; `""` is where they are."""
    pages: dict[str, str] = {}

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(pages.get(self.path, "").encode())

        def log_message(self, *_: object) -> None: ...

    with HTTPServer((HOST, 0), Pages) as server:
        pages[""] = f"http://{HOST}:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield pages
        server.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs a chromium on the PATH, or $CHROMIUM")
def test_a_page_that_is_open_in_a_browser_drives_nothing_and_the_ui_works(
    dagster: tuple[Guard, DagsterInstance], port: int, foreign_pages: dict[str, str]
) -> None:
    from playwright.sync_api import sync_playwright

    with listening(dagster[0].app) as unguarded, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP evil.example 127.0.0.1"],
        )
        said, frames = {}, {}
        for name, at in (("guarded", port), ("unguarded", unguarded)):
            target = f"http://{HOST}:{at}"
            foreign_pages[f"/{name}"] = ATTACK % json.dumps([target, mutation(name), name])
            page = browser.new_page()
            page.set_default_timeout(120_000)
            page.goto(f"{foreign_pages['']}/{name}")
            page.wait_for_function("document.title !== 'waiting'")
            said[name] = json.loads(page.title())
            frames[name] = [frame.content() for frame in page.frames if "/assets" in frame.url]
        assert said["guarded"] == {"json": "failed", "read": "failed", "socket": "refused"}
        assert "guarded" not in pools(dagster)
        assert not any("Dagster" in content for content in frames["guarded"])
        # what the attack is worth: Dagster alone does as it is told
        assert said["unguarded"]["socket"] == "open"
        assert "unguarded" in pools(dagster)
        assert any("Dagster" in content for content in frames["unguarded"])

        page = browser.new_page()
        answer = page.goto(f"http://evil.example:{port}/assets")
        assert answer is not None
        assert answer.status == 403
        answer = page.goto(f"http://evil.example:{unguarded}/assets")
        assert answer is not None
        assert answer.status == 200

        page = browser.new_page(base_url=f"http://localhost:{port}")
        with page.expect_websocket() as opened:
            page.goto("/assets")
        frame = opened.value.wait_for_event("framereceived")
        assert "connection_ack" in str(frame)
        page.get_by_role("link", name="Runs").first.wait_for()
        browser.close()
