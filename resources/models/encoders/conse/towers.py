"""The towers of `conse`: class probabilities of an image, weights of classes of a phrase, in one space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from resources.fingerprint import fingerprint
from resources.models.checkpoints import Device
from resources.models.encoders.conse.classifier import Classifier, Network
from resources.models.encoders.conse.hierarchy import nodes
from resources.models.encoders.conse.phrases import PhraseReader
from resources.models.encoders.conse.sentences import SentenceEncoder
from resources.models.encoders.heads import ScoreHead
from resources.models.encoders.spec import EncoderSpec
from resources.models.encoders.towers import Pixels

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

CODE_VERSION = "1"
SHARPNESS = 2.0
"""Power of the probabilities that are added up. With 1 a dog of one of two breeds is surely a dog, and the breed comes
after it even where it is sure; with a large power a kind is as probable as the likeliest of its classes."""
CLASS_SHARE = 0.1
"""Of the squared length of an image's vector: the rest are the classifier's own features, by which images are compared."""


class ConseTowers:
    """A classifier and a sentence encoder.

    An image's vector is `[p ** SHARPNESS, own filling, 0, features]`, a phrase's `[w ** SHARPNESS / sqrt(classes), 0, own
    filling, 0]`, the filling as long as makes each part unit length. So the product of an image and a phrase is
    proportional to `sum((p_c * w_c) ** SHARPNESS)` over the classes, that of two images is led by their features, and the
    mean of a concept's phrases is near the mean of their weights.
    """

    def __init__(self, spec: EncoderSpec, device: Device) -> None:
        self._spec, self._device = spec, device
        self._classifier = Classifier(spec, device, spec.input_px)
        self._sentences = SentenceEncoder(
            spec.model_copy(update={"model": spec.text_model, "revision": None}), device
        )
        self.directory = self._classifier.directory

    @property
    def content(self) -> str:
        return fingerprint(
            code=CODE_VERSION,
            classifier=self._classifier.content,
            sentences=self._sentences.content,
            temperature=self._spec.temperature,
            input_px=self._spec.input_px,
        )

    @cached_property
    def _class_names(self) -> tuple[str, ...]:
        return self._classifier.class_names

    @property
    def dimension(self) -> int:
        return len(self._class_names) + 2 + self._classifier.width

    @property
    def score_head(self) -> ScoreHead:
        scale = float(np.sqrt(len(self._class_names) / CLASS_SHARE))
        return ScoreHead("probability", scale, power=1 / SHARPNESS)

    @cached_property
    def model(self) -> Network:
        return self._classifier.network

    @cached_property
    def preprocess(self) -> Callable[[Image.Image], Pixels]:
        return self._classifier.preprocess

    @cached_property
    def _reader(self) -> PhraseReader:
        return PhraseReader(nodes(self._class_names), len(self._class_names), self._sentences.embed)

    def image_features(self, batch: Mapping[str, Tensor]) -> Tensor:
        import torch

        logits, pooled = self.model(batch["pixel_values"])
        classes = torch.softmax(logits.float() / self._spec.temperature, dim=-1) ** SHARPNESS
        filling = (1 - classes.square().sum(-1, keepdim=True)).clamp(min=0).sqrt()
        none = torch.zeros_like(filling)
        features = torch.nn.functional.normalize(pooled.float(), dim=-1)
        return torch.cat(
            [
                CLASS_SHARE**0.5 * classes,
                CLASS_SHARE**0.5 * filling,
                none,
                (1 - CLASS_SHARE) ** 0.5 * features,
            ],
            dim=-1,
        )

    def text_features(self, texts: Sequence[str]) -> Tensor:
        import torch

        return torch.from_numpy(_filled(self._reader.weights(texts), self._classifier.width))


def _filled(weights: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Unit vectors of phrases: the classes, the image's filling, the phrase's own, the image's features."""
    count, classes = weights.shape
    named = weights**SHARPNESS / np.sqrt(classes)
    filling = np.sqrt(np.clip(1 - np.square(named).sum(1, keepdims=True), 0, None))
    return np.hstack([named, np.zeros_like(filling), filling, np.zeros((count, width))]).astype(np.float32)
