"""Outlines as points: the few primitives that every silhouette is drawn with.

Coordinates are those of a drawing board, x to the right and y down, in any unit: a silhouette is scaled to the
size it needs when it is rasterised, so the same object has the same shape at every resolution.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""float64 [n, 2], x and y."""

SUBPIXEL_BITS = 4


@dataclass(frozen=True, slots=True)
class Part:
    """One stroke or area of a silhouette.

    `mode` says what it does: `fill` adds to the object, `cut` takes away, `groove` is a dark line on its surface.
    `width` is the stroke's width in drawing units, 0 for an area.
    """

    points: Points
    mode: str = "fill"
    width: float = 0.0


@dataclass(frozen=True)
class Silhouette:
    """The outline of an object. `roundness` 0..1: 0 is a flat plate, 1 a body as deep as it is wide."""

    parts: tuple[Part, ...]
    roundness: float = 0.6

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 of everything filled, in drawing units."""
        filled = [p for p in self.parts if p.mode == "fill"]
        low = np.min([p.points.min(axis=0) - p.width / 2 for p in filled], axis=0)
        high = np.max([p.points.max(axis=0) + p.width / 2 for p in filled], axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    def rasterise(
        self, size_px: float, angle_deg: float = 0.0, mirror: bool = False
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Coverage and groove of the object, uint8 [h, w] 0..255 each; its longer side measures `size_px`."""
        x0, y0, x1, y1 = self.bounds
        scale = size_px / max(x1 - x0, y1 - y0)
        turn = np.deg2rad(angle_deg)
        matrix = scale * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
        placed = []
        for part in self.parts:
            points = part.points - centre
            if mirror:
                points = points * [-1.0, 1.0]
            placed.append(Part(points @ matrix, part.mode, part.width * scale))
        moved = Silhouette(tuple(placed)).bounds
        margin = 2.0
        offset = np.array([margin - moved[0], margin - moved[1]])
        shape = (int(moved[3] - moved[1] + 2 * margin) + 1, int(moved[2] - moved[0] + 2 * margin) + 1)
        coverage, groove = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        for part in placed:
            target, value = (
                (groove, 255) if part.mode == "groove" else (coverage, 255 * (part.mode == "fill"))
            )
            fixed = np.round((part.points + offset) * (1 << SUBPIXEL_BITS)).astype(np.int32)
            if part.width:
                thickness = max(1, round(part.width))
                cv2.polylines(target, [fixed], False, value, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
            else:
                cv2.fillPoly(target, [fixed], value, cv2.LINE_AA, SUBPIXEL_BITS)
        return coverage, groove


def spline(points: Sequence[Sequence[float]], closed: bool, steps: int = 8) -> Points:
    """Centripetal look of a Catmull-Rom spline through `points`; float64 [m, 2]."""
    control = np.asarray(points, np.float64)
    if closed:
        padded = np.concatenate([control[-1:], control, control[:2]])
    else:
        padded = np.concatenate([control[:1], control, control[-1:]])
    t = np.linspace(0.0, 1.0, steps, endpoint=False)[:, None]
    pieces = []
    for a, b, c, d in zip(padded[:-3], padded[1:-2], padded[2:-1], padded[3:], strict=True):
        pieces.append(
            0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        )
    if not closed:
        pieces.append(control[-1:])
    return np.concatenate(pieces)


def area(*points: Sequence[float], mode: str = "fill", smooth: bool = False) -> Part:
    """A closed area with straight or smooth edges."""
    return Part(spline(points, closed=True) if smooth else np.asarray(points, np.float64), mode)


def line(*points: Sequence[float], width: float, mode: str = "fill", smooth: bool = False) -> Part:
    """An open stroke."""
    return Part(spline(points, closed=False) if smooth else np.asarray(points, np.float64), mode, width)


def groove(*points: Sequence[float], width: float = 1.5, smooth: bool = False) -> Part:
    """A dark line on the surface."""
    return line(*points, width=width, mode="groove", smooth=smooth)


def oval(x: float, y: float, rx: float, ry: float, mode: str = "fill") -> Part:
    """A full ellipse."""
    angle = np.linspace(0.0, 2 * np.pi, 40, endpoint=False)
    return Part(np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1), mode)


def arc(
    x: float,
    y: float,
    rx: float,
    ry: float,
    start_deg: float,
    end_deg: float,
    width: float,
    mode: str = "fill",
) -> Part:
    """A piece of an ellipse as a stroke; 0 degrees points right, 90 down."""
    angle = np.deg2rad(np.linspace(start_deg, end_deg, 32))
    return Part(np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1), mode, width)


def ring(x: float, y: float, rx: float, ry: float, width: float, mode: str = "fill") -> Part:
    """An ellipse as a stroke."""
    return arc(x, y, rx, ry, 0.0, 360.0, width, mode)


def box(x0: float, y0: float, x1: float, y1: float, mode: str = "fill") -> Part:
    """A rectangle."""
    return area((x0, y0), (x1, y0), (x1, y1), (x0, y1), mode=mode)


def lathe(*profile: tuple[float, float], smooth: bool = True) -> Part:
    """A body of revolution about x = 0, from (y, half width) pairs, top to bottom."""
    right = [(half, y) for y, half in profile]
    edge = spline(right, closed=False) if smooth else np.asarray(right, np.float64)
    return Part(np.concatenate([edge, edge[::-1] * [-1.0, 1.0]]))
