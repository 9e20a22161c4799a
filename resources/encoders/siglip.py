"""SigLIP and SigLIP 2 through transformers: the bundled checkpoint and the large ones alike."""

from __future__ import annotations

import threading
from collections.abc import Sequence
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
    read_config,
    read_scalars,
)
from resources.encoders.heads import Calibration, ScoreHead, read_calibration
from resources.encoders.spec import EncoderSpec
from resources.fingerprint import fingerprint

if TYPE_CHECKING:
    from PIL import Image

CODE_VERSION = "1"
# transformers leaves a value out of config.json where it equals the default of SiglipVisionConfig
_DEFAULT_HIDDEN_SIZE = 768
_DEFAULT_TEXT_LENGTH = 64


class SiglipEncoder:
    """A SigLIP checkpoint. Making one reads small files; the weights are loaded at the first embedding."""

    def __init__(self, spec: EncoderSpec, device: Device) -> None:
        self.spec = spec
        self.device = device
        self.directory = checkpoint_directory(spec)
        self.fingerprint = fingerprint(
            code=CODE_VERSION, weights=content_hash(self.directory), dtype=spec.dtype
        )
        self._loading = threading.Lock()

    @cached_property
    def dimension(self) -> int:
        return read_config(self.directory)["vision_config"].get("hidden_size", _DEFAULT_HIDDEN_SIZE)

    @cached_property
    def score_head(self) -> ScoreHead:
        scalars = read_scalars(self.directory, "logit_scale", "logit_bias")
        return ScoreHead("sigmoid", scale=float(np.exp(scalars["logit_scale"])), bias=scalars["logit_bias"])

    @cached_property
    def calibration(self) -> Calibration | None:
        return read_calibration(self.directory)

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are in memory."""
        return "_model" in self.__dict__

    @cached_property
    def _processor(self) -> Any:
        return load_processor(self.directory)

    @cached_property
    def _model(self) -> Any:
        return load_model(self.directory, "AutoModel", self.spec.dtype, self.device)

    def load(self) -> None:
        """Load the weights now rather than at the first embedding."""
        _ = self._model

    def preprocess(self, image: Image.Image) -> NDArray[np.float32]:
        """The pixels the model sees, `[3, height, width]`, by the checkpoint's own image processor.

        Safe to call from several threads.
        """
        with self._loading:  # a cached property may otherwise be computed once a thread
            processor = self._processor.image_processor
        pixels = processor(images=image, return_tensors="pt")["pixel_values"][0]
        return np.asarray(pixels, dtype=np.float32)

    def embed_pixels(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unit-length embeddings `[n, dimension]` of preprocessed pixels `[n, 3, height, width]`."""
        import torch

        model = self._model
        with torch.inference_mode():
            batch = torch.from_numpy(pixels).to(device=self.device, dtype=model.dtype)
            return _unit(model.get_image_features(pixel_values=batch))

    def embed_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Unit-length embeddings `[n, dimension]` of RGB images of any size."""
        return self._in_batches(
            images, lambda batch: self.embed_pixels(np.stack([self.preprocess(image) for image in batch]))
        )

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit-length embeddings `[n, dimension]` of texts, cut at the length of the text tower."""
        return self._in_batches(texts, self._embed_text_batch)

    def _embed_text_batch(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import torch

        length = read_config(self.directory)["text_config"].get(
            "max_position_embeddings", _DEFAULT_TEXT_LENGTH
        )
        # SigLIP pools the last token and saw every text padded to the full length, unmasked, in lower case
        tokens = self._processor.tokenizer(
            [text.lower() for text in texts],
            padding="max_length",
            max_length=length,
            truncation=True,
            return_tensors="pt",
        )
        with torch.inference_mode():
            return _unit(self._model.get_text_features(input_ids=tokens["input_ids"].to(self.device)))

    def _in_batches(self, items: Sequence[Any], embed: Any) -> NDArray[np.float32]:
        size = self.spec.batch_size
        parts = [embed(items[start : start + size]) for start in range(0, len(items), size)]
        return np.concatenate(parts) if parts else np.empty((0, self.dimension), dtype=np.float32)


def _unit(features: Any) -> NDArray[np.float32]:
    tensor = getattr(features, "pooler_output", features).float()
    normed = tensor / tensor.norm(dim=-1, keepdim=True)
    return np.asarray(normed.cpu().numpy(), dtype=np.float32)
