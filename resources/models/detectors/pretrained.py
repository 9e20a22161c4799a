"""What detectors of transformers build upon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from resources.models.checkpoints import Device
from resources.models.detectors.spec import DetectorSpec
from resources.models.pretrained import Pretrained


class PretrainedDetector(Pretrained):
    """A detector's checkpoint; which boxes it finds depends on the lowest score too."""

    model_class = "AutoModelForZeroShotObjectDetection"
    spec: DetectorSpec

    def __init__(self, spec: DetectorSpec, device: Device, code: str, **parts: Any) -> None:
        super().__init__(spec, device, code, family=spec.family, min_score=spec.min_score, **parts)

    def sent(self, phrase: str) -> str:
        """What the model reads of a phrase: "" where it is not asked at all. Loads the tokenizer alone."""
        return phrase

    def stacked(self, encoded: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Inputs of one item each, of the same shapes, as those of a batch."""
        import torch

        return self.on_device({name: torch.cat([one[name] for one in encoded]) for name in encoded[0]})
