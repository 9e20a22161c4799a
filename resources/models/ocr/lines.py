"""Lines of text and their reading order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Box = tuple[float, float, float, float]
"""x, y (top left), width, height"""

_SAME_ROW = 0.5


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line of text."""

    text: str
    confidence: float
    """0..1"""
    box_xywh: Box
    """relative to the image: x, y (top left), width, height, each 0..1"""


def reading_order(boxes: Sequence[Box]) -> list[int]:
    """Positions of the boxes as they are read: rows from top to bottom, each from left to right.

    A box belongs to the row whose first (topmost) box it shares at least half of the lower one's height with.
    Columns are not told apart: what stands side by side is one row.
    """
    rows: list[list[int]] = []
    for place in sorted(range(len(boxes)), key=lambda p: (boxes[p][1], boxes[p][0])):
        row = next((row for row in rows if _share_height(boxes[row[0]], boxes[place])), None)
        if row is None:
            rows.append([place])
        else:
            row.append(place)
    return [place for row in rows for place in sorted(row, key=lambda p: (boxes[p][0], boxes[p][1]))]


def _share_height(a: Box, b: Box) -> bool:
    common = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return common > 0 and common >= _SAME_ROW * min(a[3], b[3])
