"""RAM++, RAM and Tag2Text: a few thousand tags by one pass, or the labels of your own vocabulary.

What is published is a pickle and the lists beside it in the repository of its code; `vistag convert` makes safetensors
of the pickle once (docs/taggers.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from resources.fingerprint import fingerprint
from resources.models.checkpoints import (
    Device,
    Layout,
    ModelUnavailableError,
    checkpoint_directory,
    content_hash,
    read_weights,
    refuse_missing,
    shared_model,
)
from resources.models.convert import ALONE
from resources.models.encoders import EncoderSpec
from resources.models.onnx_files import FOLDER_VARIABLE, model_path
from resources.models.taggers.spec import AskedTag, TaggerSpec
from resources.models.taggers.tag_list import TagList, read_tag_list

if TYPE_CHECKING:
    from PIL import Image

    from resources.models.taggers.query_decoder import Labels

CODE_VERSION = "1"
DESCRIPTIONS = "llm_tag_descriptions.json"
"""Beside the weights, for open_set: descriptions by a language model, in the form that RAM++'s own were published in."""
RAM_FILES = Layout("ram_tag_list.txt", ("*.safetensors",), ("ram_tag_list_threshold.txt", DESCRIPTIONS))
LAYOUTS = {
    "ram-plus": RAM_FILES,
    "ram": RAM_FILES,
    "tag2text": Layout("tag2text_ori_tag_list.txt", ("*.safetensors",)),
}
DEFAULT_THRESHOLD = 0.68
_EXCEPTIONS = {"tag2text": {"person": 0.7, "man": 0.7, "woman": 0.7}}
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_OLDER_NAME = "vision_multi."
"""Of `tagging_head.` in the first checkpoints."""


class RamTagger:
    """A folder with the weights as safetensors and the list of tags: `model` is its path, or its name in $VISTAG_MODELS.

    Making one reads small files. Raises ModelUnavailableError where there is no such folder, and at the first image where
    it lacks weights or its list is of others.
    """

    def __init__(self, spec: TaggerSpec, device: Device) -> None:
        self.spec = spec
        self.device = device
        self.layout = LAYOUTS[spec.family]
        self.directory = _directory(spec, self.layout)
        opened = {"text_model": spec.text_model} if spec.open_set else {}
        self.fingerprint = fingerprint(
            code=CODE_VERSION,
            family=spec.family,
            weights=content_hash(self.directory, self.layout),
            dtype=spec.dtype,
            **opened,
        )
        self._last: tuple[tuple[AskedTag, ...], Labels] | None = None

    def load(self) -> None:
        _ = self._model

    @cached_property
    def tag_list(self) -> TagList:
        files = [self.directory / name for name in (self.layout.config, *self.layout.others)]
        threshold = self.spec.threshold
        return read_tag_list(
            files[0],
            files[1] if threshold is None and len(files) > 1 else None,
            threshold or DEFAULT_THRESHOLD,
            {} if threshold else _EXCEPTIONS.get(self.spec.family, {}),
        )

    def score(
        self, images: Sequence[Image.Image], asked: tuple[AskedTag, ...] | None = None
    ) -> NDArray[np.float32]:
        """float32 [images, tags], 0..1, of its own tags, or of what is asked: see `Tagger`."""
        import torch

        labels = self._own_labels if asked is None else self._labels_of(asked)
        model, size, parts = self._model, self.spec.batch_size, []
        with torch.inference_mode():
            for start in range(0, len(images), size):
                pixels = np.stack([self._seen(image) for image in images[start : start + size]])
                logits = model(torch.from_numpy(pixels).to(labels.vectors), labels)
                parts.append(logits.float().sigmoid().cpu().numpy())
        return np.concatenate(parts) if parts else np.empty((0, len(labels.vectors)), np.float32)

    @cached_property
    def _model(self) -> Any:
        import torch

        def load() -> Any:
            from resources.models.taggers.query_decoder import build

            weights = _with_one_name(read_weights(self.directory), self.spec.family)
            try:
                model, missing = build(self.spec.family, weights)
            except KeyError as error:
                raise ModelUnavailableError(
                    f"{self.directory} holds no weights of {self.spec.family} ({error} is missing): convert the published "
                    "pickle once (vistag convert), and name its family"
                ) from error
            refuse_missing(self.directory, missing)
            return model.to(self.device, getattr(torch, self.spec.dtype)).eval()

        return shared_model(self.directory, self.spec.family, self.spec.dtype, self.device, load)

    @cached_property
    def _own_labels(self) -> Labels:
        from resources.models.taggers.query_decoder import own_labels

        tags, rows = len(self.tag_list.names), len(self._model.label_embed)
        if rows % tags or (rows != tags and self.spec.family != "ram-plus"):
            raise ModelUnavailableError(
                f"{self.directory / self.layout.config} has {tags} tags, and the weights beside it {rows} embeddings: take "
                "both from one release"
            )
        return own_labels(self._model, tags)

    def _labels_of(self, asked: tuple[AskedTag, ...]) -> Labels:
        """Kept for what was asked last, which is a vocabulary as a rule."""
        if self._last is None or self._last[0] != asked:
            self._last = (asked, self._embedded(asked))
        return self._last[1]

    def _embedded(self, asked: tuple[AskedTag, ...]) -> Labels:
        """The texts by CLIP's text tower: RAM++ takes each for itself, RAM their mean."""
        import torch

        from resources.models.taggers.query_decoder import asked_labels

        spec = EncoderSpec(family="clip", model=self.spec.text_model, licence="MIT", dtype="float32")
        encoder = spec.implementation()(spec, self.device)  # let go of again: it is asked once
        own = self._model.label_embed
        if encoder.dimension != own.shape[1]:
            raise ModelUnavailableError(
                f"text_model: {self.spec.text_model} has vectors of {encoder.dimension}, and {self.spec.name} was trained "
                f"with {own.shape[1]}: name the CLIP that it was trained beside (ViT-B/16)"
            )
        texts = [self._described(each) for each in asked]
        flat = encoder.embed_texts([text for each in texts for text in each])
        vectors = [
            torch.from_numpy(part) for part in np.split(flat, np.cumsum([len(each) for each in texts])[:-1])
        ]
        if self.spec.family == "ram":
            vectors = [
                torch.nn.functional.normalize(each.mean(dim=0, keepdim=True), dim=-1) for each in vectors
            ]
        return asked_labels(vectors, own)

    def _described(self, asked: AskedTag) -> Sequence[str]:
        """The descriptions of a thing, where the file beside the weights has some under one of its names."""
        found = [text for name in asked.labels for text in self._descriptions.get(name.casefold(), ())]
        return found or asked.phrases

    @cached_property
    def _descriptions(self) -> Mapping[str, Sequence[str]]:
        path = self.directory / DESCRIPTIONS
        return read_descriptions(path) if path.is_file() else {}

    def _seen(self, image: Image.Image) -> NDArray[np.float32]:
        """[3, side, side]: the whole image, its sides made equal."""
        from PIL import Image as Pillow

        side = self._model.shape.side_px
        pixels = image.convert("RGB").resize((side, side), Pillow.Resampling.BILINEAR)
        values = (np.asarray(pixels, np.float32) / 255 - _MEAN) / _STD
        return np.ascontiguousarray(values.transpose(2, 0, 1), np.float32)


