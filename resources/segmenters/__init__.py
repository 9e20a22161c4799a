"""Segmenters: an image and boxes to masks.

A new family is one class with the methods of `Segmenter` and one line in `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from resources.checkpoints import Device, require_device
from resources.segmenters.grabcut import GrabCut
from resources.segmenters.masks import Masks
from resources.segmenters.sam2 import Sam2
from resources.segmenters.spec import SegmenterSpec

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


FAMILIES: dict[str, Callable[[SegmenterSpec, Device], Segmenter]] = {"grabcut": GrabCut, "sam2": Sam2}


@lru_cache(maxsize=2)
def load_segmenter(spec: SegmenterSpec, device: Device) -> Segmenter:
    """The segmenter of a spec, one for the process. Raises DeviceUnavailableError or ModelUnavailableError."""
    require_device(spec, device)
    return FAMILIES[spec.family](spec, device)
