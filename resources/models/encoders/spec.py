"""What a tier says about an encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from resources.models.checkpoints import ModelSpec

if TYPE_CHECKING:
    from resources.models.encoders.encoder import Encoder


class EncoderSpec(ModelSpec["Encoder"]):
    """One dual encoder."""

    role: ClassVar[str] = "encoder"
    multilingual: bool = False
    """Whether it knows other languages than English: labels are then asked in the language that they are shown in."""

    def implementation(self) -> type[Encoder]:
        """One class for all families: what the registry names are their towers."""
        from resources.models.encoders.encoder import Encoder

        return Encoder
