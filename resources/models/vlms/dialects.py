"""What servers of OpenAI's chat protocol say otherwise: how a schema is named, how tokens are told, what they miss.

vLLM is what the client is written for. LMDeploy's and TensorRT-LLM's ways are from their sources (0.16 and 1.x).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from resources.models.vlms.answers import Schema

if TYPE_CHECKING:
    from resources.models.vlms.spec import Program

_WORD_PIECE_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
"""Of SentencePiece, in the place of a blank"""
_BYTE_PIECE_SIGNS = frozenset(
    "\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}\N{LATIN CAPITAL LETTER C WITH DOT ABOVE}"
)
"""A blank and the end of a line in a byte-level vocabulary"""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a server is asked and understood."""

    held_to: Callable[[Schema], dict[str, Any]]
    """what is sent so that an answer is JSON of a schema"""
    understood: Callable[[Any], Any] = lambda reply: reply
    """a reply -> the same as vLLM would have told it"""
    hints: tuple[tuple[str, str], ...] = ()
    """(words of what it says, what to do then)"""

    def hint_for(self, reason: str) -> str:
        """What to do about what a server said; "" where nothing is known."""
        return next((hint for words, hint in self.hints if words in reason), "")


def dialect_of(program: Program) -> Dialect:
    """The dialect of a server."""
    return _DIALECTS[program]


def _as_openai_has_it(schema: Schema) -> dict[str, Any]:
    held_to = {"name": "answer", "schema": dict(schema), "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": held_to}}


def _as_trtllm_has_it(schema: Schema) -> dict[str, Any]:
    """Its own name for it, which all its versions have: older ones refuse `json_schema`, or hold to the wrapper of it."""
    return {"response_format": {"type": "json", "schema": dict(schema)}}


def _of_lmdeploy(reply: Any) -> Any:
    """It tells pieces of the vocabulary, not of the text, and leaves the chosen token out of the probable ones."""
    if not isinstance(reply, dict) or not isinstance(reply.get("choices"), list):
        return reply
    return reply | {"choices": [_choice_of_lmdeploy(choice) for choice in reply["choices"]]}


def _choice_of_lmdeploy(choice: Any) -> Any:
    logprobs = choice.get("logprobs") if isinstance(choice, dict) else None
    if not isinstance(logprobs, dict):
        return choice
    steps = logprobs.get("content")
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        return choice
    tokens = [str(step.get("token", "")) for step in steps]
    read = _reader_of(tokens)
    told = [
        step
        | {
            "token": read(token),
            "top_logprobs": [{"logprob": step.get("logprob")}, *(step.get("top_logprobs") or [])],
        }
        for step, token in zip(steps, tokens, strict=True)
    ]
    return choice | {"logprobs": logprobs | {"content": told}}


def _reader_of(tokens: list[str]) -> Callable[[str], str]:
    """What makes text of the pieces of an answer, by the signs of its kind of vocabulary."""
    if any(_BYTE_PIECE_SIGNS & set(token) for token in tokens):
        return _from_bytes
    if any(_WORD_PIECE_SPACE in token for token in tokens):
        return lambda token: token.replace(_WORD_PIECE_SPACE, " ")
    return lambda token: token


def _from_bytes(token: str) -> str:
    table = _byte_of_sign()
    if not set(token) <= table.keys():
        return token
    return bytes(table[sign] for sign in token).decode("utf-8", errors="replace")


@cache
def _byte_of_sign() -> Mapping[str, int]:
    """The signs that stand for bytes in byte-level vocabularies: printable ones for themselves, the others from 256 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + place): byte for place, byte in enumerate(others)
    }


_NO_LOGPROBS = "it has no log-probabilities"
_DIALECTS: Mapping[str, Dialect] = {
    "vllm": Dialect(_as_openai_has_it),
    "lmdeploy": Dialect(
        _as_openai_has_it,
        _of_lmdeploy,
        (
            (
                "not enabled logprobs_mode",
                "Start LMDeploy with `--backend pytorch --logprobs-mode raw_logprobs`",
            ),
        ),
    ),
    "trtllm": Dialect(
        _as_trtllm_has_it,
        hints=(
            (
                _NO_LOGPROBS,
                "Start trtllm-serve with `--backend pytorch`, or build its engine with gather_generation_logits",
            ),
            (
                "gather_generation_logits",
                "Start trtllm-serve with `--backend pytorch`, or build its engine with that",
            ),
            (
                "uided decoding",
                "Start trtllm-serve with `guided_decoding_backend: xgrammar` in its `--extra_llm_api_options`",
            ),
        ),
    ),
}
