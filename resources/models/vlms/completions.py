"""Reading an answer of OpenAI's chat protocol as an `Answer`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from resources.http_client import excerpt
from resources.models.vlms.answers import ENTROPY_TOP, Answer

_FINISHED = {"stop": True, "length": False}
_HALF_A_LETTER = "\ufffd"
_LONGEST_TOKEN = 256
"""Letters a token, on average over an answer; runs of blanks are the longest."""
_SPARE_TOKENS = 8
"""Servers may report the end token and those of a template besides."""

_Logprob = Annotated[float, Field(ge=-1e6, le=1, allow_inf_nan=False)]
"""vLLM writes -9999 for what cannot be, and rounding may lie above 0"""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class _Other(_Part):
    logprob: _Logprob


class _Step(_Part):
    token: str
    logprob: _Logprob
    top_logprobs: list[_Other] | None = None


class _Logprobs(_Part):
    content: list[_Step] | None = None


class _Message(_Part):
    content: str | None = None


class _Choice(_Part):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Completion(_Part):
    """What is read of a chat completion; all else in it is passed over."""

    choices: Annotated[list[_Choice], Field(min_length=1)]


class UnusableAnswerError(ValueError):
    """A server answered what is no answer; the message says what it lacks, in one printable line."""

    def __init__(self, reason: str) -> None:
        super().__init__(excerpt(reason))


def read_answer(reply: Any, *, max_tokens: int) -> Answer:
    """The answer of a reply in JSON, of `max_tokens` at most.

    Raises UnusableAnswerError where there is no text, or none of the figures that an Answer has.
    """
    try:
        choice = _Completion.model_validate(reply).choices[0]
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "reply"
        raise UnusableAnswerError(f"it is no chat completion ({where}: {first['msg'].lower()})") from None
    text = choice.message.content
    if text is None or choice.finish_reason not in _FINISHED:
        raise UnusableAnswerError(f"it ended without an answer ({choice.finish_reason})")
    steps = choice.logprobs.content if choice.logprobs else None
    if steps is None:
        raise UnusableAnswerError(
            "it has no log-probabilities, by which captions are routed and keywords scored (docs/serving.md)"
        )
    allowed = max_tokens + _SPARE_TOKENS
    if len(steps) > allowed or len(text) > allowed * _LONGEST_TOKEN:
        raise UnusableAnswerError(f"it is longer than the {max_tokens} tokens that were asked for")
    finished = _FINISHED[choice.finish_reason]
    own = _without_end(text, steps) if finished else steps
    return Answer(
        text.strip(),
        tuple(split_by_tokens(text, [step.token for step in own])),
        np.array([step.logprob for step in own], np.float32),
        _truncated_entropies(own),
        finished,
    )


def split_by_tokens(text: str, tokens: Sequence[str]) -> list[str]:
    """A piece of the text for each token; joined they are the text, where there is a token.

    Servers decode each token by itself. Then a tokenizer may lose the space before a word, and a letter of
    several tokens is not readable in any of them: here it comes with its last one, as it does in Answer.
    """
    pieces: list[str] = []
    told = pending = 0
    for token in tokens:
        start = _find(text, token, told, pending)
        if start is None:
            pieces.append("")
            pending += 1
            continue
        if pending:
            pieces[-1] += text[told:start].rstrip()
            told += len(pieces[-1])
        end = start + len(token.strip() if not text.startswith(token, start) else token)
        pieces.append(text[told:end])
        told, pending = end, 0
    if pieces:
        pieces[-1] += text[told:]
    return pieces


def _find(text: str, token: str, told: int, pending: int) -> int | None:
    """Where a token begins, behind the letters of at most `pending` tokens that could not be read."""
    if not token or _HALF_A_LETTER in token:
        return None
    bare = token.strip()
    word = told
    for start in range(told, told + pending + 1):
        if text.startswith(token, start):
            return start
        word = max(word, start)  # blanks that were skipped once are not gone through again
        while bare and word < len(text) and text[word].isspace():
            word += 1
        if bare and text.startswith(bare, word):
            return word
    return None


def _without_end(text: str, steps: Sequence[_Step]) -> Sequence[_Step]:
    """Without the token that ended the answer, which vLLM reports and its text does not hold."""
    return steps if not steps or text.rstrip().endswith(steps[-1].token.strip() or "\n") else steps[:-1]


def _truncated_entropies(steps: Sequence[_Step]) -> NDArray[np.float32]:
    """Of each step, in nats, over the most probable tokens, renormalised. Raises UnusableAnswerError where one has none."""
    best = np.full((len(steps), ENTROPY_TOP), -np.inf)
    for row, step in zip(best, steps, strict=True):
        if not step.top_logprobs:
            raise UnusableAnswerError(
                "it names no other probable tokens (top_logprobs), which entropies are of"
            )
        found = sorted((other.logprob for other in step.top_logprobs), reverse=True)[:ENTROPY_TOP]
        row[: len(found)] = found
    logprobs = best - np.logaddexp.reduce(best, axis=1, keepdims=True)
    parts = np.exp(logprobs) * np.where(np.isfinite(logprobs), logprobs, 0.0)
    return -parts.sum(axis=1).astype(np.float32)
