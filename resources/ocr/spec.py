"""What a tier says about reading text in pictures."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class OcrSpec(BaseModel):
    """One OCR engine. RapidOCR brings its own small ONNX models."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Literal["rapidocr"] = "rapidocr"
    min_confidence: float = Field(0.5, ge=0, le=1)
