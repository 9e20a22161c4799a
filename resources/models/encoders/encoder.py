"""A dual encoder over the towers of any library: batches, threads, unit length, fingerprint."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from resources.fingerprint import fingerprint
from resources.models.checkpoints import Device
from resources.models.encoders.heads import Calibration, ScoreHead, read_calibration
from resources.models.encoders.spec import EncoderSpec
from resources.models.encoders.towers import Pixels, Towers, stack
from resources.models.registry import registry

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

CODE_VERSION = "1"


class Encoder:
    """Images and phrases into one space. Making one reads small files; the weights are loaded at the first embedding.

    Raises ModelUnavailableError where there is no checkpoint, and at loading where it lacks weights.
    """

    def __init__(self, spec: EncoderSpec, device: Device) -> None:
        self.spec = spec
        self.device = device
        self._towers: Towers = registry().family(spec.role, spec.family).implementation()(spec, device)
        self.directory = self._towers.directory
        self.fingerprint = fingerprint(code=CODE_VERSION, weights=self._towers.content, dtype=spec.dtype)
        self._loading = threading.Lock()

    @property
    def dimension(self) -> int:
        return self._towers.dimension

    @property
    def score_head(self) -> ScoreHead:
        return self._towers.score_head

    @cached_property
    def calibration(self) -> Calibration | None:
        return read_calibration(self.directory)

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are in memory."""
        return "model" in vars(self._towers)

    def load(self) -> None:
        """Load the weights now rather than at the first embedding."""
        _ = self._towers.model

    def preprocess(self, image: Image.Image) -> Pixels:
        """What the image tower reads of an RGB image of any size, by the checkpoint's own preprocessing.

        Safe to call from several threads.
        """
        with self._loading:  # a cached property may otherwise be computed once a thread
            preprocess = self._towers.preprocess
        return preprocess(image)

    def embed_pixels(self, pixels: Sequence[Pixels]) -> NDArray[np.float32]:
        """Unit-length embeddings `[n, dimension]` of preprocessed images, in one batch."""
        import torch

        dtype = getattr(torch, self.spec.dtype)
        with torch.inference_mode():
            batch = {
                name: tensor.to(self.device, dtype if tensor.is_floating_point() else None)
                for name, tensor in ((name, torch.from_numpy(array)) for name, array in stack(pixels).items())
            }
            return _unit(self._towers.image_features(batch))

    def embed_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Unit-length embeddings `[n, dimension]` of RGB images of any size."""
        size = self.spec.batch_size
        parts = [
            self.embed_pixels([self.preprocess(image) for image in images[start : start + size]])
            for start in range(0, len(images), size)
        ]
        return np.concatenate(parts) if parts else np.empty((0, self.dimension), dtype=np.float32)

    def sent(self, text: str) -> str:
        """What the text tower reads of a text: it cuts one that is too long. No weights are loaded for it."""
        return self._towers.sent(text)

    def embed_texts(
        self, texts: Sequence[str], on_progress: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """Unit-length embeddings `[n, dimension]` of texts, cut at the length of the text tower.

        Texts of about the same length share a batch, so that little is computed for padding. `on_progress(done)` is
        called after each batch.
        """
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for start in range(0, len(order), self.spec.batch_size):
            places = order[start : start + self.spec.batch_size]
            vectors[places] = self._embed_text_batch([texts[place] for place in places])
            if on_progress:
                on_progress(start + len(places))
        return vectors

    def _embed_text_batch(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            return _unit(self._towers.text_features(texts))


def _unit(features: Tensor) -> NDArray[np.float32]:
    vectors: Any = features.float()
    return np.asarray((vectors / vectors.norm(dim=-1, keepdim=True)).cpu().numpy(), dtype=np.float32)
