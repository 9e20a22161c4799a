"""What a tier says about a vision-language model."""

from typing import ClassVar

from pydantic import PositiveInt

from resources.checkpoints import ModelSpec
from resources.registry import Role


class VlmSpec(ModelSpec):
    """One model that tells in words what it sees."""

    role: ClassVar[Role] = "vlm"

    family: str = "chat"
    beams: PositiveInt = 1
    caption_tokens: PositiveInt = 64
    description_tokens: PositiveInt = 320
    description_words: tuple[PositiveInt, PositiveInt] = (60, 120)
    """fewest and most words of a description"""
