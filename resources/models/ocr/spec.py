"""What a tier says about reading text in pictures, and what an engine does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Protocol

from pydantic import Field, PositiveInt

from resources.models.checkpoints import Loadable, RoleSpec
from resources.models.ocr.lines import TextLine

if TYPE_CHECKING:
    from PIL import Image


class OcrSpec(RoleSpec["OcrEngine"]):
    """One OCR engine. RapidOCR brings its own small ONNX models."""

    role: ClassVar[str] = "ocr"

    family: Literal["rapidocr"] = "rapidocr"
    min_confidence: float = Field(0.7, ge=0, le=1)
    """On the demo 0.7 keeps every sign and drops half of what is misread at 0.5."""
    min_characters: PositiveInt = 2
    """Lines of fewer letters and digits are dropped: most are a rim, a handle or a shadow."""
    max_side_px: Annotated[int, Field(ge=64, le=4096)] = 640
    """Longer side of what the detector of lines sees; lines are recognised at the size the image has."""
    licence: str = "Apache-2.0"
    """of the engine and of the PP-OCR models in its wheel"""


class OcrEngine(Loadable, Protocol):
    """An OCR engine."""

    spec: OcrSpec

    def read(self, image: Image.Image) -> list[TextLine]:
        """The lines of an upright image, in reading order. Several threads may read at the same time."""
        ...
