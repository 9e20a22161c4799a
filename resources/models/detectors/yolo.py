"""YOLOv8, YOLO11 and YOLO26, as ultralytics exports them to ONNX: boxes of a closed set, no text and no pickles.

Of a segmentation model the boxes are read; masks are the segmenter's role (segmenters/yolo_seg.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from resources.boxes import to_corners
from resources.fingerprint import fingerprint
from resources.models.checkpoints import Device
from resources.models.detectors.detections import Detections
from resources.models.detectors.known_classes import KnownClasses, Objects
from resources.models.detectors.spec import DetectorSpec
from resources.models.yolo_export import YoloExport

if TYPE_CHECKING:
    from PIL import Image

CODE_VERSION = "1"
_OVERLAP = 0.7


class YoloDetector:
    """An .onnx file: see `YoloExport`, which raises ModelUnavailableError."""

    def __init__(self, spec: DetectorSpec, device: Device) -> None:
        self.spec = spec
        self.device = device
        self._export = YoloExport(spec.model, spec.name, device)
        with self._export.path.open("rb") as file:
            weights = hashlib.file_digest(file, "sha256").hexdigest()
        self.fingerprint = fingerprint(
            code=CODE_VERSION, family=spec.family, weights=weights, min_score=spec.min_score
        )

    def load(self) -> None:
        self._export.load()

    def detect(self, images: Sequence[Image.Image], phrases: Sequence[Sequence[str]]) -> list[Detections]:
        """One `Detections` an image, of the phrases that name a class; the others get nothing."""
        return self._classes.answer(images, phrases, self._look)

    @cached_property
    def _classes(self) -> KnownClasses:
        return KnownClasses(self._export.names, self.spec.name)

    def _look(self, images: list[Image.Image]) -> list[Objects]:
        spec = self.spec
        found = dict(
            self._export.look(images, batch_size=spec.batch_size, min_score=spec.min_score, overlap=_OVERLAP)
        )
        seen = (found[number] for number in range(len(images)))
        return [Objects(to_corners(each.boxes_xywh), each.classes, each.scores) for each in seen]
