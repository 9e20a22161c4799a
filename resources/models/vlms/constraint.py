"""Holding an answer to a JSON Schema while it is decoded: at each step only tokens that the schema still allows."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer
    from llguidance._lib import JsonCompileOptions

_COMPACT: JsonCompileOptions = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
"""JSON on one line: white space says nothing and costs tokens."""

log = logging.getLogger(__name__)


class SchemaError(ValueError):
    """A JSON Schema that answers cannot be held to."""


class JsonConstraint:
    """What one schema allows after any beginning of an answer.

    Beginnings are known by their tokens and not by their row, since beams change places between two steps. Each
    is one token longer than one of the step before.
    """

    def __init__(self, tokenizer: LLTokenizer, schema: Mapping[str, Any]) -> None:
        """Raises SchemaError."""
        from llguidance import LLMatcher

        grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema), defaults=_COMPACT)
        matcher = LLMatcher(tokenizer, grammar)
        if error := matcher.get_error():
            raise SchemaError(f"no answer can be held to this JSON Schema: {error}")
        self._vocabulary: int = tokenizer.vocab_size
        self._matchers: dict[tuple[int, ...], LLMatcher | None] = {(): matcher}

    def allowed(self, beginnings: Sequence[Sequence[int]]) -> NDArray[np.bool_]:
        """bool [beginnings, vocabulary]: the tokens that may come next.

        Of a beginning that is none of the schema (where fewer tokens are allowed than there are beams, the rest
        of the beams begin with others, at no probability) any.
        """
        self._matchers = {tuple(tokens): self._matcher(tuple(tokens)) for tokens in beginnings}
        return np.stack([self._next(self._matchers[tuple(tokens)]) for tokens in beginnings])

    def after(self, prompt_length: int) -> Callable[[Any, Any], Any]:
        """A rule of decoding: logits [beginnings, vocabulary] without what may not come next, -inf."""

        def rule(input_ids: Any, logits: Any) -> Any:
            import torch

            allowed = self.allowed(input_ids[:, prompt_length:].tolist())
            return logits.masked_fill(torch.from_numpy(~allowed).to(logits.device), -torch.inf)

        return rule

    def _matcher(self, tokens: tuple[int, ...]) -> LLMatcher | None:
        if tokens in self._matchers:
            return self._matchers[tokens]
        before = self._matchers[tokens[:-1]]
        if before is None or before.is_stopped():
            return before
        if before.validate_tokens([tokens[-1]]) == 0:
            return None
        matcher = before.deep_copy()
        matcher.consume_token(tokens[-1])
        return matcher

    def _next(self, matcher: LLMatcher | None) -> NDArray[np.bool_]:
        if matcher is None:
            return np.ones(self._vocabulary, dtype=bool)
        return np.frombuffer(matcher.compute_logit_bias(), np.uint8) > 0


def constraint_tokenizer(tokenizer: Any, vocabulary: int, ends: list[int]) -> LLTokenizer | None:
    """What constraints need to know of a tokenizer of transformers, with logits for `vocabulary` tokens.

    None, and a warning in the log, for one that is written in Python: its bytes cannot be told.
    """
    from llguidance.hf import from_tokenizer

    if not tokenizer.is_fast:
        log.warning(
            "%s is no fast tokenizer: answers are not held to their JSON Schema, only checked against it",
            type(tokenizer).__name__,
        )
        return None
    return from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=ends)
