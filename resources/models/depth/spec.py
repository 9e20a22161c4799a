"""What a tier says about a depth estimator."""

from typing import ClassVar

from pydantic import PositiveInt

from resources.models.checkpoints import ModelSpec
from resources.models.registry import Role


class DepthSpec(ModelSpec):
    """One estimator of depth from a single image."""

    role: ClassVar[Role] = "depth"
    batch_size: PositiveInt = 8
    max_side_px: PositiveInt = 512
    """Longer side of the map that is kept; it is estimated at the size of the proxy and averaged down to this."""
