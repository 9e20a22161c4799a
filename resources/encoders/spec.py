"""What a tier says about an encoder."""

from typing import Literal

from resources.checkpoints import ModelSpec


class EncoderSpec(ModelSpec):
    """One dual encoder."""

    family: Literal["siglip"]
