"""What a tier says about a depth estimator, and what an estimator does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol

from pydantic import PositiveInt

from resources.models.checkpoints import Loadable, ModelSpec
from resources.models.depth.maps import DepthMap

if TYPE_CHECKING:
    from PIL import Image


class DepthSpec(ModelSpec["DepthEstimator"]):
    """One estimator of depth from a single image."""

    role: ClassVar[str] = "depth"
    batch_size: PositiveInt = 8
    max_side_px: PositiveInt = 512
    """Longer side of the map that is kept; it is estimated at the size of the proxy and averaged down to this."""


class DepthEstimator(Loadable, Protocol):
    """An estimator of depth."""

    spec: DepthSpec

    def estimate(self, images: Sequence[Image.Image]) -> list[DepthMap]:
        """The depth of each image, [height, width] of the image; it does not depend on what else is in the list."""
        ...
