"""What a tier says about a segmenter, and what a segmenter does."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from resources.models.checkpoints import Loadable, ModelSpec
from resources.models.segmenters.masks import Masks

if TYPE_CHECKING:
    from PIL import Image


class SegmenterSpec(ModelSpec["Segmenter"]):
    """One segmenter: boxes in, masks out. GrabCut has no weights; its `model` is "opencv"."""

    role: ClassVar[str] = "segmenter"
    facets: tuple[str, ...] | None = None
    """Facets whose regions get a mask, in place of those that ask for one in the vocabulary; the others keep their box."""


class Segmenter(Loadable, Protocol):
    """A segmenter."""

    spec: SegmenterSpec

    def segment(self, image: Image.Image, boxes_xywh: NDArray[np.float32]) -> Masks:
        """Masks for boxes [n, 4], xywh relative to the image (0..1)."""
        ...
