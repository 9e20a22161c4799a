"""What a tier says about an encoder."""

from typing import ClassVar

from resources.checkpoints import ModelSpec
from resources.registry import Role


class EncoderSpec(ModelSpec):
    """One dual encoder."""

    role: ClassVar[Role] = "encoder"
