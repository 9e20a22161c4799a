"""What a tier says about the two lanes."""

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

Share = Annotated[float, Field(ge=0, le=1)]


class RoutingSpec(BaseModel):
    """When an image asks for the heavy lane, and how many may have it (docs/options.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    budget: Share = 0.2
    """Share of the images of a folder that may go to the heavy lane; 0.1 to 0.3 is usual."""
    fewest_tags: NonNegativeInt = 5
    """Fewer tags than this, each at least as probable as `tag_probability`, are a low coverage."""
    tag_probability: Share = 0.5
    entropy_nats: Annotated[float, Field(gt=0)] = math.log(2)
    """A caption of this mean entropy a token is uncertain: as between two words, all along."""
    text_confidence: Share = 0.8
    """Lines that are at least so sure count as text."""
