"""Open-vocabulary detectors: an image and phrases to boxes.

A new family is one class with the methods of `Detector` and one line in `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from resources.checkpoints import Device, require_device
from resources.detectors.spec import DetectorSpec

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Detections", "Detector", "DetectorSpec", "load_detector"]


@dataclass(frozen=True, slots=True)
class Detections:
    """The boxes of one image for one chunk of phrases, n >= 0, before non-maximum suppression."""

    boxes_xywh: NDArray[np.float32]
    """[n, 4], relative to the image: x, y (top left), width, height, each 0..1"""
    phrase_index: NDArray[np.int64]
    """[n], which of the queried phrases"""
    scores: NDArray[np.float32]
    """[n], 0..1, the detector's own confidence in box and phrase"""
    text_scores: NDArray[np.float32]
    """[n], 0..1, of the phrase's tokens alone; equal to `scores` where a family has only one"""
    prompt: str
    """exactly what the text tower saw"""


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


FAMILIES: dict[str, Callable[[DetectorSpec, Device], Detector]] = {}


@lru_cache(maxsize=2)
def load_detector(spec: DetectorSpec, device: Device) -> Detector:
    """The detector of a spec, one for the process however many runs ask for it.

    Raises DeviceUnavailableError or ModelUnavailableError, before any work.
    """
    require_device(spec, device)
    return FAMILIES[spec.family](spec, device)
