"""What detectors of transformers build upon."""

from __future__ import annotations

from resources.models.checkpoints import Device
from resources.models.detectors.spec import DetectorSpec
from resources.models.pretrained import Pretrained


class PretrainedDetector(Pretrained):
    """A detector's checkpoint; which boxes it finds depends on the lowest score too."""

    model_class = "AutoModelForZeroShotObjectDetection"
    spec: DetectorSpec

    def __init__(self, spec: DetectorSpec, device: Device, code: str) -> None:
        super().__init__(spec, device, code, family=spec.family, min_score=spec.min_score)
