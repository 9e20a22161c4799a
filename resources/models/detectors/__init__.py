"""Open-vocabulary detectors: an image and phrases to boxes.

A new family is one class with the methods of `Detector` and its rows in resources/models/registry/detector.yaml.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from resources.models.checkpoints import Device, require_device
from resources.models.detectors.detections import Detections
from resources.models.detectors.spec import DetectorSpec
from resources.models.registry import registry

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Detections", "Detector", "DetectorSpec", "load_detector"]


class Detector(Protocol):
    """An open-vocabulary detector. Making one is cheap; weights are loaded at the first image, or by `load`."""

    spec: DetectorSpec
    device: Device
    fingerprint: str

    def load(self) -> None: ...
    def detect(self, images: Sequence[Image.Image], phrases: Sequence[Sequence[str]]) -> list[Detections]:
        """One `Detections` an image; `phrases[i]` is the chunk asked of image i. Batched inside.

        What an image gets does not depend on its batch-mates.
        """
        ...


@lru_cache(maxsize=2)
def load_detector(spec: DetectorSpec, device: Device) -> Detector:
    """The detector of a spec, one for the process however many runs ask for it.

    Raises DeviceUnavailableError or ModelUnavailableError, before any work.
    """
    require_device(spec, device)
    detector: Detector = registry().family("detector", spec.family).implementation()(spec, device)
    return detector