def _directory(spec: TaggerSpec, layout: Layout) -> Path:
    """Raises ModelUnavailableError with the way there, since no hub has these files in one place."""
    path = model_path(spec.model)
    missing = [
        name
        for name, found in ((layout.config, (path / layout.config).is_file()), ("*.safetensors", any(path.glob("*.safetensors"))))
        if not found
    ]  # fmt: skip
    if missing:
        raise ModelUnavailableError(
            f"{path} is no folder of {spec.family} ({' and '.join(missing)} missing). Fetch its .pth, turn it once into "
            f"safetensors there (vistag convert FILE.pth --to {path.name}/model.safetensors), put {layout.config} of the "
            f"repository of its code beside it, and give the folder as `model`, or its name and the folder that holds it in "
            f"the environment variable {FOLDER_VARIABLE} (docs/taggers.md)"
        )
    return checkpoint_directory(spec.model_copy(update={"model": str(path.resolve())}), layout)


def _with_one_name(weights: Mapping[str, Any], family: str) -> dict[str, Any]:
    """Weights under the names of the newest code, the embeddings of a file of their own among them."""
    named = {
        f"tagging_head.{name.removeprefix(_OLDER_NAME)}" if name.startswith(_OLDER_NAME) else name: value
        for name, value in weights.items()
    }
    if family != "tag2text" and ALONE in named:
        named.setdefault("label_embed", named[ALONE])
    return named


def read_descriptions(path: Path) -> dict[str, list[str]]:
    """Name in lower case -> its descriptions, of `[{name: [description, ...]}, ...]`. Raises ModelUnavailableError."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        found = {
            name.casefold(): [str(text) for text in texts]
            for entry in entries
            for name, texts in entry.items()
        }
    except (ValueError, AttributeError, TypeError) as error:
        raise ModelUnavailableError(
            f"{path}: a list of names, each with its descriptions, is wanted, such as "
            f'[{{"vase": ["a tall vessel ...", "..."]}}] ({error})'
        ) from error
    return {name: texts for name, texts in found.items() if texts}
