"""Text recognition (OCR): an image to its lines of text.

A new engine is one class with the methods of `OcrEngine` and its rows in resources/models/registry/ocr.yaml.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from resources.models.ocr.lines import TextLine, reading_order
from resources.models.ocr.spec import OcrSpec
from resources.models.registry import registry

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["OcrEngine", "OcrSpec", "TextLine", "load_ocr", "reading_order"]


class OcrEngine(Protocol):
    """An OCR engine. Making one is cheap; its models are loaded at the first image, or by `load`."""

    spec: OcrSpec
    fingerprint: str

    def load(self) -> None: ...
    def read(self, image: Image.Image) -> list[TextLine]:
        """The lines of an upright image, in reading order. Several threads may read at the same time."""
        ...


@lru_cache(maxsize=2)
def load_ocr(spec: OcrSpec) -> OcrEngine:
    """The engine of a spec, one for the process."""
    engine: OcrEngine = registry().family("ocr", spec.family).implementation()(spec)
    return engine
