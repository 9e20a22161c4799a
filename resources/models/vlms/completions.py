"""Reading an answer of OpenAI's chat protocol as an `Answer`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from resources.models.vlms.answers import ENTROPY_TOP, Answer

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion, ChatCompletionTokenLogprob

_FINISHED = {"stop": True, "length": False}
_HALF_A_LETTER = "\ufffd"


class UnusableAnswerError(ValueError):
    """A server answered what is no answer; the message says what it lacks."""


def read_answer(completion: ChatCompletion) -> Answer:
    """Raises UnusableAnswerError where there is no text, or none of the figures that an Answer has."""
    if not isinstance(getattr(completion, "choices", None), list) or not completion.choices:
        raise UnusableAnswerError("it is no chat completion")
    choice = completion.choices[0]
    text = choice.message.content
    if text is None or choice.finish_reason not in _FINISHED:
        raise UnusableAnswerError(f"it ended without an answer ({choice.finish_reason})")
    steps = choice.logprobs.content if choice.logprobs else None
    if steps is None:
        raise UnusableAnswerError(
            "it has no log-probabilities, by which captions are routed and keywords scored (docs/serving.md)"
        )
    finished = _FINISHED[choice.finish_reason]
    own = _without_end(text, steps) if finished else steps
    return Answer(
        text.strip(),
        tuple(split_by_tokens(text, [step.token for step in own])),
        np.array([step.logprob for step in own], np.float32),
        np.array([_truncated_entropy(step) for step in own], np.float32),
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
    for skipped in range(pending + 1):
        start = told + skipped
        if text.startswith(token, start):
            return start
        while bare and start < len(text) and text[start].isspace():
            start += 1
        if bare and text.startswith(bare, start):
            return start
    return None


def _without_end(
    text: str, steps: Sequence[ChatCompletionTokenLogprob]
) -> Sequence[ChatCompletionTokenLogprob]:
    """Without the token that ended the answer, which vLLM reports and its text does not hold."""
    return steps if not steps or text.rstrip().endswith(steps[-1].token.strip() or "\n") else steps[:-1]


def _truncated_entropy(step: ChatCompletionTokenLogprob) -> float:
    """In nats, over the most probable tokens, renormalised. Raises UnusableAnswerError where there are none."""
    if not step.top_logprobs:
        raise UnusableAnswerError("it names no other probable tokens (top_logprobs), which entropies are of")
    best = sorted((other.logprob for other in step.top_logprobs), reverse=True)[:ENTROPY_TOP]
    logprobs = np.array(best, np.float64)
    logprobs -= np.logaddexp.reduce(logprobs)
    return float(-(np.exp(logprobs) * logprobs).sum())
