"""What a tier says about a segmenter, and what a segmenter does."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from resources.models.checkpoints import Device, ModelSpec
from resources.models.segmenters.masks import Masks

if TYPE_CHECKING:
    from PIL import Image


class SegmenterSpec(ModelSpec["Segmenter"]):
    """One segmenter: boxes in, masks out. GrabCut has no weights; its `model` is "opencv"."""

    role: ClassVar[str] = "segmenter"
    facets: tuple[str, ...] = ("object",)
    """Facets whose regions get a mask; the others keep their box."""


class Segmenter(Protocol):
    """A segmenter. Making one is cheap; weights are loaded at the first image, or by `load`."""

    spec: SegmenterSpec
    device: Device
    fingerprint: str

    def load(self) -> None: ...
    def segment(self, image: Image.Image, boxes_xywh: NDArray[np.float32]) -> Masks:
        """Masks for boxes [n, 4], xywh relative to the image (0..1)."""
        ...
