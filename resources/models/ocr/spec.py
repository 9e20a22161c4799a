"""What a tier says about reading text in pictures."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt


class OcrSpec(BaseModel):
    """One OCR engine. RapidOCR brings its own small ONNX models."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Literal["rapidocr"] = "rapidocr"
    min_confidence: float = Field(0.7, ge=0, le=1)
    """On the demo 0.7 keeps every sign and drops half of what is misread at 0.5."""
    min_characters: PositiveInt = 2
    """Lines of fewer letters and digits are dropped: most are a rim, a handle or a shadow."""
    max_side_px: Annotated[int, Field(ge=64, le=4096)] = 640
    """Longer side of what the detector of lines sees; lines are recognised at the size the image has."""
    licence: str = "Apache-2.0"
    """of the engine and of the PP-OCR models in its wheel"""
