"""Promptable segmenters: an image and boxes to masks.

A new family is one class with the methods of `Segmenter` and its rows in resources/models/registry/segmenter.yaml.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from resources.models.checkpoints import Device, require_device
from resources.models.registry import registry
from resources.models.segmenters.masks import Masks
from resources.models.segmenters.spec import SegmenterSpec

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Masks", "Segmenter", "SegmenterSpec", "load_segmenter"]


class Segmenter(Protocol):
    """A segmenter. Making one is cheap; weights are loaded at the first image, or by `load`."""

    spec: SegmenterSpec
    device: Device
    fingerprint: str

    def load(self) -> None: ...
    def segment(self, image: Image.Image, boxes_xywh: NDArray[np.float32]) -> Masks:
        """Masks for boxes [n, 4], xywh relative to the image (0..1)."""
        ...


@lru_cache(maxsize=2)
def load_segmenter(spec: SegmenterSpec, device: Device) -> Segmenter:
    """The segmenter of a spec, one for the process. Raises DeviceUnavailableError or ModelUnavailableError."""
    require_device(spec, device)
    segmenter: Segmenter = registry().family("segmenter", spec.family).implementation()(spec, device)
    return segmenter
