"""Any image-text-to-text chat model of transformers, in this process: the bundled checkpoint and the large ones alike."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from resources.models.checkpoints import Device
from resources.models.registry import registry
from resources.models.vlms.answers import Answer, Pictures, Schema
from resources.models.vlms.spec import VlmSpec
from resources.models.vlms.writer import Writer

if TYPE_CHECKING:
    from PIL import Image

CODE_VERSION = "1"


class ChatVlm(Writer):
    """A chat model through its own processor and chat template. Making one reads small files only."""

    def __init__(self, spec: VlmSpec, device: Device) -> None:
        super().__init__(spec, device, CODE_VERSION)
        self._system = registry().family(spec.role, spec.family).system

    def answer(
        self, images: Pictures, prompts: Sequence[str], *, max_tokens: int, schema: Schema | None = None
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
        self, batch: Sequence[tuple[Image.Image, str]], max_tokens: int, schema: Schema | None
    ) -> list[Answer]:
        inputs = self._inputs(batch)
        rules = self.rules_of(schema, inputs["input_ids"].shape[1])
        return self.write(inputs, max_tokens, rules)

    def _inputs(self, batch: Sequence[tuple[Image.Image, str]]) -> dict[str, Any]:
        """What the model takes: chats of one user turn each, the image first, padded on the left."""
        processor, padding = self.processor, {"padding": True, "padding_side": "left"}
        prompts = [self.without_control_tokens(prompt) for _, prompt in batch]
        if self._takes_strings:
            texts = [self._in_template(prompt) for prompt in prompts]
            first = self.tokenizer.bos_token
            begun = first is not None and all(text.startswith(first) for text in texts)
            inputs = processor(
                text=texts,
                images=[image for image, _ in batch],
                return_tensors="pt",
                add_special_tokens=not begun,
                **padding,
            )
        else:
            inputs = processor.apply_chat_template(
                [
                    self._chat([{"type": "image", "image": image}, {"type": "text", "text": prompt}])
                    for (image, _), prompt in zip(batch, prompts, strict=True)
                ],
                tokenize=True,
                add_generation_prompt=True,
                return_dict=True,
                return_tensors="pt",
                processor_kwargs=padding,
            )
        return dict(inputs.to(self.device, dtype=self.model.dtype))

    def _chat(self, content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
        system: Any = self._system if isinstance(content, str) else [{"type": "text", "text": self._system}]
        before = [{"role": "system", "content": system}] if self._system else []
        return [*before, {"role": "user", "content": content}]

    @cached_property
    def _takes_strings(self) -> bool:
        """Whether the chat template takes what a user says as a string, and writes a list of parts as Python does."""
        try:
            written = self._rendered([{"type": "image"}, {"type": "text", "text": "?"}])
        except TypeError:  # of a template that adds a string to it
            return True
        return "'type'" in written

    def _in_template(self, prompt: str) -> str:
        """A prompt in a chat template that takes strings; such templates may or may not put the image themselves."""
        token: str = self.processor.image_token
        text = self._rendered(prompt)
        return text if token in text else self._rendered(f"{token}\n{prompt}")

    def _rendered(self, content: str | list[dict[str, Any]]) -> str:
        text: str = self.processor.apply_chat_template(
            self._chat(content), tokenize=False, add_generation_prompt=True
        )
        return text
