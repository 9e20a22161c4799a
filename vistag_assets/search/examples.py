"""Pictures from outside as examples: decoded as ingest does it, in a process of their own, and which part is meant."""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from resources.images import Limits, Reject, decode_isolated
from resources.text import one_line
from vistag_assets.search.query import Box, SearchError

_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Example:
    """A picture that what is looked for is like."""

    image: Image.Image
    """RGB, upright, bounded as a working copy is"""
    width: int
    """pixels of the original, upright"""
    height: int


def read_example(source: Path | bytes, limits: Limits, name: str = "the picture") -> Example:
    """The picture of a file, or of what was uploaded. Raises SearchError, which names it, and OSError."""
    shown = one_line(source) if isinstance(source, Path) else name
    try:
        with BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            decoded = decode_isolated(file, limits)
    except Reject as reject:
        raise SearchError(f"{shown} cannot be used: {reject.reason}") from reject
    return Example(decoded.image, decoded.source_width_px, decoded.source_height_px)


def part_of(example: Example, text: str) -> Box:
    """A part of a picture from `x,y,width,height`: relative to it where none is above 1, else in its pixels.

    Raises SearchError where that is not a part of it.
    """
    try:
        x, y, width, height = (float(number) for number in text.split(","))
    except ValueError:
        raise SearchError(
            f"{text!r} is no region: give x,y,width,height, such as 0.2,0.1,0.3,0.3 or 120,40,300,200"
        ) from None
    if not all(map(math.isfinite, (x, y, width, height))):
        raise SearchError(f"{text!r} is no region: its numbers have to be finite")
    if max(x, y, width, height) > 1:
        x, width, y, height = (
            x / example.width,
            width / example.width,
            y / example.height,
            height / example.height,
        )
    if min(x, y) < 0 or min(width, height) <= 0 or x + width > 1 + _ROUNDING or y + height > 1 + _ROUNDING:
        raise SearchError(
            f"The region {text} is not inside the picture, which is {example.width} x {example.height} pixels"
        )
    return x, y, min(width, 1 - x), min(height, 1 - y)
