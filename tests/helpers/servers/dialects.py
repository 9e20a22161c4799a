"""How LMDeploy 0.16 and TensorRT-LLM 1.x answer a chat completion, as their sources have it, for a server on loopback."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from faulty_server import Asked, Reply

Step = tuple[str, str, tuple[str, ...]]
"""A token's text, its piece of the vocabulary, and the other probable tokens"""
LOGPROBS = (-0.25, -1.75, -2.5, -4.0)
"""Of the chosen token and of others"""


def vllm(steps: Sequence[Step], content: str) -> Callable[[Asked], Reply]:
    """The chosen token is the first of the probable ones."""
    told = [
        {"token": text, "logprob": LOGPROBS[0], "top_logprobs": _others([text, *others], LOGPROBS)}
        for text, _, others in steps
    ]
    return lambda asked: _completion(content, {"content": told})


def lmdeploy(
    steps: Sequence[Step], content: str, logprobs_mode: str | None = "raw_logprobs"
) -> Callable[[Asked], Reply]:
    """Pieces of the vocabulary; the chosen token is left out of the probable ones; without a mode it refuses."""

    def answer(asked: Asked) -> Reply:
        if logprobs_mode is None and (asked.body["logprobs"] or asked.body["top_logprobs"]):
            return _error(
                400,
                f"Logprobs({asked.body['logprobs']})/top_logprobs({asked.body['top_logprobs']}) requested but not enabled "
                "logprobs_mode in engine configuration",
            )
        told = [
            {
                "token": piece,
                "bytes": list(piece.encode()),
                "logprob": LOGPROBS[0],
                "top_logprobs": _others(others, LOGPROBS[1:]),
            }
            for _, piece, others in steps
        ]
        return _completion(content, {"content": told})

    return answer


def trtllm(
    steps: Sequence[Step], content: str, version: str = "1.3", tells_logprobs: bool = True
) -> Callable[[Asked], Reply]:
    """Its own name for a schema; before 1.0 no other; unknown fields are refused."""
    known = {"model", "messages", "max_tokens", "temperature", "logprobs", "top_logprobs", "response_format"}

    def answer(asked: Asked) -> Reply:
        if unknown := asked.body.keys() - known:
            return _error(400, f"Extra inputs are not permitted: {sorted(unknown)}")
        held_to = asked.body.get("response_format", {"type": "text"})
        if held_to["type"] == "json_schema" and version < "1.0":
            return _error(400, "Unsupported response format: json_schema")
        if held_to["type"] == "json" and held_to.get("schema") is None:
            return _error(400, "The 'schema' field is required when response_format.type is 'json'.")
        told = [
            {"token": text, "logprob": LOGPROBS[0], "top_logprobs": _others([text, *others], LOGPROBS)}
            for text, _, others in steps
        ]
        return _completion(content, {"content": told} if tells_logprobs else None)

    return answer


def entropy() -> float:
    """Of all LOGPROBS, renormalised, in nats."""
    total = math.fsum(map(math.exp, LOGPROBS))
    return -math.fsum(math.exp(one) / total * (one - math.log(total)) for one in LOGPROBS)


def _others(tokens: Sequence[str], logprobs: Sequence[float]) -> list[dict[str, object]]:
    return [{"token": token, "logprob": logprob} for token, logprob in zip(tokens, logprobs, strict=True)]


def _completion(content: str, logprobs: object) -> Reply:
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": logprobs}
    return Reply(
        body={"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    )


def _error(status: int, message: str) -> Reply:
    """Both have it without the `error` around it that OpenAI and vLLM put there."""
    return Reply(
        status,
        {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": status},
    )
