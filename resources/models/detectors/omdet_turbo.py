"""OmDet-Turbo: every phrase is a class of its own, beside one text that names the task.

Zhao et al., Real-time Transformer-based Open-Vocabulary Detection with Efficient Fusion Head (2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from resources.boxes import clip, from_centres
from resources.models.batching import alike
from resources.models.checkpoints import Device
from resources.models.detectors.detections import Detections
from resources.models.detectors.pretrained import PretrainedDetector
from resources.models.detectors.spec import DetectorSpec

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

CODE_VERSION = "1"


class OmDetTurboDetector(PretrainedDetector):
    """An OmDet-Turbo checkpoint. The model itself keeps the texts that it has embedded."""

    def __init__(self, spec: DetectorSpec, device: Device) -> None:
        super().__init__(spec, device, CODE_VERSION)

    def detect(self, images: Sequence[Image.Image], phrases: Sequence[Sequence[str]]) -> list[Detections]:
        """One `Detections` an image; a box may answer to several phrases.

        Images are batched with those of which as many phrases are asked, in a task of as many tokens.
        """
        import torch

        found = [Detections.none("") for _ in images]
        places = [place for place, chunk in enumerate(phrases) if chunk]
        encoded = [self._encode(images[place], phrases[place]) for place in places]
        keys = [
            (one["pixel_values"].shape, len(one["classes_input_ids"]), int(one["tasks_attention_mask"].sum()))
            for one in encoded
        ]
        with torch.inference_mode():
            for batch in alike(keys, self.spec.batch_size):
                outputs = self.model(**self.stacked([encoded[number] for number in batch]))
                scores = outputs.decoder_class_logits.float().sigmoid().cpu().numpy()
                boxes = outputs.decoder_coord_logits.float().cpu().numpy()
                for number, its_scores, its_boxes in zip(batch, scores, boxes, strict=True):
                    place = places[number]
                    found[place] = self._read(its_scores, its_boxes, _task(phrases[place]))
        return found

    def _encode(self, image: Image.Image, chunk: Sequence[str]) -> dict[str, Tensor]:
        inputs = self.processor(images=[image], text=[list(chunk)], task=[_task(chunk)], return_tensors="pt")
        return {name: inputs[name] for name in inputs if name != "pixel_mask"}

    def _read(self, scores: Any, centred: Any, prompt: str) -> Detections:
        boxes, inside = clip(from_centres(centred))
        query, phrase = np.nonzero((scores >= self.spec.min_score) & inside[:, None])
        best = scores[query, phrase]
        return Detections(boxes[query], phrase, best, best, prompt)


def _task(chunk: Sequence[str]) -> str:
    """The library's own wording. The text tower reads its first 77 tokens; the classes are read beside it."""
    return f"Detect {', '.join(chunk)}."
