"""OWLv2: every patch of the image is compared with every phrase by itself, so that phrases cannot merge.

Minderer et al., Scaling Open-Vocabulary Object Detection (2023).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from resources.boxes import clip, from_centres
from resources.models.checkpoints import Device, read_config
from resources.models.cut_texts import cut_to_tokens
from resources.models.detectors.detections import Detections
from resources.models.detectors.owlv2_pixels import pixel_values
from resources.models.detectors.pretrained import PretrainedDetector
from resources.models.detectors.spec import DetectorSpec

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

CODE_VERSION = "1"
_SEPARATOR = " | "
_TEXTS_AT_A_TIME = 64
_MAX_TEXT = 16
"""Tokens; transformers leaves it out of config.json where it is that."""


class Owlv2Detector(PretrainedDetector):
    """An OWLv2 checkpoint. The text tower sees no image: each phrase is embedded once and kept in memory."""

    def __init__(self, spec: DetectorSpec, device: Device) -> None:
        super().__init__(spec, device, CODE_VERSION)
        self._embedded: dict[str, Tensor] = {}

    def detect(self, images: Sequence[Image.Image], phrases: Sequence[Sequence[str]]) -> list[Detections]:
        """One `Detections` an image; a box may answer to several phrases (an object and its material).

        An image that comes several times, with other phrases each time, is encoded once.
        """
        import torch

        asked_of: dict[int, list[int]] = {}
        for place, image in enumerate(images):
            asked_of.setdefault(id(image), []).append(place)
        found: dict[int, Detections] = {}
        with torch.inference_mode():
            self._embed(phrase for chunk in phrases for phrase in chunk)
            groups = list(asked_of.values())
            for start in range(0, len(groups), self.spec.batch_size):
                batch = groups[start : start + self.spec.batch_size]
                encoded = self._encode([images[places[0]] for places in batch])
                for places, (patches, boxes) in zip(batch, encoded, strict=True):
                    for place in places:
                        found[place] = self._compare(patches, boxes, images[place].size, phrases[place])
        return [found[place] for place in range(len(images))]

    def sent(self, phrase: str) -> str:
        most = read_config(self.directory).get("text_config", {}).get("max_position_embeddings", _MAX_TEXT)
        return cut_to_tokens(self.processor.tokenizer, phrase, most)

    def _embed(self, phrases: Iterable[str]) -> None:
        missing = sorted(set(phrases) - self._embedded.keys())
        model, tokenizer = self.model, self.processor.tokenizer
        for start in range(0, len(missing), _TEXTS_AT_A_TIME):
            texts = missing[start : start + _TEXTS_AT_A_TIME]
            tokens = tokenizer(
                texts,
                padding="max_length",
                max_length=model.config.text_config.max_position_embeddings,
                truncation=True,
                return_attention_mask=True,
                return_tensors="pt",
            ).to(self.device)
            features = model.owlv2.get_text_features(
                tokens["input_ids"], tokens["attention_mask"]
            ).pooler_output
            self._embedded |= zip(texts, features / features.norm(dim=-1, keepdim=True), strict=True)

    def _encode(self, images: Sequence[Image.Image]) -> Iterator[tuple[Tensor, NDArray[np.float32]]]:
        """Patch features [1, patches, dim] and boxes [patches, 4] (relative to the padded square) an image."""
        model = self.model
        pixels = pixel_values(self.processor.image_processor, images)
        feature_map, _ = model.image_embedder(pixel_values=pixels.to(device=self.device, dtype=model.dtype))
        patches = feature_map.flatten(1, 2)
        boxes = model.box_predictor(patches, feature_map).float().cpu().numpy()
        return zip(patches.split(1), boxes, strict=True)

    def _compare(
        self, patches: Tensor, boxes: NDArray[np.float32], size: tuple[int, int], phrases: Sequence[str]
    ) -> Detections:
        import torch

        prompt = _SEPARATOR.join(phrases)
        if not phrases:
            return Detections.none(prompt)
        queries = torch.stack([self._embedded[phrase] for phrase in phrases])[None]
        logits, _ = self.model.class_predictor(patches, queries)
        scores = logits[0].float().sigmoid().cpu().numpy()
        # the image lies in the top left of a square as long as its longer side
        square = np.float32(max(size)) / np.array([*size, *size], dtype=np.float32)
        clipped, inside = clip(from_centres(boxes) * square)
        patch, phrase = np.nonzero((scores >= self.spec.min_score) & inside[:, None])
        best = scores[patch, phrase]
        return Detections(clipped[patch], phrase, best, best, prompt)
