"""Dual encoders of transformers: SigLIP, SigLIP 2 (fixed and native resolution), CLIP, MetaCLIP 2."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from resources.models.checkpoints import (
    Device,
    checkpoint_directory,
    content_hash,
    load_model,
    load_processor,
    read_config,
    read_scalars,
)
from resources.models.cut_texts import cut_to_tokens
from resources.models.encoders.heads import ScoreHead
from resources.models.encoders.spec import EncoderSpec
from resources.models.encoders.towers import Pixels

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Form:
    """How models of one training speak: their head, their texts, and where config.json tells their size."""

    head: Literal["sigmoid", "softmax"]
    lower_case: bool
    padding: Literal["max_length", "longest"]
    text_inputs: tuple[str, ...]
    text_length: int
    """transformers leaves a value out of config.json where it is the default of its class: this one"""
    dimension: tuple[str, ...]
    default_dimension: int


SIGLIP = Form(
    head="sigmoid",
    # SigLIP pools the last token and saw every text padded to the full length, unmasked, in lower case
    lower_case=True,
    padding="max_length",
    text_inputs=("input_ids",),
    text_length=64,
    dimension=("vision_config", "hidden_size"),
    default_dimension=768,
)
CLIP = Form(
    head="softmax",
    # CLIP pools the token that ends the text and looks at nothing behind it; its tokenizer knows about case
    lower_case=False,
    padding="longest",
    text_inputs=("input_ids", "attention_mask"),
    text_length=77,
    dimension=("projection_dim",),
    default_dimension=512,
)
FORMS = {"siglip": SIGLIP, "siglip2-naflex": SIGLIP, "clip": CLIP, "metaclip2": CLIP}


class TransformersTowers:
    """A checkpoint that `AutoModel` loads, with `get_image_features` and `get_text_features`."""

    def __init__(self, spec: EncoderSpec, device: Device) -> None:
        self._spec = spec
        self._device = device
        self._form = FORMS[spec.family]
        self.directory = checkpoint_directory(spec)

    @property
    def content(self) -> str:
        return content_hash(self.directory)

    @cached_property
    def _config(self) -> dict[str, Any]:
        return read_config(self.directory)

    @cached_property
    def dimension(self) -> int:
        value: Any = self._config
        for name in self._form.dimension:
            value = value.get(name, self._form.default_dimension)
        return int(value)

    @cached_property
    def score_head(self) -> ScoreHead:
        names = ("logit_scale", "logit_bias") if self._form.head == "sigmoid" else ("logit_scale",)
        scalars = read_scalars(self.directory, *names)
        scale = float(np.exp(scalars["logit_scale"]))
        return ScoreHead(self._form.head, scale, scalars.get("logit_bias", 0.0))

    @cached_property
    def _processor(self) -> Any:
        return load_processor(self.directory)

    @cached_property
    def model(self) -> Any:
        return load_model(self.directory, "AutoModel", self._spec.dtype, self._device)

    @cached_property
    def preprocess(self) -> Callable[[Image.Image], Pixels]:
        processor = rows_of_pixels(self._processor.image_processor)
        return lambda image: {
            name: value[0].numpy() for name, value in processor(images=image, return_tensors="pt").items()
        }

    def image_features(self, batch: Mapping[str, Tensor]) -> Tensor:
        return _pooled(self.model.get_image_features(**batch))

    @property
    def _text_length(self) -> int:
        return int(self._config["text_config"].get("max_position_embeddings", self._form.text_length))

    def sent(self, text: str) -> str:
        text = text.lower() if self._form.lower_case else text
        return cut_to_tokens(self._processor.tokenizer, text, self._text_length)

    def text_features(self, texts: Sequence[str]) -> Tensor:
        form = self._form
        tokens = self._processor.tokenizer(
            [text.lower() if form.lower_case else text for text in texts],
            padding=form.padding,
            max_length=self._text_length,
            truncation=True,
            return_tensors="pt",
        )
        inputs = {name: tokens[name].to(self._device) for name in form.text_inputs}
        return _pooled(self.model.get_text_features(**inputs))


def rows_of_pixels(processor: Any) -> Any:
    """An image processor that reads an RGB picture as it lies in memory, row of pixels after row of pixels.

    That of torchvision makes a copy channel after channel first, which takes as long as resizing, and resizes that in
    twice the time: to the same values, as the tests hold it to. Pictures of other kinds, and processors of other
    backends, are left to the library.
    """
    if getattr(processor, "backend", None) != "torchvision":
        return processor
    by_library = processor.process_image

    def process_image(image: Any, *, device: Any = None, **options: Any) -> Tensor:
        if not isinstance(image, Image.Image) or image.mode != "RGB":
            made: Tensor = by_library(image, device=device, **options)
            return made
        import torch

        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        return pixels if device is None else pixels.to(device)

    processor.process_image = process_image
    return processor


def _pooled(features: Any) -> Tensor:
    tensor: Tensor = getattr(features, "pooler_output", features)
    return tensor
