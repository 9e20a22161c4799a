"""Models that caption and do not chat: each is asked in the few words that its family knows, or in none.

A family is a row of FORMS: what its processor is and what the model takes. Questions of one prompt are asked
together and every picture has the same number of tokens, so that nothing is padded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from resources.models.batching import alike
from resources.models.checkpoints import TRANSFORMERS, Device, Layout, load_processor
from resources.models.vlms import florence2
from resources.models.vlms.answers import Answer, Pictures, Schema
from resources.models.vlms.beit3 import checkpoint as beit3
from resources.models.vlms.ofa import checkpoint as ofa
from resources.models.vlms.pixels import squares
from resources.models.vlms.spec import VlmSpec
from resources.models.vlms.writer import Rule, Writer

CODE_VERSION = "1"


@dataclass(frozen=True, slots=True)
class Parts:
    """A processor of two parts, for families whose checkpoints may say nothing of a common one."""

    image_processor: Any
    tokenizer: Any


@dataclass(frozen=True, slots=True)
class Form:
    """How a family is run."""

    inputs: Callable[[Any, Pictures, str], Mapping[str, Any]]
    """(processor, pictures, prompt) -> what the model takes"""
    model_class: str = Writer.model_class
    load: Callable[[VlmSpec, Path, Device], Any] | None = None
    """what makes the model, where not its class in transformers does"""
    processor: Callable[[Path], Any] = load_processor
    part: str | None = None
    """the submodule that decodes, where the model is not its own decoder"""
    end: str | None = None
    """the entry of its configuration that ends an answer, where its generation settings do not say"""
    folder: Callable[[str], Path] | None = None
    """where the checkpoint of a tier's `model` lies, where that is always a folder of this machine"""
    layout: Layout = TRANSFORMERS
    rules: Callable[[Any], list[Rule]] = lambda processor: []


class Captioner(Writer):
    """A captioning model of the family of its spec. Making one reads small files only."""

    def __init__(self, spec: VlmSpec, device: Device) -> None:
        self._form = FORMS[spec.family]
        if self._form.folder:
            spec = spec.model_copy(update={"model": str(self._form.folder(spec.model).resolve())})
        super().__init__(spec, device, f"captioner {CODE_VERSION}", self._form.layout)
        self.model_class, self.part, self.end = self._form.model_class, self._form.part, self._form.end

    @cached_property
    def processor(self) -> Any:
        return self._form.processor(self.directory)

    @cached_property
    def model(self) -> Any:
        load = self._form.load
        return load(self.spec, self.directory, self.device) if load else super().model

    def answer(
        self, images: Pictures, prompts: Sequence[str], *, max_tokens: int, schema: Schema | None = None
    ) -> list[Answer]:
        """One answer an image. Takes no notice of `schema`: these models write no JSON."""
        answers: dict[int, Answer] = {}
        for places in alike(prompts, self.spec.batch_size):
            pictures = [images[place].convert("RGB") for place in places]
            inputs = self._form.inputs(self.processor, pictures, prompts[places[0]])
            told = self.write(self.on_device(inputs), max_tokens, self._form.rules(self.processor))
            answers |= zip(places, told, strict=True)
        return [answers[place] for place in range(len(prompts))]


def _pixels(processor: Any, pictures: Pictures) -> dict[str, Any]:
    values = processor.image_processor(images=list(pictures), return_tensors="pt")["pixel_values"]
    return {"pixel_values": values}


def _picture_alone(processor: Any, pictures: Pictures, prompt: str) -> Mapping[str, Any]:
    if prompt:
        raise ValueError(f"this model is asked nothing, and was asked {prompt!r}")
    return _pixels(processor, pictures)


def _picture_and_text(processor: Any, pictures: Pictures, prompt: str) -> Mapping[str, Any]:
    inputs = processor(images=list(pictures), text=[prompt] * len(pictures), return_tensors="pt")
    return {name: inputs[name] for name in ("input_ids", "attention_mask", "pixel_values")}


def _task_of_decoder(processor: Any, pictures: Pictures, prompt: str) -> Mapping[str, Any]:
    task = processor.tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
    return _pixels(processor, pictures) | {"decoder_input_ids": task.expand(len(pictures), -1)}


def _question_of_ofa(processor: Any, pictures: Pictures, prompt: str) -> Mapping[str, Any]:
    tokenizer = processor.tokenizer
    ids = tokenizer(f"{tokenizer.bos_token} {prompt}{tokenizer.eos_token}", return_tensors="pt")["input_ids"]
    return {"pixel_values": squares(pictures, processor.side_px), "prompt_ids": ids.expand(len(pictures), -1)}


def _square_alone(processor: Any, pictures: Pictures, prompt: str) -> Mapping[str, Any]:
    return {"pixel_values": squares(pictures, processor.side_px)}


def _some_words(processor: Any) -> list[Rule]:
    """As OFA's own search has it: no padding, and no end before the first word."""
    from transformers import SuppressTokensAtBeginLogitsProcessor, SuppressTokensLogitsProcessor

    tokenizer = processor.tokenizer
    return [
        SuppressTokensLogitsProcessor([tokenizer.pad_token_id]),
        SuppressTokensAtBeginLogitsProcessor([tokenizer.eos_token_id], begin_index=1),
    ]


def _two_parts(directory: Path) -> Parts:
    return Parts(load_processor(directory, "AutoImageProcessor"), load_processor(directory, "AutoTokenizer"))


def _nothing_unknown(processor: Any) -> list[Rule]:
    from transformers import SuppressTokensLogitsProcessor

    return [SuppressTokensLogitsProcessor([processor.tokenizer.unk_token_id])]


_ENCODER_AND_DECODER = "VisionEncoderDecoderModel"
_FLORENCE_2 = Form(_picture_and_text, load=florence2.load, processor=florence2.processor)

FORMS: Mapping[str, Form] = {
    "blip": Form(_picture_alone, part="text_decoder", end="text_config.sep_token_id"),
    "blip-2": Form(_picture_and_text, part="language_model"),
    "git": Form(_picture_alone),
    "vit-gpt2": Form(_picture_alone, model_class=_ENCODER_AND_DECODER, processor=_two_parts),
    "donut": Form(
        _task_of_decoder, model_class=_ENCODER_AND_DECODER, processor=_two_parts, rules=_nothing_unknown
    ),
    "ofa": Form(
        _question_of_ofa,
        load=lambda spec, directory, device: ofa.load(directory, spec.dtype, device),
        processor=ofa.processor,
        folder=ofa.folder_of,
        layout=ofa.LAYOUT,
        rules=_some_words,
    ),
    "beit-3": Form(
        _square_alone,
        load=lambda spec, directory, device: beit3.load(directory, spec.dtype, device),
        processor=beit3.processor,
        folder=beit3.folder_of,
        layout=beit3.LAYOUT,
    ),
    "florence-2": _FLORENCE_2,
    "florence-2-promptgen": _FLORENCE_2,
}
