"""Dual encoders of open_clip, by their `open_clip_config.json`: OpenCLIP, EVA-CLIP, DFN, PE-Core, BiomedCLIP and others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resources.models.checkpoints import (
    TOKENIZER_FILES,
    Device,
    Layout,
    ModelUnavailableError,
    checkpoint_directory,
    content_hash,
    download,
    read_config,
    read_scalars,
)
from resources.models.cut_texts import cut_to_tokens
from resources.models.encoders.heads import ScoreHead
from resources.models.encoders.spec import EncoderSpec
from resources.models.encoders.towers import Pixels
from resources.models.load_counter import count_load

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

OPEN_CLIP = Layout(
    "open_clip_config.json",
    ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors"),
    TOKENIZER_FILES,
)
TEXT_TOWER = Layout("config.json", ())
"""Of a text tower that transformers builds: its weights lie in the checkpoint."""
_ENDS = 2
"""Tokens that begin and end a text."""
_PRECISION = {"float32": "fp32", "float16": "pure_fp16", "bfloat16": "pure_bf16"}


class OpenClipTowers:
    """A directory with `open_clip_config.json`, as open_clip writes it to the hub; all of it is read from there."""

    def __init__(self, spec: EncoderSpec, device: Device) -> None:
        self._spec = spec
        self._device = device
        self.directory = checkpoint_directory(spec, OPEN_CLIP)
        if not any((self.directory / name).is_file() for name in OPEN_CLIP.weights):
            raise ModelUnavailableError(
                f"{self.directory} holds no {OPEN_CLIP.weights[0]}. Where its weights are a pickle (.bin, .pt), "
                "which is not loaded, convert it once: vistag convert FILE."
            )
        self._model_config: dict[str, Any] = read_config(self.directory, OPEN_CLIP)["model_cfg"]
        self._text_tower = _text_tower(self.directory, self._model_config["text_cfg"])

    @property
    def content(self) -> str:
        own = content_hash(self.directory, OPEN_CLIP)
        return own if self._text_tower is None else own + content_hash(self._text_tower, TEXT_TOWER)

    @property
    def dimension(self) -> int:
        return int(self._model_config["embed_dim"])

    @cached_property
    def score_head(self) -> ScoreHead:
        has_bias = self._model_config.get("init_logit_bias") is not None
        names = ("logit_scale", "logit_bias") if has_bias else ("logit_scale",)
        scalars = read_scalars(self.directory, *names, layout=OPEN_CLIP)
        scale = float(np.exp(scalars["logit_scale"]))
        return ScoreHead("sigmoid" if has_bias else "softmax", scale, scalars.get("logit_bias", 0.0))

    @cached_property
    def model(self) -> Any:
        import open_clip

        count_load(self.directory)
        text = dict(self._model_config["text_cfg"])
        if self._text_tower is not None:
            text |= {"hf_model_name": str(self._text_tower), "hf_model_pretrained": False}
        try:
            model = open_clip.create_model(
                f"local-dir:{self.directory}",
                precision=_PRECISION[self._spec.dtype],
                device=self._device,
                require_pretrained=True,
                text_cfg=text,
            )
        except RuntimeError as error:  # what load_state_dict raises, naming the tensors
            raise ModelUnavailableError(f"{self.directory}: {error}. Fetch it again.") from error
        return model.eval()

    @cached_property
    def _tokenizer(self) -> Any:
        import open_clip

        return open_clip.get_tokenizer(f"local-dir:{self.directory}")

    @cached_property
    def preprocess(self) -> Callable[[Image.Image], Pixels]:
        from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict

        config = read_config(self.directory, OPEN_CLIP).get("preprocess_cfg", {})
        size = self._model_config["vision_cfg"].get("image_size", PreprocessCfg.size)
        merged = merge_preprocess_dict(PreprocessCfg(), config) | {"size": size}
        transform = image_transform_v2(PreprocessCfg(**merged), is_train=False)
        return lambda image: {"pixel_values": transform(image).numpy()}

    def image_features(self, batch: Mapping[str, Tensor]) -> Tensor:
        features: Tensor = self.model.encode_image(batch["pixel_values"])
        return features

    def sent(self, text: str) -> str:
        tokenizer = self._tokenizer
        if hasattr(tokenizer, "tokenizer"):  # one of transformers
            return cut_to_tokens(tokenizer.tokenizer, text, tokenizer.context_length)
        tokens = tokenizer.encode(text)
        room = tokenizer.context_length - _ENDS
        return text if len(tokens) <= room else str(tokenizer.decode(tokens[:room])).strip()

    def text_features(self, texts: Sequence[str]) -> Tensor:
        features: Tensor = self.model.encode_text(self._tokenizer(list(texts)).to(self._device))
        return features


def _text_tower(directory: Path, text_config: dict[str, Any]) -> Path | None:
    """Where the config.json lies of a text tower that transformers builds; None where open_clip builds it.

    The checkpoint names it by its id on the hub. A directory of that name inside the checkpoint comes first, so
    that a copied checkpoint needs no hub. Raises ModelUnavailableError.
    """
    name = text_config.get("hf_model_name")
    if name is None:
        return None
    if (directory / name / TEXT_TOWER.config).is_file():
        return directory / name
    try:
        return download(name, None, TEXT_TOWER)
    except ModelUnavailableError as error:
        raise ModelUnavailableError(
            f"The text tower of {directory} is built by the {TEXT_TOWER.config} of {name}. {error} "
            f"Or put that file into {directory / name}."
        ) from error
