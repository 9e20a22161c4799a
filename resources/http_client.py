"""HTTP to servers that are not believed: bounded in bytes and in time, sent nowhere else, its JSON read strictly.

All that vistag asks over HTTP by itself goes through here: served models, the DINO-X API, whether a server is there.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import math
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import jiter

if TYPE_CHECKING:
    import httpx2

MAX_REPLY_BYTES = 16 * 2**20
MAX_DEPTH = 64
MAX_DIGITS = 40
"""of a number in JSON without a point"""
CONNECT_S = 10.0
LONGEST_WAIT_S = 60.0
"""that a server may ask for before it is asked again"""
_MAX_REASON = 300

# No name and password, no query, no backslash, no letter that parsers read differently.
_ADDRESS = re.compile(r"(https?)://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/%-]*)?")
_WAIT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
_NESTED = (dict, list)
_OF_JSON = {"Content-Type": "application/json"}
_DIGITS_ALIKE = bytes.maketrans(b"123456789E", b"000000000e")


class HttpError(RuntimeError):
    """No usable reply; the message says why, in one printable line."""

    def __init__(self, reason: str) -> None:
        super().__init__(excerpt(reason))


class NoConnectionError(HttpError):
    """The server cannot be reached, or breaks off."""


class NoReplyInTimeError(HttpError):
    """There was no whole reply in the time for one."""


class OddReplyError(HttpError):
    """A reply that is too large, or not what it says it is."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply, as it came."""

    status: int
    phrase: str
    headers: Mapping[str, str]
    """by lower-case name"""
    content: bytes

    @property
    def retry_after_s(self) -> float:
        """How long the server wants not to be asked, 0 where it says nothing, LONGEST_WAIT_S at most."""
        return retry_after_s(self.headers)

    @property
    def elsewhere(self) -> str | None:
        """What is said of a reply that sends us to another address, where neither keys nor pictures are sent."""
        if not 300 <= self.status < 400:
            return None
        return f"{self.status}: it sends us to another address, which is not followed; write the one that answers itself"

    def json(self) -> Any:
        """What the reply holds. Raises OddReplyError."""
        return strict_json(self.content)


def retry_after_s(headers: Mapping[str, str]) -> float:
    """How long the server of a reply wants not to be asked, 0 where it says nothing, LONGEST_WAIT_S at most."""
    told = headers.get("retry-after", "")
    return min(float(told), LONGEST_WAIT_S) if _WAIT.fullmatch(told) else 0.0


def require_address(url: str, *, insecure: bool = False) -> str:
    """`url` without a slash at its end. Raises ValueError, which does not repeat it: it may hold a password.

    Plain http is for this machine, and for others where `insecure` says that keys and pictures may be read on the way.
    """
    found = _ADDRESS.fullmatch(url)
    if found is None:
        raise ValueError(
            "needs the form https://host:port/path, without a name or password, question mark or blank; keys are read "
            "from the environment only"
        )
    _ = urlsplit(url).port  # raises ValueError where there is no such port
    if found[1] == "http" and not insecure and not is_this_machine(url):
        raise ValueError(
            "needs https, or keys and pictures can be read on the way; plain http is for this machine (127.0.0.1)"
        )
    return url.rstrip("/")


def is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def client_for(url: str) -> httpx2.AsyncClient:
    """To ask one server. It follows no redirect, keeps no cookies, and asks no proxy for this machine.

    Raises NoConnectionError where the environment names a proxy that cannot be used.
    """
    import httpx2

    # certificates take longer to read than all else of a client, and nothing is believed where none can be needed
    plain = url.startswith("http://") and is_this_machine(url)
    try:
        return httpx2.AsyncClient(
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else True,
            follow_redirects=False,
            trust_env=not is_this_machine(url),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "vistag"},
            limits=httpx2.Limits(max_connections=None),
        )
    except (ImportError, ValueError, OSError, httpx2.InvalidURL) as error:
        raise NoConnectionError(
            f"the proxy or the certificates of the environment cannot be used: {error}"
        ) from error


