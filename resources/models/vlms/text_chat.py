"""Any text chat model of transformers, in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from resources.models.checkpoints import Device, load_model, load_processor
from resources.models.vlms.answers import Answer
from resources.models.vlms.spec import RepairSpec
from resources.models.vlms.writer import Writer

CODE_VERSION = "1"
PROMPT = "Rewrite this description of a picture as JSON. Use its own words and add none.\n\n{text}"


class ChatModel:
    """A text chat model through its own tokenizer and chat template. Making one reads small files only."""

    def __init__(self, spec: RepairSpec, device: Device) -> None:
        self.spec = spec
        self.device = device
        self._writer = Writer(spec, device, f"{CODE_VERSION} {PROMPT}", model=_model, processor=_processor)
        self.fingerprint = self._writer.fingerprint

    def load(self) -> None:
        """Load the weights now rather than at the first answer."""
        _ = self._writer.model

    def rewrite(self, texts: Sequence[str], schema: Mapping[str, Any]) -> list[Answer]:
        """The texts as JSON of the schema, in their order. Raises SchemaError."""
        answers: list[Answer] = []
        for start in range(0, len(texts), self.spec.batch_size):
            inputs = self._inputs(texts[start : start + self.spec.batch_size])
            rules = self._writer.rules_of(schema, inputs["input_ids"].shape[1])
            answers += self._writer.write(inputs, self.spec.description_tokens, rules)
        return answers

    def _inputs(self, texts: Sequence[str]) -> dict[str, Any]:
        chats = [
            [{"role": "user", "content": PROMPT.format(text=self._writer.without_control_tokens(text))}]
            for text in texts
        ]
        inputs = self._writer.tokenizer.apply_chat_template(
            chats,
            add_generation_prompt=True,
            enable_thinking=False,  # of the families that think aloud otherwise; no other template reads it
            return_dict=True,
            return_tensors="pt",
            padding=True,
            tokenizer_kwargs={"padding_side": "left"},
        )
        return dict(inputs.to(self.device))


def _model(spec: Any, directory: Any, device: Device) -> Any:
    return load_model(directory, "AutoModelForCausalLM", spec.dtype, device)


def _processor(directory: Any) -> Any:
    return SimpleNamespace(tokenizer=load_processor(directory, "AutoTokenizer"))
