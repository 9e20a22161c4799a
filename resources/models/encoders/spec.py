"""What a tier says about an encoder."""

from typing import ClassVar

from resources.models.checkpoints import ModelSpec
from resources.models.registry import Role


class EncoderSpec(ModelSpec):
    """One dual encoder."""

    role: ClassVar[Role] = "encoder"
