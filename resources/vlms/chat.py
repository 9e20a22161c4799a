"""Any image-text-to-text chat model of transformers, in this process: the bundled checkpoint and the large ones alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from resources.checkpoints import (
    Device,
    checkpoint_directory,
    content_hash,
    load_model,
    load_processor,
)
from resources.fingerprint import fingerprint
from resources.vlms.answers import ENTROPY_TOP, Answer
from resources.vlms.constraint import JsonConstraint, constraint_tokenizer
from resources.vlms.spec import VlmSpec

if TYPE_CHECKING:
    from llguidance import LLTokenizer
    from PIL import Image

CODE_VERSION = "1"


class ChatVlm:
    """A chat model through its own processor and chat template. Making one reads small files only."""

    def __init__(self, spec: VlmSpec, device: Device) -> None:
        self.spec = spec
        self.device = device
        self.directory = checkpoint_directory(spec)
        self.fingerprint = fingerprint(
            code=CODE_VERSION, weights=content_hash(self.directory), dtype=spec.dtype, beams=spec.beams
        )

    @cached_property
    def _processor(self) -> Any:
        return load_processor(self.directory)

    @cached_property
    def _model(self) -> Any:
        return load_model(self.directory, "AutoModelForImageTextToText", self.spec.dtype, self.device)

    @cached_property
    def _ends(self) -> list[int]:
        """The tokens that end an answer."""
        ends = self._model.generation_config.eos_token_id
        if ends is None:
            ends = self._processor.tokenizer.eos_token_id
        return [ends] if isinstance(ends, int) else list(ends)

    @cached_property
    def _constraint_tokenizer(self) -> LLTokenizer | None:
        vocabulary: int = self._model.config.get_text_config().vocab_size
        return constraint_tokenizer(self._processor.tokenizer, vocabulary, self._ends)

    @cached_property
    def _control_tokens(self) -> list[str]:
        """What the chat template may write and text out of a picture may not, such as "<image>"."""
        added = self._processor.tokenizer.added_tokens_decoder.values()
        return [token.content for token in added if token.special]

    def load(self) -> None:
        """Load the weights now rather than at the first answer."""
        _ = self._model

    def answer(
        self,
        images: Sequence[Image.Image],
        prompts: Sequence[str],
        *,
        max_tokens: int,
        schema: Mapping[str, Any] | None = None,
    ) -> list[Answer]:
        """One answer an image, in their order, held to `schema` while it is decoded. Raises SchemaError.

        Prompts of about the same length share a batch, so that little is computed for padding.
        """
        order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), images[i].size))
        answers: dict[int, Answer] = {}
        for start in range(0, len(order), self.spec.batch_size):
            places = order[start : start + self.spec.batch_size]
            batch = [(images[place], prompts[place]) for place in places]
            answers |= zip(places, self._answer_batch(batch, max_tokens, schema), strict=True)
        return [answers[place] for place in range(len(prompts))]

    def _answer_batch(
        self, batch: Sequence[tuple[Image.Image, str]], max_tokens: int, schema: Mapping[str, Any] | None
    ) -> list[Answer]:
        import torch
        from transformers import GenerationConfig

        inputs = self._inputs(batch)
        length = inputs["input_ids"].shape[1]
        tokenizer = self._constraint_tokenizer if schema else None
        figures = _Steps(length, JsonConstraint(tokenizer, schema) if tokenizer and schema else None)
        # only this: a checkpoint's own sampling and penalties would make answers differ from run to run
        self._model.generation_config = GenerationConfig(
            do_sample=False,
            num_beams=self.spec.beams,
            max_new_tokens=max_tokens,
            use_cache=True,
            eos_token_id=self._ends,
            pad_token_id=self._padding,
        )
        with torch.inference_mode():
            sequences = self._model.generate(**inputs, logits_processor=[figures])
            answers = sequences[:, length:].tolist()
            lengths = [self._length(ids) for ids in answers]
            if self.spec.beams == 1:
                told = figures.of_rows(lengths)
            else:
                told = [
                    self._rescored(item, ids[:length])
                    for item, ids, length in zip(batch, answers, lengths, strict=True)
                ]
        return [
            self._as_answer(ids[:length], *figure, finished=length < len(ids))
            for ids, length, figure in zip(answers, lengths, told, strict=True)
        ]

    @property
    def _padding(self) -> int:
        padding: int | None = self._processor.tokenizer.pad_token_id
        return self._ends[0] if padding is None else padding

    def _inputs(self, batch: Sequence[tuple[Image.Image, str]]) -> dict[str, Any]:
        """What the model takes: chats of one user turn each, the image first, padded on the left."""
        chats = [
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "image": image},
                        {"type": "text", "text": self._without_control_tokens(prompt)},
                    ],
                }
            ]
            for image, prompt in batch
        ]
        inputs = self._processor.apply_chat_template(
            chats,
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True, "padding_side": "left"},
        )
        return dict(inputs.to(self.device, dtype=self._model.dtype))

    def _without_control_tokens(self, prompt: str) -> str:
        for token in self._control_tokens:
            prompt = prompt.replace(token, " ")
        return prompt

    def _length(self, ids: Sequence[int]) -> int:
        """How many tokens come before the one that ends the answer."""
        return next((place for place, token in enumerate(ids) if token in self._ends), len(ids))

    def _rescored(self, item: tuple[Image.Image, str], answer: list[int]) -> tuple[NDArray[np.float32], ...]:
        """Log-probabilities and entropies of an answer found with beams, by one forward pass over all of it."""
        import torch

        inputs = self._inputs([item])
        length = inputs["input_ids"].shape[1]
        own = torch.tensor([answer], device=inputs["input_ids"].device, dtype=torch.long)
        for name, values in inputs.items():
            if name == "input_ids":
                inputs[name] = torch.cat([values, own], dim=1)
            elif values.shape == (1, length):  # the attention mask, and the types of tokens: text is 0
                extra = torch.ones_like if name == "attention_mask" else torch.zeros_like
                inputs[name] = torch.cat([values, extra(own).to(values.dtype)], dim=1)
        logits = self._model(**inputs).logits[0, length - 1 : -1].float()
        logprobs = logits.log_softmax(dim=-1).gather(1, own[0, :, None])[:, 0]
        return _as_numpy(logprobs), _as_numpy(_truncated_entropy(logits))

    def _as_answer(
        self,
        ids: list[int],
        logprobs: NDArray[np.float32],
        entropies: NDArray[np.float32],
        *,
        finished: bool,
    ) -> Answer:
        pieces = self._pieces(ids)
        return Answer("".join(pieces).strip(), tuple(pieces), logprobs, entropies, finished)

    def _pieces(self, ids: Sequence[int]) -> list[str]:
        """The text that each token adds to the answer; a letter of several tokens comes with its last one."""
        pieces: list[str] = []
        told = ""
        for end in range(1, len(ids) + 1):
            text = self._processor.tokenizer.decode(
                ids[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
            whole = end == len(ids) or not text.endswith("\ufffd")
            pieces.append(text[len(told) :] if whole else "")
            told = text if whole else told
        return pieces


class _Steps:
    """Looks at the logits of each step of decoding, and takes from them what a constraint does not allow.

    The figures are those of greedy decoding, where the next token is the most probable of those allowed.
    """

    def __init__(self, prompt_length: int, constraint: JsonConstraint | None) -> None:
        self._prompt_length = prompt_length
        self._constraint = constraint
        self._logprobs: list[Any] = []
        self._entropies: list[Any] = []

    def __call__(self, input_ids: Any, logits: Any) -> Any:
        allowed = self._allowed(input_ids, logits)
        best = allowed.argmax(dim=-1, keepdim=True)
        self._logprobs.append(logits.gather(1, best)[:, 0] - logits.logsumexp(dim=-1))
        self._entropies.append(_truncated_entropy(logits))
        return allowed

    def _allowed(self, input_ids: Any, logits: Any) -> Any:
        import torch

        if self._constraint is None:
            return logits
        allowed = self._constraint.allowed(input_ids[:, self._prompt_length :].tolist())
        return logits.masked_fill(torch.from_numpy(~allowed).to(logits.device), -torch.inf)

    def of_rows(self, lengths: Sequence[int]) -> list[tuple[NDArray[np.float32], ...]]:
        """(log-probabilities, entropies) of the first `lengths[row]` tokens of each row."""
        import torch

        logprobs = _as_numpy(torch.stack(self._logprobs, dim=1))
        entropies = _as_numpy(torch.stack(self._entropies, dim=1))
        return [(logprobs[row, :length], entropies[row, :length]) for row, length in enumerate(lengths)]


def _truncated_entropy(logits: Any) -> Any:
    """Entropy in nats `[...]` of logits `[..., vocabulary]` over the ENTROPY_TOP most probable tokens, renormalised."""
    logprobs = logits.topk(min(ENTROPY_TOP, logits.shape[-1]), dim=-1).values.log_softmax(dim=-1)
    return -(logprobs.exp() * logprobs).sum(dim=-1)


def _as_numpy(values: Any) -> NDArray[np.float32]:
    return np.asarray(values.float().cpu().numpy(), dtype=np.float32)
