"""A chat model behind a server that speaks OpenAI's protocol: vLLM, LMDeploy, TensorRT-LLM (docs/serving.md)."""

from __future__ import annotations

import asyncio
import base64
import io
import ipaddress
import json
import os
import re
from collections.abc import Mapping, Sequence
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from PIL import Image

from resources.fingerprint import fingerprint
from resources.models.checkpoints import Device, ModelUnavailableError, checkpoint_directory, content_hash
from resources.models.registry import registry
from resources.models.vlms.answers import ENTROPY_TOP, Answer, Pictures, Schema, Unanswered
from resources.models.vlms.completions import UnusableAnswerError, read_answer
from resources.models.vlms.spec import API_KEY, VlmSpec
from resources.secrets import without_secret

if TYPE_CHECKING:
    from openai import AsyncOpenAI

CODE_VERSION = "1"

_CONNECT_S = 10.0
_MAX_REASON = 300
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
        asyncio.run(self._load())

    def answer(
        self, images: Pictures, prompts: Sequence[str], *, max_tokens: int, schema: Schema | None = None
    ) -> list[Answer | Unanswered]:
        """One answer an image, in their order; `concurrency` requests at a time.

        An image that the server fails at is Unanswered, where it still answers for a plain picture. Otherwise
        it raises ServerUnavailableError.
        """
        return asyncio.run(self._answer_all(images, prompts, _options(max_tokens, schema)))

    async def _load(self) -> None:
        async with self._client() as client:
            await self._require_server(client, _options(1, None))

    async def _answer_all(
        self, images: Pictures, prompts: Sequence[str], options: Mapping[str, Any]
    ) -> list[Answer | Unanswered]:
        turns = asyncio.Semaphore(self.spec.server.concurrency)
        async with self._client() as client:

            async def in_turn(image: Image.Image, prompt: str) -> Answer | Unanswered:
                async with turns:
                    return await self._answer(client, image, prompt, options)

            return await asyncio.gather(*starmap(in_turn, zip(images, prompts, strict=True)))

    async def _answer(
        self, client: AsyncOpenAI, image: Image.Image, prompt: str, options: Mapping[str, Any]
    ) -> Answer | Unanswered:
        import openai

        try:
            return await self._ask(client, image, prompt, options)
        except (openai.APIError, UnusableAnswerError) as error:
            reason = _reason(error)
        await self._require_server(client, options)
        return Unanswered(reason)

    async def _require_server(self, client: AsyncOpenAI, options: Mapping[str, Any]) -> None:
        """Whether it is the server that fails is told by a question that it can answer."""
        import openai

        try:
            await self._ask(client.with_options(max_retries=1), _PLAIN, "?", {**options, "max_tokens": 1})
        except (openai.APIError, UnusableAnswerError) as error:
            reason = _reason(error)
        else:
            return
        # Not from the error: what the server wrote may repeat the key, and would stand in Dagster's log.
        raise ServerUnavailableError(self._what_to_do(reason))

    async def _ask(
        self, client: AsyncOpenAI, image: Image.Image, prompt: str, options: Mapping[str, Any]
    ) -> Answer:
        picture = {"type": "image_url", "image_url": {"url": await asyncio.to_thread(_data_uri, image)}}
        text = {"type": "text", "text": _CONTROL_TOKENS.sub(" ", prompt)}
        messages: Any = [*self._before, {"role": "user", "content": [picture, text]}]
        try:
            told = await client.chat.completions.create(
                model=self.spec.served_name, messages=messages, **options
            )
        except json.JSONDecodeError as error:
            raise UnusableAnswerError(f"it is no JSON ({error})") from error
        return read_answer(told)

    def _client(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Timeout

        server = self.spec.server
        return AsyncOpenAI(
            base_url=server.url,
            api_key=os.environ.get(API_KEY) or "none",
            max_retries=server.retries,
            timeout=Timeout(server.timeout_s, connect=min(_CONNECT_S, server.timeout_s)),
            http_client=DefaultAsyncHttpxClient(trust_env=not _is_this_machine(server.url)),
        )

    def _what_to_do(self, reason: str) -> str:
        server = self.spec.server
        start = "Start that server, or correct server.base_url in the tier file"
        if server.base_url is None:
            start = "Start it beside this run: vistag serve --tier (the same tier)"
        return (
            f"The server of {self.spec.name} at {server.url} does not answer: {reason}. {start}. "
            "What was finished is kept, and the next run goes on from there."
        )


def _weights(spec: VlmSpec) -> str:
    """What is known of the weights without asking anyone."""
    if Path(spec.model).is_absolute():
        return content_hash(checkpoint_directory(spec))
    return f"{spec.model}@{spec.revision}"


def _options(max_tokens: int, schema: Schema | None) -> dict[str, Any]:
    options: dict[str, Any] = {
        "max_tokens": max_tokens,
        "temperature": 0.0,
        "logprobs": True,
        "top_logprobs": ENTROPY_TOP,
    }
    if schema is not None:
        held_to = {"name": "answer", "schema": dict(schema), "strict": True}
        options["response_format"] = {"type": "json_schema", "json_schema": held_to}
    return options


def _data_uri(image: Image.Image) -> str:
    """Lossless, so that the model sees what it would see in this process."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _is_this_machine(url: str) -> bool:
    """Then no proxy that the environment names stands between."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reason(error: Exception) -> str:
    """What a user is told of an error, in one line."""
    import openai

    if isinstance(error, openai.APITimeoutError):
        return "no answer within the timeout, at each attempt"
    if isinstance(error, openai.APIConnectionError):
        return f"no connection ({error.__cause__ or error})"
    told = str(error)
    if isinstance(error, openai.APIStatusError):
        body = error.body if isinstance(error.body, dict) else {}
        told = f"{error.status_code} {body.get('message') or error.message}"
    if isinstance(error, openai.AuthenticationError):
        told += f" (it wants a key: set {API_KEY})"
    return " ".join(without_secret(told, os.environ.get(API_KEY)).split())[:_MAX_REASON]
