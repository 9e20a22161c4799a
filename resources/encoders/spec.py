"""What a tier says about an encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveInt

Device = Literal["cpu", "cuda"]
Dtype = Literal["float32", "float16", "bfloat16"]


class EncoderSpec(BaseModel):
    """One dual encoder: which weights, and how they are run.

    `model` is the id of a repository on the Hugging Face hub, or the absolute path of a checkpoint directory
    (a tier file may write it relative to itself, with a leading dot).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Literal["siglip"]
    model: str
    revision: str | None = None
    dtype: Dtype = "float32"
    batch_size: PositiveInt = 32
    licence: str

    @property
    def name(self) -> str:
        """The model without the path of this machine."""
        return Path(self.model).name if Path(self.model).is_absolute() else self.model
