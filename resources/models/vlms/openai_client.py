"""A chat model behind a server that speaks OpenAI's protocol: vLLM, LMDeploy, TensorRT-LLM (docs/serving.md)."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count, starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from resources.fingerprint import fingerprint
from resources.http_client import (
    HttpError,
    NoConnectionError,
    NoReplyInTimeError,
    OddReplyError,
    Reply,
    excerpt,
    exchange,
    is_this_machine,
)
from resources.models.checkpoints import Device, ModelUnavailableError, checkpoint_directory, content_hash
from resources.models.registry import registry
from resources.models.vlms.answers import ENTROPY_TOP, Answer, Pictures, Schema, Unanswered
from resources.models.vlms.background import gathered, in_background
from resources.models.vlms.completions import UnusableAnswerError, read_answer
from resources.models.vlms.dialects import dialect_of
from resources.models.vlms.line import Line, line_to
from resources.models.vlms.png import png_of
from resources.models.vlms.spec import API_KEY, VlmSpec
from resources.secrets import without_secret

if TYPE_CHECKING:
    import httpx2

CODE_VERSION = "1"

_BUSY = frozenset({429, 503})
"""asked again for `busy_s`, and less is asked at a time"""
_AGAIN = frozenset({408, 409}) | _BUSY
"""and all of 500 and above: asked again, `retries` times"""
_PAUSE_S = 0.5
"""before the second attempt, at most; then twice, four times, ... as long, unless the server says how long"""
_LONGEST_PAUSE_S = 8.0
_PICTURE = "<picture>"
"""Where the data URI of a picture goes in a request"""
_PLAIN = Image.new("RGB", (64, 64), (128, 128, 128))

# What chat templates of the known families write and text out of a picture may not. The tokenizer that knows
# them exactly is the server's.
_CONTROL_TOKENS = re.compile(
    r"<[^<>\s]{1,64}>|\[/?(?:INST|IMG|IMG_BREAK|IMG_END|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]"
)


class ServerUnavailableError(ModelUnavailableError):
    """A server that does not answer at all; the message names it and says what to do."""


class OpenAiVlm:
    """A served chat model. Making one needs no server."""

    def __init__(self, spec: VlmSpec, device: Device) -> None:
        self.spec = spec
        self.device = device
        self._dialect = dialect_of(spec.server.program)
        system = registry().family(spec.role, spec.family).system
        self._before = [{"role": "system", "content": system}] if system else []
        self.fingerprint = fingerprint(
            code=CODE_VERSION,
            engine=spec.engine,
            weights=_weights(spec),
            dtype=spec.dtype,
            quantisation=spec.server.quantisation,
        )

    def load(self) -> None:
        """Have the server answer once rather than at the first image. Raises ServerUnavailableError."""
        in_background(self._load())

    def answer(
        self, images: Pictures, prompts: Sequence[str], *, max_tokens: int, schema: Schema | None = None
    ) -> list[Answer | Unanswered]:
        """One answer an image, in their order; `concurrency` requests at a time, also of calls of several threads.

        An image that the server fails at is Unanswered, where it still answers for a plain picture. Otherwise
        it raises ServerUnavailableError.
        """
        return in_background(self._answer_all(images, prompts, self._options(max_tokens, schema)))

    @property
    def _line(self) -> Line:
        return line_to(self.spec.server.url, self.spec.server.concurrency)

    async def _load(self) -> None:
        async with self._line.client() as client:
            await self._require_server(client, self._options(1, None))

    async def _answer_all(
        self, images: Pictures, prompts: Sequence[str], options: Mapping[str, Any]
    ) -> list[Answer | Unanswered]:
        encoded, line = _Encoded(images, self._data_uri), self._line
        async with line.client() as client:

            async def in_turn(image: Image.Image, prompt: str) -> Answer | Unanswered:
                async with line.places:
                    await line.pace.calm()
                    body = self._body(await encoded.take(image), prompt, options)
                    try:
                        reply = await self._reply(client, body, self.spec.server.retries)
                        async with line.reading:
                            await asyncio.sleep(0)  # for what came at the same time
                            await line.pace.calm()
                            return self._read(reply, options)
                    except (HttpError, UnusableAnswerError) as error:
                        reason = _reason(error)
                await self._require_server(client, options)
                return Unanswered(reason)

            return await gathered(starmap(in_turn, zip(images, prompts, strict=True)))

    async def _require_server(self, client: httpx2.AsyncClient, options: Mapping[str, Any]) -> None:
        """Whether it is the server that fails is told by a question that it can answer."""
        options = {**options, "max_tokens": 1}
        try:
            self._read(
                await self._reply(client, self._body(self._data_uri(_PLAIN), "?", options), 1), options
            )
        except (HttpError, UnusableAnswerError) as error:
            reason = _reason(error)
        else:
            return
        # Not from the error: what the server wrote may repeat the key, and would stand in Dagster's log.
        raise ServerUnavailableError(self._what_to_do(reason))

    def _data_uri(self, image: Image.Image) -> bytes:
        """Lossless, so that the model sees what it would see in this process. Packed for a way where bytes cost time."""
        content = png_of(image, packed=not is_this_machine(self.spec.server.url))
        return b"data:image/png;base64," + base64.b64encode(content)

    def _body(self, picture: bytes, prompt: str, options: Mapping[str, Any]) -> bytes:
        """A request as JSON. The picture, which is nearly all of it, is put in as it is."""
        # the picture first: what a server keeps of it serves all that is asked of it
        shown = {"type": "image_url", "image_url": {"url": _PICTURE}}
        text = {"type": "text", "text": _CONTROL_TOKENS.sub(" ", prompt)}
        messages = [*self._before, {"role": "user", "content": [shown, text]}]
        body = json.dumps({"messages": messages, "model": self.spec.served_name, **options}).encode()
        before, _, after = body.partition(_PICTURE.encode())
        return b"".join((before, picture, after))

    def _read(self, reply: Reply, options: Mapping[str, Any]) -> Answer:
        """Raises UnusableAnswerError."""
        if not 200 <= reply.status < 300:
            raise UnusableAnswerError(_refusal(reply))
        try:
            with _uncollected():
                told = self._dialect.understood(reply.json())
                return read_answer(told, max_tokens=options["max_tokens"])
        except OddReplyError as error:
            raise UnusableAnswerError(f"it is no chat completion: {error}") from None

    async def _reply(self, client: httpx2.AsyncClient, body: bytes, retries: int) -> Reply:
        """The first reply of a server that is not too busy, or the last one. Raises HttpError."""
        server = self.spec.server
        key = os.environ.get(API_KEY)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        pace, begun_s, attempts = self._line.pace, time.monotonic(), 0
        for paused in count():
            wait_s = 0.0
            try:
                async with pace.turn() as out:
                    reply = await exchange(
                        client,
                        "POST",
                        f"{server.url}/chat/completions",
                        seconds=server.timeout_s,
                        headers=headers,
                        body=body,
                        sent=out,
                    )
            except (NoConnectionError, NoReplyInTimeError):
                if attempts >= retries:
                    raise
                attempts += 1
            else:
                wait_s = reply.retry_after_s
                if reply.status in _BUSY:
                    pace.busy()
                else:
                    pace.answered()
                if reply.status not in _BUSY or time.monotonic() - begun_s > server.busy_s:
                    if attempts >= retries or not (reply.status in _AGAIN or reply.status >= 500):
                        return reply
                    attempts += 1
            pause_s = min(_PAUSE_S * 2**paused, _LONGEST_PAUSE_S)
            await asyncio.sleep(wait_s or pause_s * random.uniform(0.75, 1))
        raise AssertionError  # for mypy: the loop has no end of its own

    def _options(self, max_tokens: int, schema: Schema | None) -> dict[str, Any]:
        options: dict[str, Any] = {
            "max_tokens": max_tokens,
            "temperature": 0.0,
            "logprobs": True,
            "top_logprobs": ENTROPY_TOP,
        }
        return options if schema is None else options | self._dialect.held_to(schema)

    def _what_to_do(self, reason: str) -> str:
        server = self.spec.server
        start = "Start that server, or correct server.base_url in the tier file"
        if server.base_url is None:
            start = "Start it beside this run: vistag serve --tier (the same tier)"
        hint = self._dialect.hint_for(reason)
        return (
            f"The server of {self.spec.name} at {server.url} does not answer: {reason}. {hint or start}. "
            "What was finished is kept, and the next run goes on from there."
        )


class _Encoded:
    """Pictures as data URIs: each is encoded once, when it is first sent, and kept until it is sent for the last time."""

    def __init__(self, images: Pictures, encode: Callable[[Image.Image], bytes]) -> None:
        self._encode = encode
        self._left = Counter(map(id, images))
        self._made: dict[int, asyncio.Task[bytes]] = {}

    async def take(self, image: Image.Image) -> bytes:
        key = id(image)
        if key not in self._made:
            self._made[key] = asyncio.create_task(asyncio.to_thread(self._encode, image))
        self._left[key] -= 1
        made = self._made[key] if self._left[key] else self._made.pop(key)
        return await made


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without looks for cycles, of which a reply has none: its thousands of small objects cause several, each of which
    goes through what was made of the replies before, and at times through all that is imported.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _weights(spec: VlmSpec) -> str:
    """What is known of the weights without asking anyone."""
    if Path(spec.model).is_absolute():
        return content_hash(checkpoint_directory(spec))
    return f"{spec.model}@{spec.revision}"


def _refusal(reply: Reply) -> str:
    """What a server says of why it does not answer."""
    if reply.elsewhere:
        return reply.elsewhere
    try:
        told = reply.json()
    except OddReplyError:
        told = None
    error = told.get("error", told) if isinstance(told, dict) else None
    message = error.get("message", error.get("detail")) if isinstance(error, dict) else error
    if (
        isinstance(message, list) and message and isinstance(message[0], dict)
    ):  # FastAPI's own, field by field
        message = message[0].get("msg")
    told_by = f"Error code: {reply.status}"
    wants_key = f" (it wants a key: set {API_KEY})" if reply.status == 401 else ""
    return f"{reply.status} {message if isinstance(message, str) else told_by}{wants_key}"


def _reason(error: Exception) -> str:
    """What a user is told of an error, in one line."""
    if isinstance(error, NoReplyInTimeError):
        return "no answer within the timeout, at each attempt"
    return excerpt(without_secret(str(error), os.environ.get(API_KEY)))
