"""Any text chat model of transformers, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from resources.models.checkpoints import Device, load_processor
from resources.models.vlms.answers import Answer, Schema
from resources.models.vlms.spec import RepairSpec
from resources.models.vlms.writer import Writer

CODE_VERSION = "1"
PROMPT = "Rewrite this description of a picture as JSON. Use its own words and add none.\n\n{text}"


class ChatModel(Writer):
    """A text chat model through its own tokenizer and chat template. Making one reads small files only."""

    model_class = "AutoModelForCausalLM"

    def __init__(self, spec: RepairSpec, device: Device) -> None:
        super().__init__(spec, device, f"{CODE_VERSION} {PROMPT}")

    @cached_property
    def processor(self) -> Any:
        return SimpleNamespace(tokenizer=load_processor(self.directory, "AutoTokenizer"))

    def rewrite(self, texts: Sequence[str], schema: Schema) -> list[Answer]:
        """The texts as JSON of the schema, in their order. Raises SchemaError."""
        answers: list[Answer] = []
        for start in range(0, len(texts), self.spec.batch_size):
            inputs = self._inputs(texts[start : start + self.spec.batch_size])
            rules = self.rules_of(schema, inputs["input_ids"].shape[1])
            answers += self.write(inputs, self.spec.description_tokens, rules)
        return answers

    def _inputs(self, texts: Sequence[str]) -> dict[str, Any]:
        chats = [
            [{"role": "user", "content": PROMPT.format(text=self.without_control_tokens(text))}]
            for text in texts
        ]
        inputs = self.tokenizer.apply_chat_template(
            chats,
            add_generation_prompt=True,
            enable_thinking=False,  # of the families that think aloud otherwise; no other template reads it
            return_dict=True,
            return_tensors="pt",
            padding=True,
            tokenizer_kwargs={"padding_side": "left"},
        )
        return dict(inputs.to(self.device))
