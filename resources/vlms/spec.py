"""What a tier says about a vision-language model."""

from typing import Literal

from pydantic import PositiveInt

from resources.checkpoints import ModelSpec


class VlmSpec(ModelSpec):
    """One image-text-to-text chat model."""

    family: Literal["transformers"] = "transformers"
    """the engine that runs it: in this process"""
    beams: PositiveInt = 1
    caption_tokens: PositiveInt = 64
    description_tokens: PositiveInt = 320
    description_words: tuple[PositiveInt, PositiveInt] = (60, 120)
    """fewest and most words of a description"""
