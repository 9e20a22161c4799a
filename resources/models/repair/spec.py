"""What a tier says about a text-only model."""

from typing import ClassVar

from pydantic import PositiveInt

from resources.models.checkpoints import ModelSpec
from resources.models.registry import Role


class RepairSpec(ModelSpec):
    """One chat model without eyes."""

    role: ClassVar[Role] = "repair"

    family: str = "chat"
    description_tokens: PositiveInt = 320
