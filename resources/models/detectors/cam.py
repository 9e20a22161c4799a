"""Class activation maps: coarse boxes from an image classifier, of the things that it knows (Zhou et al., 2016).

A network that averages its features over the image and sums them up to classes says for each place how much it spoke
for a class. The map has some ten places a side: a box says where a thing is, not where it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from resources.fingerprint import fingerprint
from resources.models.checkpoints import Device, ModelUnavailableError
from resources.models.detectors.detections import Detections
from resources.models.detectors.spec import DetectorSpec
from resources.models.encoders.conse.classifier import Classifier, Network
from resources.models.encoders.conse.hierarchy import nodes
from resources.models.encoders.conse.phrases import PhraseReader

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

CODE_VERSION = "1"
"""To be raised with any of the constants below."""
SIDES_PX = (224, 352)
"""Shorter sides at which an image is looked at: small ones show a thing whole, large ones where it is."""
STRIDE_PX = 32
GRID = 64
"""Places a side of the map on which boxes are drawn."""
THRESHOLD = 0.3
"""Of the map's largest value; places below are not the thing. Zhou et al. take 0.2, for maps of twice as many places."""


class CamDetector:
    """A classifier of timm whose classes are sums of averaged features. One box a phrase, round the strongest place."""

    def __init__(self, spec: DetectorSpec, device: Device) -> None:
        self.spec, self.device = spec, device
        self._classifier = Classifier(spec, device)
        self.fingerprint = fingerprint(
            code=CODE_VERSION, weights=self._classifier.content, dtype=spec.dtype, min_score=spec.min_score
        )

    def load(self) -> None:
        """Raises ModelUnavailableError where its features are no map."""
        _ = self._network

    @cached_property
    def _network(self) -> Network:
        network = self._classifier.network
        if not hasattr(network.model, "forward_features"):
            raise ModelUnavailableError(
                f"{self.spec.name} is no network of timm: family cam cannot look into it"
            )
        return network

    @cached_property
    def _reader(self) -> PhraseReader:
        names = self._classifier.class_names
        return PhraseReader(nodes(names), len(names))

    def detect(self, images: Sequence[Image.Image], phrases: Sequence[Sequence[str]]) -> list[Detections]:
        """One `Detections` an image, of the phrases that name a class or a kind of classes that it shows.

        An image that comes several times, with other phrases each time, is looked at once.
        """
        seen: dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
        found = []
        for image, chunk in zip(images, phrases, strict=True):
            weights = self._reader.weights(chunk)
            if weights.any() and id(image) not in seen:
                seen[id(image)] = self._look(image)
            found.append(self._boxes(weights, *seen[id(image)]) if weights.any() else Detections.none(""))
        return found

    def _look(self, image: Image.Image) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probabilities of the classes `[classes]`, and what each place says for them `[classes, GRID, GRID]`."""
        import torch

        logits, maps = [], []
        with torch.inference_mode():
            for side in SIDES_PX:
                features = self._features(image, side)
                # centred: what speaks for all classes alike says nothing of where one is
                head = self._network.head.weight - self._network.head.weight.mean(0)
                logits.append(self._network.head(features.mean((2, 3)))[0])
                maps.append(
                    torch.nn.functional.interpolate(
                        torch.einsum("kc,chw->khw", head, features[0])[None], (GRID, GRID), mode="bilinear"
                    )[0]
                )
        probabilities = torch.stack(logits).mean(0).float().softmax(-1)
        return probabilities.cpu().numpy(), torch.stack(maps).mean(0).float().cpu().numpy()

    def _features(self, image: Image.Image, side: int) -> Tensor:
        """`[1, channels, rows, columns]` of the whole image, its shorter side as long as `side`."""
        import torch

        shrink = side / min(image.size)
        width, height = (
            max(STRIDE_PX, round(length * shrink / STRIDE_PX) * STRIDE_PX) for length in image.size
        )
        mean, std = self._classifier.pixel_statistics
        pixels = np.asarray(image.convert("RGB").resize((width, height), resample=3), np.float32) / 255
        batch = torch.from_numpy(((pixels - mean) / std).astype(np.float32).transpose(2, 0, 1)[None])
        model: Any = self._network.model
        features: Tensor = model.forward_features(batch.to(self.device, self._network.head.weight.dtype))
        if features.ndim != 4 or features.shape[1] != self._network.head.in_features:
            raise ModelUnavailableError(
                f"{self.spec.name}: its classes are no sums of a map of features: take another network for family cam"
            )
        return features

    def _boxes(
        self, weights: NDArray[np.float32], probabilities: NDArray[np.float32], maps: NDArray[np.float32]
    ) -> Detections:
        shares = weights * probabilities
        scores = np.minimum(shares.sum(axis=1), 1)
        kept = np.flatnonzero(scores >= self.spec.min_score)
        boxes = [strongest(np.tensordot(shares[place] / scores[place], maps, axes=1)) for place in kept]
        chosen = scores[kept].astype(np.float32)
        return Detections(
            np.array(boxes, np.float32).reshape(-1, 4), kept.astype(np.int64), chosen, chosen, prompt=""
        )


def strongest(heat: NDArray[np.float32]) -> tuple[float, float, float, float]:
    """The box, xywh relative, round the part of a map `[rows, columns]` that holds its largest value."""
    from scipy import ndimage

    rows, columns = heat.shape
    parts, _ = ndimage.label(heat >= THRESHOLD * heat.max() if heat.max() > 0 else np.ones_like(heat, bool))
    part = parts[np.unravel_index(int(heat.argmax()), heat.shape)]
    down, across = ndimage.find_objects(parts)[part - 1]
    return (
        across.start / columns,
        down.start / rows,
        (across.stop - across.start) / columns,
        (down.stop - down.start) / rows,
    )
