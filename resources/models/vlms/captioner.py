"""Models that caption and do not chat: each is asked in the few words that its family knows, or in none.

A family is a row of FORMS: what its processor is and what the model takes. Questions of one prompt are asked
together and every picture has the same number of tokens, so that nothing is padded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.models.batching import alike
from resources.models.checkpoints import Device, load_model, load_processor
from resources.models.vlms import florence2
from resources.models.vlms.answers import Answer
from resources.models.vlms.spec import VlmSpec
from resources.models.vlms.writer import Loader, Rule, Writer, image_text_model

if TYPE_CHECKING:
    from PIL import Image

CODE_VERSION = "1"

Pictures = Sequence["Image.Image"]


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
    model: Loader = image_text_model
    processor: Callable[[Path], Any] = load_processor
    part: str | None = None
    """the submodule that decodes, where the model is not its own decoder"""
    end: str | None = None
    """the entry of its configuration that ends an answer, where its generation settings do not say"""
    rules: Callable[[Any], list[Rule]] = lambda processor: []


class Captioner:
    """A captioning model of the family of its spec. Making one reads small files only."""

    def __init__(self, spec: VlmSpec, device: Device) -> None:
        self.spec = spec
        self.device = device
        self._form = form = FORMS[spec.family]
        self._writer = Writer(
            spec,
            device,
            f"captioner {CODE_VERSION}",
            model=form.model,
            processor=form.processor,
            part=form.part,
            end=form.end,
        )
        self.fingerprint = self._writer.fingerprint

    def load(self) -> None:
        """Load the weights now rather than at the first answer."""
        _ = self._writer.model

    def answer(
        self,
        images: Sequence[Image.Image],
        prompts: Sequence[str],
        *,
        max_tokens: int,
        schema: Mapping[str, Any] | None = None,
    ) -> list[Answer]:
        """One answer an image. Takes no notice of `schema`: these models write no JSON."""
        writer = self._writer
        answers: dict[int, Answer] = {}
        for places in alike(prompts, self.spec.batch_size):
            pictures = [images[place].convert("RGB") for place in places]
            inputs = self._form.inputs(writer.processor, pictures, prompts[places[0]])
            told = writer.write(self._on_device(inputs), max_tokens, self._form.rules(writer.processor))
            answers |= zip(places, told, strict=True)
        return [answers[place] for place in range(len(prompts))]

    def _on_device(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        dtype = self._writer.model.dtype
        return {
            name: values.to(self.device, dtype if values.is_floating_point() else None)
            for name, values in inputs.items()
        }


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


def _two_parts(directory: Path) -> Parts:
    return Parts(load_processor(directory, "AutoImageProcessor"), load_processor(directory, "AutoTokenizer"))


def _encoder_and_decoder(spec: VlmSpec, directory: Path, device: Device) -> Any:
    return load_model(directory, "VisionEncoderDecoderModel", spec.dtype, device)


def _nothing_unknown(processor: Any) -> list[Rule]:
    from transformers import SuppressTokensLogitsProcessor

    return [SuppressTokensLogitsProcessor([processor.tokenizer.unk_token_id])]


_FLORENCE_2 = Form(_picture_and_text, model=florence2.load, processor=florence2.processor)

FORMS: Mapping[str, Form] = {
    "blip": Form(_picture_alone, part="text_decoder", end="text_config.sep_token_id"),
    "blip-2": Form(_picture_and_text, part="language_model"),
    "git": Form(_picture_alone),
    "vit-gpt2": Form(_picture_alone, model=_encoder_and_decoder, processor=_two_parts),
    "donut": Form(_task_of_decoder, model=_encoder_and_decoder, processor=_two_parts, rules=_nothing_unknown),
    "florence-2": _FLORENCE_2,
    "florence-2-promptgen": _FLORENCE_2,
}
