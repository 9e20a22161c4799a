"""Closed-set detectors of transformers (RT-DETR, D-FINE, RF-DETR): a fast lane for phrases that name one of their classes.

Zhao et al., DETRs Beat YOLOs on Real-time Object Detection (2023); Peng et al., D-FINE (2024); Robinson et al.,
RF-DETR (2025). They read no text: what an image costs does not depend on how many phrases are asked of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from resources.models.batching import alike
from resources.models.checkpoints import Device, read_config
from resources.models.detectors.detections import Detections
from resources.models.detectors.known_classes import KnownClasses, Objects
from resources.models.detectors.pretrained import PretrainedDetector
from resources.models.detectors.spec import DetectorSpec

if TYPE_CHECKING:
    from PIL import Image

CODE_VERSION = "1"


class ClosedSetDetector(PretrainedDetector):
    """A checkpoint of `AutoModelForObjectDetection` whose processor reads its boxes, named by its `id2label`."""

    model_class = "AutoModelForObjectDetection"

    def __init__(self, spec: DetectorSpec, device: Device) -> None:
        super().__init__(spec, device, CODE_VERSION)

    @cached_property
    def _classes(self) -> KnownClasses:
        names = read_config(self.directory)["id2label"]
        return KnownClasses({int(class_): name for class_, name in names.items()}, self.spec.name)

    def detect(self, images: Sequence[Image.Image], phrases: Sequence[Sequence[str]]) -> list[Detections]:
        """One `Detections` an image, of the phrases that name a class; the others get nothing."""
        return self._classes.answer(images, phrases, self._look)

    def _look(self, images: list[Image.Image]) -> list[Objects]:
        import torch

        encoded = [self.processor(images=[image], return_tensors="pt") for image in images]
        seen: dict[int, Objects] = {}
        with torch.inference_mode():
            for batch in alike([one["pixel_values"].shape for one in encoded], self.spec.batch_size):
                outputs = self.model(**self.stacked([encoded[number] for number in batch]))
                outputs.logits, outputs.pred_boxes = outputs.logits.float(), outputs.pred_boxes.float()
                found = self.processor.post_process_object_detection(outputs, threshold=self.spec.min_score)
                for number, of_image in zip(batch, found, strict=True):
                    corners, classes, scores = (
                        of_image[name].cpu().numpy() for name in ("boxes", "labels", "scores")
                    )
                    seen[number] = Objects(corners, classes.astype(np.int64), scores)
        return [seen[number] for number in range(len(images))]
