"""Text recognition (OCR): an image to its lines of text.

A new engine is one class with the methods of `OcrEngine` and its rows in resources/models/registry/ocr.yaml.
"""

from resources.models.ocr.lines import TextLine, reading_order
from resources.models.ocr.spec import OcrEngine, OcrSpec

__all__ = ["OcrEngine", "OcrSpec", "TextLine", "reading_order"]