async def exchange(
    client: httpx2.AsyncClient,
    method: str,
    url: str,
    *,
    seconds: float,
    headers: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | bytes | None = None,
    sent: Callable[[], None] = lambda: None,
) -> Reply:
    """One question, `body` as JSON or JSON itself, and its whole reply within `seconds`, of any status. Raises HttpError.

    sent: called as `body` is handed to the connection.
    """
    import httpx2

    json_text = json.dumps(body).encode() if isinstance(body, Mapping) else body
    content = None if json_text is None else _telling(json_text, sent)
    kind = {} if json_text is None else _OF_JSON | {"Content-Length": str(len(json_text))}
    limit = httpx2.Timeout(seconds, connect=min(CONNECT_S, seconds))
    try:
        async with (
            asyncio.timeout(seconds),
            client.stream(
                method, url, content=content, headers={**kind, **(headers or {})}, timeout=limit
            ) as reply,
        ):
            told = {name.lower(): value for name, value in reply.headers.items()}
            return Reply(reply.status_code, reply.reason_phrase, told, await _whole(reply))
    except (TimeoutError, httpx2.TimeoutException) as error:
        raise NoReplyInTimeError(f"timed out after {seconds:g} s") from error
    except httpx2.RemoteProtocolError as error:
        raise NoConnectionError(f"the reply is no HTTP or breaks off ({error})") from error
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError, ValueError) as error:
        raise NoConnectionError(f"no connection ({error or type(error).__name__})") from error


def ask(
    method: str,
    url: str,
    *,
    seconds: float,
    headers: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
) -> Reply:
    """`exchange` on a connection of its own, for callers that ask one thing at a time."""

    async def once() -> Reply:
        async with client_for(url) as client:
            return await exchange(client, method, url, seconds=seconds, headers=headers, body=body)

    return asyncio.run(once())


def answers(url: str, seconds: float = 3.0) -> bool:
    """Whether a server says anything at all in time."""
    try:
        ask("HEAD", url, seconds=seconds)
    except OddReplyError:
        return True
    except HttpError:
        return False
    return True


async def _telling(content: bytes, sent: Callable[[], None]) -> AsyncIterator[bytes]:
    sent()
    yield content


async def _whole(reply: httpx2.Response) -> bytes:
    coding = reply.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):  # a few kilobytes of it may be gigabytes
        raise OddReplyError(f"it is compressed ({coding}), which was not asked for")
    content = bytearray()
    async for part in reply.aiter_raw():
        content += part
        if len(content) > MAX_REPLY_BYTES:
            raise OddReplyError(f"it is longer than {MAX_REPLY_BYTES // 2**20} MiB")
    return bytes(content)


def strict_json(content: bytes) -> Any:
    """UTF-8 JSON of finite numbers, real letters, keys that stand once and lists in lists to MAX_DEPTH.

    Raises OddReplyError.
    """
    try:
        value = jiter.from_json(content, allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError as error:
        raise OddReplyError(f"it is no JSON ({error})") from error
    _require_bounded(value, numbers=_may_hold_large_numbers(content))
    return value


def _may_hold_large_numbers(content: bytes) -> bool:
    """Whether it is worth while to look at each number, which takes longer than reading them."""
    alike = content.translate(_DIGITS_ALIKE)
    return any(part in alike for part in (b"0" * (MAX_DIGITS + 1), b"0e000", b"0e+000"))


def _require_bounded(value: Any, *, numbers: bool) -> None:
    """Level by level, so that depth costs no stack."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        if numbers and any(map(_is_too_large, level)):
            raise OddReplyError("it is no JSON (a number that is too large)")
        level = [
            inner
            for outer in level
            if type(outer) in _NESTED
            for inner in (outer if type(outer) is list else outer.values())
        ]
        if not level:
            return
    raise OddReplyError("it is nested too deeply")


def _is_too_large(value: Any) -> bool:
    if type(value) is int:
        return abs(value) >= 10**MAX_DIGITS
    return type(value) is float and not math.isfinite(value)


def excerpt(text: str) -> str:
    """What a server said, cut, as one line that a terminal and a table can hold."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * _MAX_REASON])
    return " ".join(plain.split())[:_MAX_REASON]
