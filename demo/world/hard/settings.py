"""Where the objects of the hard world stand: cluttered places, strewn with things that are no concept of anybody's."""

from collections.abc import Callable

import cv2
import numpy as np

from demo.world.materials import Colour
from demo.world.settings import (
    Canvas,
    brick_wall,
    display_case,
    stone_plinth,
    studio_backdrop,
    velvet_cloth,
    wooden_shelf,
)

Rgb = tuple[float, float, float]
Painter = Callable[[Canvas], Colour]


def _strew(
    picture: Colour, canvas: Canvas, count: int, corners: int, size: float, colours: tuple[Rgb, ...]
) -> Colour:
    """Throw things of `corners` corners (2: sticks) over the picture, each with its shadow, half as strong as what matters."""
    empty = picture.copy()
    h, w = canvas.shape
    for _ in range(count):
        centre = canvas.rng.random(2) * [w, h]
        reach = size * min(h, w) * canvas.rng.uniform(0.4, 1.3)
        angle = (
            np.sort(canvas.rng.random(corners)) * 2 * np.pi
            if corners > 2
            else canvas.rng.random() * np.pi + np.array([0, np.pi])
        )
        points = np.round(centre + reach * np.stack([np.cos(angle), np.sin(angle)], axis=1)).astype(np.int32)
        tone = float(canvas.rng.uniform(0.7, 1.2))
        colour = tuple(tone * value for value in canvas.choose(*colours))
        for moved, value in ((points + max(1, round(0.08 * reach)), (0.08, 0.07, 0.06)), (points, colour)):
            if corners > 2:
                cv2.fillPoly(picture, [moved], value, cv2.LINE_AA)
            else:
                cv2.polylines(picture, [moved], False, value, max(1, round(0.06 * reach)), cv2.LINE_AA)
    return (picture + empty) / 2


def _strewn(empty: Painter, count: int, corners: int, size: float, *colours: Rgb) -> Painter:
    return lambda canvas: _strew(
        np.ascontiguousarray(empty(canvas), np.float32), canvas, count, corners, size, colours
    )


SETTING_PAINTERS: dict[str, Painter] = {
    "littered-backdrop": _strewn(studio_backdrop, 8, 4, 0.053, (0.93, 0.92, 0.88), (0.7, 0.72, 0.76), (0.45, 0.4, 0.36)),
    "strewn-slab": _strewn(stone_plinth, 15, 7, 0.034, (0.52, 0.48, 0.42), (0.36, 0.32, 0.28), (0.62, 0.52, 0.38)),
    "crowded-rack": _strewn(wooden_shelf, 7, 4, 0.083, (0.62, 0.50, 0.34), (0.45, 0.52, 0.58), (0.8, 0.8, 0.78)),
    "rumpled-drape": _strewn(velvet_cloth, 24, 2, 0.068, (0.75, 0.66, 0.40), (0.35, 0.35, 0.38), (0.82, 0.70, 0.45)),
    "packed-vitrine": _strewn(display_case, 7, 6, 0.060, (0.5, 0.46, 0.42), (0.3, 0.42, 0.35), (0.66, 0.62, 0.56)),
    "dumping-ground": _strewn(brick_wall, 12, 5, 0.045, (0.86, 0.74, 0.52), (0.70, 0.20, 0.15), (0.25, 0.35, 0.5)),
}  # fmt: skip
