"""The guard in front of whatever listens: by which name it is asked, by which page, in which form, and with which key.

Any page that a browser on this machine has open can send requests to ports of this machine, and by a name of its own
that it lets point here (DNS rebinding) it can read the answers. So a request that could come from such a page is
refused before the application sees it. Without imports but of the standard library: vLLM, in an environment of its
own, has it too.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN = "VISTAG_WEB_TOKEN"
"""Environment variable: what each request has to bring, where it is set."""
LOOPBACK = frozenset(["localhost", "127.0.0.1", "[::1]"])
"""The names by which only this machine is reached."""

_ANY = frozenset(["0.0.0.0", "::"])
"""Addresses that are all addresses of this machine, and no name that it is asked by."""
_TOKEN_LETTERS = 16

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/@\[\]]+)(:\d{1,5})?")
_JSON = "application/json"
_OF_FORMS = frozenset(["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
_POST_ONLY = frozenset(["/graphql"])
_HEADERS = {
    b"content-security-policy": b"frame-ancestors 'none'",  # beside the application's own: both hold
    b"x-frame-options": b"DENY",
    b"x-content-type-options": b"nosniff",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not passed on: an HTTP status, and what its sender is told."""

    status: int
    sentence: str


class NoToken(RuntimeError):
    """Others than this machine could ask, and nothing says who may."""


class Guard:
    """ASGI middleware that passes on what may come from this application's own pages or from a program of the user.

    A request passes if
    - its one `Host` is a name of this machine or one of `names`, with any port (no forwarded header counts);
    - its `Origin`, if it has one, is that host, and its `Sec-Fetch-Site`, if it has one, is not another site, but
      for a link that is opened as a page of its own; for WebSockets too;
    - it is a GET or HEAD, which /graphql does not take, or a POST of `application/json` or of what else is taken,
      which no page can send to another site unasked;
    - it brings $VISTAG_WEB_TOKEN where that is set, as `Authorization: Bearer` or as the password of `Basic`.
    Answers are shown in no frame and given to no other site.
    """

    def __init__(
        self,
        app: App,
        names: Collection[str] = (),
        *,
        command: str = "vistag web",
        takes: Collection[str] = (),
    ) -> None:
        """names: hosts without their port, as they stand in an address (IPv6 in brackets). command: what starts the
        server. takes: media types that a POST may have beside JSON; none of those that a form can send.
        """
        if unsafe := _OF_FORMS.intersection(takes):
            raise ValueError(f"pages of other sites can send {', '.join(sorted(unsafe))} unasked")
        self.app, self.command, self.takes = app, command, (_JSON, *takes)
        self.names = LOOPBACK | {name.lower() for name in names}
        self.token = os.environ.get(TOKEN) or None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif refusal := self.refusal(scope):
            await _refuse(scope, send, refusal)
        else:
            await self.app(scope, receive, _with_headers(send))

    def refusal(self, scope: Scope) -> Refusal | None:
        """Why a request (an ASGI scope) is refused; None where it passes."""
        headers: dict[str, list[str]] = defaultdict(list)
        for name, value in scope["headers"]:
            headers[name.decode("latin-1").lower()].append(value.decode("latin-1").strip())
        return (
            self._wrong_host(headers)
            or _foreign_page(scope, headers)
            or (_wrong_form(scope, headers, self.takes) if scope["type"] == "http" else None)
            or self._no_token(headers)
        )

    def _wrong_host(self, headers: Mapping[str, list[str]]) -> Refusal | None:
        hosts = headers["host"]
        asked = _HOST.fullmatch(hosts[0].lower()) if len(hosts) == 1 else None
        if asked and asked[1] in self.names:
            return None
        return Refusal(
            403,
            f"This server is not asked by that name. Name it when you start it: {self.command} --allow-host NAME",
        )

    def _no_token(self, headers: Mapping[str, list[str]]) -> Refusal | None:
        if self.token is None or any(
            hmac.compare_digest(given.encode(), self.token.encode())
            for given in map(_token_in, headers["authorization"])
        ):
            return None
        return Refusal(401, f"This server wants its token (${TOKEN}), as a password with any name.")


def require_token_for(host: str, names: Iterable[str]) -> list[str]:
    """The names that a server on an address is asked by. Raises NoToken if others than this machine could ask."""
    asked = [*names, *([] if host in _ANY else [f"[{host}]" if ":" in host else host])]
    if (host in _ANY or not LOOPBACK.issuperset(asked)) and len(os.environ.get(TOKEN, "")) < _TOKEN_LETTERS:
        raise NoToken(
            f"Others than this machine could ask, and there is no login: set {TOKEN} to a word of at least "
            f"{_TOKEN_LETTERS} letters that is hard to guess (openssl rand -hex 24). docs/deploy.md says how it is used."
        )
    return asked


def _foreign_page(scope: Scope, headers: Mapping[str, list[str]]) -> Refusal | None:
    host = headers["host"][0].lower()
    own = all(origin.lower() in (f"http://{host}", f"https://{host}") for origin in headers["origin"])
    sites = set(headers["sec-fetch-site"])
    if own and (sites <= {"same-origin", "none"} or _is_link(scope, headers)):
        return None
    return Refusal(403, "This server answers its own pages, not those of another site.")


def _is_link(scope: Scope, headers: Mapping[str, list[str]]) -> bool:
    """Whether a page is opened on its own, by a link elsewhere: its opener learns nothing of it."""
    kind = (headers["sec-fetch-mode"], headers["sec-fetch-dest"])
    return scope["type"] == "http" and scope["method"] == "GET" and kind == (["navigate"], ["document"])


def _wrong_form(scope: Scope, headers: Mapping[str, list[str]], takes: Collection[str]) -> Refusal | None:
    if scope["method"] in ("GET", "HEAD"):
        post_only = scope["path"].rstrip("/") in _POST_ONLY
        return Refusal(405, "Ask this with POST.") if post_only else None
    if scope["method"] != "POST":
        return Refusal(405, "This server takes GET, HEAD and POST.")
    kinds = [kind.split(";")[0].strip().lower() for kind in headers["content-type"]]
    taken = len(kinds) == 1 and not {kinds[0], f"{kinds[0].partition('/')[0]}/*"}.isdisjoint(takes)
    return None if taken else Refusal(415, f"A POST here is {' or '.join(takes)}.")


def _token_in(authorization: str) -> str:
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


async def _refuse(scope: Scope, send: Send, refusal: Refusal) -> None:
    if scope["type"] == "websocket":  # before it is accepted: the browser is told 403
        await send({"type": "websocket.close", "code": 1008, "reason": refusal.sentence})
        return
    body = f"{refusal.sentence}\n".encode()
    headers = [
        *_HEADERS.items(),
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        *([(b"www-authenticate", b'Basic realm="vistag"')] if refusal.status == 401 else []),
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [(name.lower(), value) for name, value in message.get("headers", ())]
            has = {name for name, _ in own} - {b"content-security-policy"}
            message["headers"] = [*own, *(item for item in _HEADERS.items() if item[0] not in has)]
        await send(message)

    return send_with_headers
