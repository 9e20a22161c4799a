"""Text in pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from resources.ocr.spec import OcrSpec

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["OcrEngine", "OcrSpec", "TextLine", "load_ocr"]


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line of text."""

    text: str
    confidence: float
    """0..1"""
    box_xywh: tuple[float, float, float, float]
    """relative to the image: x, y (top left), width, height, each 0..1"""


class OcrEngine(Protocol):
    """An OCR engine. Making one is cheap; its models are loaded at the first image, or by `load`."""

    spec: OcrSpec
    fingerprint: str

    def load(self) -> None: ...
    def read(self, image: Image.Image) -> list[TextLine]:
        """The lines in reading order."""
        ...


ENGINES: dict[str, Callable[[OcrSpec], OcrEngine]] = {}


@lru_cache(maxsize=2)
def load_ocr(spec: OcrSpec) -> OcrEngine:
    """The engine of a spec, one for the process."""
    return ENGINES[spec.family](spec)
