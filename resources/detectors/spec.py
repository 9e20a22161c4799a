"""What a tier says about a detector."""

from typing import ClassVar

from pydantic import Field, PositiveInt

from resources.checkpoints import ModelSpec
from resources.registry import Role


class DetectorSpec(ModelSpec):
    """One open-vocabulary detector: phrases in, boxes out."""

    role: ClassVar[Role] = "detector"
    chunk_phrases: PositiveInt = 40
    """Phrases of one forward pass."""
    min_score: float = Field(0.2, ge=0, le=1)
    """Boxes below are dropped."""
    nms_iou: float = Field(0.6, gt=0, le=1)
    """Of two boxes of one concept that overlap more, the weaker goes."""
    max_regions: PositiveInt = 100
    """Regions kept for an image, best first."""
