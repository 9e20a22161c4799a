"""Text generation: decoding, with the figures of each token, the same for every architecture of transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from resources.models.checkpoints import TRANSFORMERS, Device, Layout
from resources.models.pretrained import Pretrained
from resources.models.vlms.answers import ENTROPY_TOP, Answer, Schema
from resources.models.vlms.constraint import JsonConstraint, constraint_tokenizer
from resources.models.vlms.spec import WriterSpec

if TYPE_CHECKING:
    from llguidance import LLTokenizer

PLAIN_INPUTS = {"input_ids", "attention_mask", "pixel_values"}
"""of models whose positions are the places of the tokens"""
Rule = Callable[[Any, Any], Any]
"""(tokens so far, logits) -> logits, with -inf for each token that may not come next"""


class Writer(Pretrained):
    """What models build upon that write: greedily, or by the beams of the spec."""

    model_class = "AutoModelForImageTextToText"
    part: str | None = None
    """the submodule that decodes, where the model is not its own decoder"""
    end: str | None = None
    """the entry of its configuration that ends an answer, where its generation settings do not say"""

    def __init__(
        self, spec: WriterSpec[Any], device: Device, code: str, layout: Layout = TRANSFORMERS
    ) -> None:
        super().__init__(spec, device, code, layout, beams=spec.beams)
        self._beams = spec.beams

    @property
    def tokenizer(self) -> Any:
        return self.processor.tokenizer

    @cached_property
    def ends(self) -> list[int]:
        """The tokens that end an answer."""
        settings = self._settings.eos_token_id
        ends = attrgetter(self.end)(self.model.config) if self.end else settings
        if ends is None:
            ends = self.tokenizer.eos_token_id
        return [ends] if isinstance(ends, int) else list(ends)

    def write(self, inputs: Mapping[str, Any], max_tokens: int, rules: Sequence[Rule] = ()) -> list[Answer]:
        """An answer a row of the inputs, which are the model's own.

        Of the checkpoint's own settings only those are kept that say how an answer begins and ends, and what it
        may not repeat: sampling and penalties would make answers differ from run to run.
        """
        import torch

        most = self._beams * max(2, 1 + len(self.ends)) if self._beams > 1 else 1
        steps = _Steps([*self._rules, *rules], most)
        with torch.inference_mode(), self._decoding_by(self._greedy_or_beams(max_tokens)):
            written = self.model.generate(
                **self._begun(inputs, max_tokens),
                logits_processor=[steps],
                return_dict_in_generate=True,
            )
        ids, figures = steps.chosen(written.sequences, getattr(written, "beam_indices", None))
        return [self._as_answer(*row) for row in zip(ids, *figures, strict=True)]

    def _begun(self, inputs: Mapping[str, Any], max_tokens: int) -> dict[str, Any]:
        """The inputs with a cache for so many new tokens, where the model is a decoder that takes one.

        With beams the prompt is in it already, where ids, mask and pictures are all of it: the library would have
        each of its beams read it.
        """
        from resources.models.vlms.cache import all_roomy, read_prompt, roomy_cache

        model = self.model
        if self.part or model.config.is_encoder_decoder:
            return dict(inputs)
        cache = roomy_cache(model.config, max_tokens)
        if self._beams > 1 and inputs.keys() == PLAIN_INPUTS and all_roomy(cache):
            inputs = read_prompt(model, inputs, cache, self._beams)
        return {**inputs, "past_key_values": cache}

    def rules_of(self, schema: Schema | None, prompt_length: int) -> list[Rule]:
        """What holds the answers to prompts of so many tokens to a JSON Schema. Raises SchemaError."""
        if schema is None or self._constraint_tokenizer is None:
            return []
        return [JsonConstraint(self._constraint_tokenizer, schema).after(prompt_length)]

    def without_control_tokens(self, text: str) -> str:
        """The text without what a chat template may write and words from elsewhere may not, such as "<image>"."""
        for token in self._control_tokens:
            text = text.replace(token, " ")
        return text

    @cached_property
    def _constraint_tokenizer(self) -> LLTokenizer | None:
        vocabulary: int = self.model.config.get_text_config().vocab_size
        return constraint_tokenizer(self.tokenizer, vocabulary, self.ends)

    @cached_property
    def _control_tokens(self) -> list[str]:
        added = self.tokenizer.added_tokens_decoder.values()
        return [token.content for token in added if token.special]

    @cached_property
    def _decoder(self) -> Any:
        return attrgetter(self.part)(self.model) if self.part else self.model

    @cached_property
    def _settings(self) -> Any:
        """The generation settings that came with the checkpoint."""
        return self._decoder.generation_config

    @contextmanager
    def _decoding_by(self, settings: Any) -> Iterator[None]:
        """With these settings alone; those of the checkpoint come back, since another lane may hold the model too."""
        self._decoder.generation_config, own = settings, self._settings
        try:
            yield
        finally:
            self._decoder.generation_config = own

    def _greedy_or_beams(self, max_tokens: int) -> Any:
        from transformers import GenerationConfig

        padding = self.tokenizer.pad_token_id
        return GenerationConfig(
            do_sample=False,
            num_beams=self._beams,
            max_new_tokens=max_tokens,
            use_cache=True,
            eos_token_id=self.ends,
            pad_token_id=self.ends[0] if padding is None else padding,
            bos_token_id=self._settings.bos_token_id,
            decoder_start_token_id=self._settings.decoder_start_token_id,
        )

    @cached_property
    def _rules(self) -> list[Rule]:
        from transformers import ForcedBOSTokenLogitsProcessor, NoRepeatNGramLogitsProcessor

        first, ngram = self._settings.forced_bos_token_id, self._settings.no_repeat_ngram_size
        forced = [] if first is None else [ForcedBOSTokenLogitsProcessor(first)]
        return [*forced, *([NoRepeatNGramLogitsProcessor(ngram)] if ngram else [])]

    def _as_answer(self, ids: list[int], logprobs: Any, entropies: Any) -> Answer:
        length = next((place for place, token in enumerate(ids) if token in self.ends), len(ids))
        start = int(length > 0 and ids[0] == self._settings.forced_bos_token_id)
        pieces = self._pieces(ids[start:length])
        return Answer(
            "".join(pieces).strip(),
            tuple(pieces),
            logprobs[start:length],
            entropies[start:length],
            finished=length < len(ids),
        )

    def _pieces(self, ids: Sequence[int]) -> list[str]:
        """The text that each token adds to the answer; a letter of several tokens comes with its last one."""
        pieces: list[str] = []
        told = ""
        for end in range(1, len(ids) + 1):
            text = self.tokenizer.decode(
                ids[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
            whole = end == len(ids) or not text.endswith("\ufffd")
            pieces.append(text[len(told) :] if whole else "")
            told = text if whole else told
        return pieces


class _Steps:
    """Looks at the raw logits of each step of decoding, and takes from them what the rules do not allow.

    Of each row it keeps the `most` best tokens allowed: greedy decoding takes the first, and beams are made of
    none but these.
    """

    def __init__(self, rules: Sequence[Rule], most: int) -> None:
        self._rules = rules
        self._most = most
        self._tokens: list[Any] = []
        self._logprobs: list[Any] = []
        self._entropies: list[Any] = []

    def __call__(self, input_ids: Any, logits: Any) -> Any:
        allowed = logits
        for rule in self._rules:
            allowed = rule(input_ids, allowed)
        best = allowed.topk(min(self._most, allowed.shape[-1]), dim=-1).indices
        self._tokens.append(best)
        self._logprobs.append(logits.gather(1, best) - logits.logsumexp(dim=-1, keepdim=True))
        self._entropies.append(_truncated_entropy(logits))
        return allowed

    def chosen(
        self, sequences: Any, beam_indices: Any | None
    ) -> tuple[list[list[int]], tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]]:
        """New tokens, log-probabilities and entropies of each row of what was written.

        `beam_indices` int [rows, new tokens] say in which row each token was found; -1 after the end.
        """
        import torch

        steps = len(self._tokens) if beam_indices is None else beam_indices.shape[1]
        own = sequences[:, sequences.shape[1] - steps :]
        rows = torch.arange(len(own), device=own.device)[:, None].expand_as(own)
        if beam_indices is not None:
            rows = beam_indices.clamp(min=0).long()
        logprobs, entropies = [], []
        for step in range(steps):
            place = rows[:, step]
            found = self._tokens[step][place] == own[:, step, None]
            # after its end a row is padding, which is among no best tokens
            logprobs.append(self._logprobs[step][place].masked_fill(~found, 0.0).sum(dim=1))
            entropies.append(self._entropies[step][place])
        figures = (_rows(logprobs), _rows(entropies)) if steps else ([_NONE] * len(own), [_NONE] * len(own))
        return own.tolist(), figures


_NONE = np.empty(0, np.float32)


def _rows(steps: Sequence[Any]) -> list[NDArray[np.float32]]:
    import torch

    return list(np.asarray(torch.stack(list(steps), dim=1).float().cpu().numpy(), dtype=np.float32))


def _truncated_entropy(logits: Any) -> Any:
    """Entropy in nats `[...]` of logits `[..., vocabulary]` over the ENTROPY_TOP most probable tokens, renormalised."""
    logprobs = logits.topk(min(ENTROPY_TOP, logits.shape[-1]), dim=-1).values.log_softmax(dim=-1)
    return -(logprobs.exp() * logprobs).sum(dim=-1)
